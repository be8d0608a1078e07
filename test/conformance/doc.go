// Package conformance holds the client by which the published sigstore-conformance suite judges pkg/verify (client, built by make
// conformance-client as bin/conformance), and the cases of that suite that can be made from their descriptions without its files.
//
// A case is what it is there: a directory with a bundle, an artifact, a trusted root or a key, by a name that ends in _fail if the
// bundle must be refused. The cases are made by a Sigstore instance in memory, whose certificate authority, certificate transparency log, Rekor
// v1 and v2 logs and timestamp authority sign whatever a case needs them to have signed; then one thing is made wrong, as the case's
// description has it. README.md lists them, and says how to run the suite itself.
package conformance
