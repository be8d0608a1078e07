package trust

import (
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// unvouched is why what is held is served no longer although it hasn't expired: a newer root names others than those who
// signed it. It is taken back by a good refresh alone.
type unvouched struct {
	root int64  // the version of the root.json that says so
	role string // the first role whose keys signed nothing that is held
}

// under is what remains of a good outcome once a refresh has learnt a newer root and then failed. The root counts at
// once, whatever came of the rest: a thief's keys are struck off by it, and whoever shows it and withholds what the new
// keys signed is not to keep the thief's text in force until the dates that the thief chose. Nothing is made younger.
func (g *good) under(root []byte, now time.Time) *good {
	next := *g
	version, expires, role := judge(root, &g.seen)
	if role != "" {
		expires, next.unvouched = now, &unvouched{root: version, role: role}
	}
	if expires.Before(next.expires.at) {
		next.expires = expiry{role: metadata.ROOT, version: version, at: expires}
	}
	return &next
}

// judge reads a root, and tells the first role whose keys, as it names them, did not sign what was seen; empty if all of
// them did. A root that can't be read vouches for nothing.
func judge(text []byte, s *seen) (version int64, expires time.Time, role string) {
	role = metadata.ROOT
	defer func() { _ = recover() }() // go-tuf panics on a role that is null; what is set by then stands
	root, err := metadata.Root().FromBytes(text)
	if err != nil {
		return version, expires, role
	}
	version, expires = root.Signed.Version, root.Signed.Expires
	return version, expires, s.strange(root)
}

// strange tells the first role of what was seen that is not signed by the keys a root names for it; empty for none.
// Delegated roles follow: their keys are in the targets, which are the same text as when they were verified.
func (s *seen) strange(root *metadata.Metadata[metadata.RootType]) string {
	switch {
	case root.VerifyDelegate(metadata.TIMESTAMP, s.timestamp) != nil:
		return metadata.TIMESTAMP
	case root.VerifyDelegate(metadata.SNAPSHOT, s.snapshot) != nil:
		return metadata.SNAPSHOT
	case root.VerifyDelegate(metadata.TARGETS, s.targets[metadata.TARGETS]) != nil:
		return metadata.TARGETS
	}
	return ""
}
