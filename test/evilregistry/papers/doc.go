// Package papers makes the signed things that lie beside an image in a
// registry, with keys made for the test and no outside tool.
//
// The idea: an image's papers are cosign's, in its two layouts, and a verifier
// must take every honest one and refuse every forged one. So each maker writes
// what cosign writes, and each Option changes one thing into a lie.
//
//	legacy   SignLegacy    tag sha256-<hex>.sig: a simplesigning payload per layer,
//	                       its signature in the layer's annotation
//	         AttestLegacy  tag sha256-<hex>.att: a DSSE envelope per layer
//	bundle   SignBundle    an OCI referrer with a sigstore bundle around a DSSE
//	                       envelope, predicate type https://sigstore.dev/cosign/sign/v1
//	         AttestBundle  the same with any other predicate
//
// What they write was taken from the sources of cosign v2.6.5 and v3.1.3:
// media types, annotations, tags, the bytes that are signed. Both programs were
// seen to verify the legacy papers, and v3.1.3 the bundles, for every key they
// can verify at all (see Key); the tests here verify them with sigstore-go.
//
// What is signed. A legacy signature is over the payload; everything with an
// envelope is over DSSE's pre-authentication encoding, PAE(payloadType, payload).
// The hash is the key's, see Key.
//
// LegacySignature, Envelope and Bundle make the same bytes without a registry.
package papers
