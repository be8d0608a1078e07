package trust

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// noDirectory is a name that no file system can hold. go-tuf looks for metadata in its cache's directory even where it
// is told to keep no cache, and an empty name is the directory that the process happens to run in.
const noDirectory = "\x00"

// expiry is what of a set of metadata expires first.
type expiry struct {
	role    string
	version int64
	at      time.Time
}

// seen is what the last good refresh saw: it may be repeated or exceeded, never undercut.
type seen struct {
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   map[string]*metadata.Metadata[metadata.TargetsType]
}

// offer is what one refresh found, all of it verified.
type offer struct {
	root *metadata.Metadata[metadata.RootType]
	seen seen
	text []byte
}

// refresher makes one refresh.
type refresher struct {
	files  *fetcher
	config MirrorConfig
	now    time.Time
	known  []byte // the newest root.json known, believed
	held   []byte // the text held, nil for none
	last   *seen  // nil before the first good refresh
}

// refresh returns what the mirror offers. newest is the newest root.json of the chain, also where the rest failed: it
// was signed by the one before (TUF specification 5.3.8 keeps it at once), so that nobody can lead us back behind it.
func (r *refresher) refresh(onPanic func(any, []byte)) (o *offer, newest []byte, err error) {
	var u *updater.Updater
	defer func() {
		if p := recover(); p != nil {
			onPanic(p, debug.Stack())
			o, err = nil, refuse("its metadata crashed the parser: %v", p)
		}
		newest = r.newest(u)
	}()
	if u, err = r.updater(); err != nil {
		return nil, nil, err
	}
	if err = u.Refresh(); err != nil {
		return nil, nil, err
	}
	o, err = r.offered(u)
	return o, nil, err
}

// newest is the text of the newest root that go-tuf has verified.
func (r *refresher) newest(u *updater.Updater) []byte {
	if u != nil {
		if text, ok := r.files.roots[u.GetTrustedMetadataSet().Root.Signed.Version]; ok {
			return text
		}
	}
	return r.known
}

// updater is go-tuf's client workflow, over our fetcher, from the newest root known, at the time that we are told.
func (r *refresher) updater() (*updater.Updater, error) {
	u, err := updater.New(&config.UpdaterConfig{
		MaxRootRotations:      maxRootRotations,
		MaxDelegations:        maxDelegations,
		RootMaxLength:         MaxTUFRoot,
		TimestampMaxLength:    maxTimestamp,
		SnapshotMaxLength:     maxSnapshot,
		TargetsMaxLength:      maxTargets,
		Fetcher:               r.files,
		LocalTrustedRoot:      r.known,
		LocalMetadataDir:      noDirectory,
		LocalTargetsDir:       noDirectory,
		RemoteMetadataURL:     r.config.URL,
		RemoteTargetsURL:      r.config.URL + "/targets",
		DisableLocalCache:     true,
		PrefixTargetsWithHash: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the root known can't begin a chain: %w", err)
	}
	u.UnsafeSetRefTime(r.now) // unsafe where the time is; ours is the clock that all expiries here are judged by
	return u, nil
}

// offered reads the target from metadata that are verified.
func (r *refresher) offered(u *updater.Updater) (*offer, error) {
	if err := r.rolledBack(u.GetTrustedMetadataSet()); err != nil {
		return nil, err
	}
	info, err := u.GetTargetInfo(r.config.Target)
	if err != nil {
		return nil, err
	}
	text, err := r.target(u, info)
	if err != nil {
		return nil, err
	}
	set := u.GetTrustedMetadataSet()
	return &offer{
		root: set.Root,
		seen: seen{timestamp: set.Timestamp, snapshot: set.Snapshot, targets: set.Targets},
		text: text,
	}, nil
}

// target returns the text that the metadata describe: the one held, if that is it.
func (r *refresher) target(u *updater.Updater, info *metadata.TargetFiles) ([]byte, error) {
	if info.Length > MaxTrustedRoot {
		return nil, refuse("%s is %d bytes long, more than the %d that it may be", r.config.Target, info.Length, MaxTrustedRoot)
	}
	if r.held != nil && info.VerifyLengthHashes(r.held) == nil {
		return r.held, nil
	}
	_, text, err := u.DownloadTarget(info, "", "")
	if err != nil {
		return nil, err
	}
	if err := CheckText(text); err != nil {
		return nil, refuse("%s is signed but can't be used: %v", r.config.Target, err)
	}
	return text, nil
}

// rolledBack refuses versions that are behind what was seen (TUF specification 5.4.3 and 5.5.5).
func (r *refresher) rolledBack(now trustedmetadata.TrustedMetadata) error {
	before := r.last
	if !before.counts(now.Root) {
		return nil
	}
	if a, b := now.Timestamp.Signed.Version, before.timestamp.Signed.Version; a < b {
		return rollback("timestamp.json", a, b)
	}
	if a, b := now.Snapshot.Signed.Version, before.snapshot.Signed.Version; a < b {
		return rollback("snapshot.json", a, b)
	}
	for name, b := range before.snapshot.Signed.Meta {
		a, ok := now.Snapshot.Signed.Meta[name]
		if !ok {
			return refuse("rolled back: snapshot.json no longer lists %s, of which version %d was seen", name, b.Version)
		}
		if a.Version < b.Version {
			return rollback(name, a.Version, b.Version)
		}
	}
	return nil
}

func rollback(file string, now, before int64) error {
	return refuse("rolled back: %s is version %d, and version %d was seen before", file, now, before)
}

// counts tells whether what was seen binds under a root: only while that names the keys which signed it. With the
// timestamp's or the snapshot's keys replaced both begin anew, which is how a repository recovers from versions that a
// thief of its keys has put forward (TUF specification 5.3.11).
func (s *seen) counts(root *metadata.Metadata[metadata.RootType]) bool {
	return s != nil && root.VerifyDelegate(metadata.TIMESTAMP, s.timestamp) == nil &&
		root.VerifyDelegate(metadata.SNAPSHOT, s.snapshot) == nil
}

// repeats tells whether a timestamp is the one seen before. Then all that it leads to is too, and anything else under
// the same number is not taken (TUF specification 5.4.3.1). With the targets' keys replaced what was seen vouches for
// nothing any longer, whatever its timestamp is, and what is offered is taken in its stead.
func (s *seen) repeats(root *metadata.Metadata[metadata.RootType], now *metadata.Metadata[metadata.TimestampType]) bool {
	return s != nil && s.strange(root) == "" && s.timestamp.Signed.Version == now.Signed.Version
}

// firstExpiry tells which of the metadata expires first.
func firstExpiry(root *metadata.Metadata[metadata.RootType], s *seen) expiry {
	first := expiry{metadata.ROOT, root.Signed.Version, root.Signed.Expires}
	sooner := func(role string, version int64, at time.Time) {
		if at.Before(first.at) {
			first = expiry{role, version, at}
		}
	}
	sooner(metadata.TIMESTAMP, s.timestamp.Signed.Version, s.timestamp.Signed.Expires)
	sooner(metadata.SNAPSHOT, s.snapshot.Signed.Version, s.snapshot.Signed.Expires)
	for role, t := range s.targets {
		sooner(role, t.Signed.Version, t.Signed.Expires)
	}
	return first
}

// classify tells what kind of failure an error is.
func classify(ctx context.Context, err error) Result {
	var u *unreachable
	if errors.As(err, &u) || ctx.Err() != nil {
		return ResultUnreachable
	}
	return ResultRefused
}
