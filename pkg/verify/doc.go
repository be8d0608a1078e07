// Package verify turns what a registry offers into what is known.
//
// A registry is not trusted: anyone who may push next to an image can put anything there. So what comes
// from it is a Candidate, and stays one until a signature over it was checked. What an Authority is found to
// have said about a digest is Evidence: it has no exported fields and no constructor, so that nothing but
// this package's Verifier can make it, and whoever holds Evidence holds a fact.
//
//	Paper      something is attached to the image            (listed by a Fetcher, untrusted)
//	Candidate  its bytes                                     (fetched by a Fetcher, untrusted)
//	Authority  who may vouch                                 (from a policy)
//	Evidence   this authority said this about this digest    (minted here)
//	Findings   all that one authority said about one digest, and what was found but not accepted
//
// The only subject is a digest: a tag does not compile.
//
// The Verifier keeps Findings, which are facts, and never verdicts, which depend on the policy and the
// clock: see docs/design/0003-facts-not-verdicts.md. This is the only package, besides internal/trust and pkg/promote,
// that knows sigstore.
package verify
