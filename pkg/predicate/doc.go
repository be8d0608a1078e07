// Package predicate reduces the predicates of in-toto Statements to facts: small, typed, and without a way back to the bytes.
//
// A predicate is what somebody who signed says about an image: what is in it, what a scan found, who built it, who approved. Tools write each
// in several shapes; a shape has a reader here, and all readers of one kind of paper give one type of [Facts]. Policies see only those.
//
// What can't be read is an error and never an empty fact: a scan whose results are absent has not found nothing. Readers know the shapes
// that tools are documented to write, look at no name but those that they know, and refuse a name that is there twice, or once more in
// another case, since readers of JSON differ in which of them they believe (security.md rows 82 and 84). Names that they don't know are passed over:
// formats grow.
//
// The package is pure: no network, no files, no clock. Who signed a predicate, and about which digest, is pkg/verify's business.
package predicate
