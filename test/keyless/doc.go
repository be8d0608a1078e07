// Package keyless starts a Sigstore of our own, on loopback, for tests, for
// fixtures and for the end-to-end run: whatever a real cosign needs to sign
// without a key of its own, and the trusted root that says whom to believe.
//
//	s, err := keyless.Start(ctx, keyless.Options{})
//	if err != nil { ... }
//	defer s.Close()
//	token, err := s.Token(keyless.Claims{Email: "dev@example.com"})
//	root := s.TrustedRoot() // the text of a trusted_root.json
//
// What can be real is real, and runs as a process of its own: fulcio, which
// issues certificates; rekor-tiles, which is Rekor v2; and the timestamp
// authority. hack/binaries builds them once and keeps them in the user's cache
// (see [Programs]). They bring hundreds of modules, so nothing of them is
// imported here; what is, the product has already, or its tests alone do.
//
// Four parts are stand-ins, in this process:
//
//   - The OpenID Connect issuer (see [Claims]). It answers for any issuer,
//     https://token.actions.githubusercontent.com as well as one of example.com:
//     fulcio reaches the world through a proxy that is the issuer itself.
//   - The certificate transparency log. It signs SCTs, which fulcio embeds, and
//     keeps nothing: nobody asks it for a proof.
//   - Rekor v1. Its own server needs a Trillian log server and an SQL database.
//     What a client sees is the same: entries are checked and brought to their
//     canonical form by Rekor's own code, every kind of entry that this code
//     knows of ours (hashedrekord, dsse, intoto, rekord), and come back with an
//     inclusion proof in a Merkle tree, a checkpoint and a signed entry
//     timestamp. What it lacks are searches and persistence.
//   - A second timestamp authority, which unlike the real one can be told what
//     time it is, as Rekor v1 can ([Options].Clock).
//
// Everything listens on loopback but fulcio's metrics, whose host can't be set.
//
// The names in the trusted root (issuers, origins of the logs) don't change from
// one start to the next, all keys do.
//
// The package is one of the main module, and not a module of its own as
// hack/tools is, so that every package's tests can start it. Scripts run
// test/keyless/cmd/keyless, which starts the same and writes everything into a
// directory.
package keyless
