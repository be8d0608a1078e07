// Package trust keeps the trust roots: who may issue certificates, keep logs and tell the time for keyless signatures.
//
// A signature by a certificate is worth what its trust root is worth. A root is a text, the trusted_root.json of
// sigstore's protobuf-specs, and this package is about where the text comes from and until when it counts; what it
// means is for package verify. Nothing here runs while a Pod waits: whoever asks gets what is held.
//
//	PublicGood  the public good instance's root, embedded in the release: no network, ever
//	CheckText   a text that somebody wrote into an object: bounded, and one that can be read
//	Mirror      a TUF repository that says which text counts now, fetched and verified by its own pinned root
//	Keeper      any number of mirrors, each asked again in the background
//
// A mirror is somebody else's computer, and so is what stands between. The Update Framework (TUF, its specification's
// section 5.3 to 5.7) has the text signed and dated; go-tuf checks that, and this package holds the rest:
//
//	fetch.go    https, one host, few redirects, no compression, a bound on every body and on all of them, a deadline
//	refresh.go  one refresh, from the newest root known; metadata older than what was seen before are refused
//	dial.go     no link-local address is connected to, nor ever a cloud's metadata
//	mirror.go   the last good text counts until the first of its metadata expires, whatever later refreshes come to
//	newroot.go  but for a newer root: by that alone a failed refresh ends or shortens it
//	keeper.go   who is followed; rest.go: and when they are asked again
//
// The last good root and the versions seen are held in memory only, since the root file system is read-only. What a
// mirror showed to a process that is gone is therefore not known to the next one: for the first refresh the pinned root
// and the metadata's own expiry are the guard, as the specification has it for a client without a cache.
//
// No text is served past its expiry, nor by keys that the newest root known has struck off. There is no way round: a mirror
// that is down for longer than its metadata last refuses what depends on it, and State.Err says so and what to do.
package trust
