// Package registry reads container registries: bounded, guarded and counted.
//
// A registry is somebody else's computer. Whoever may write next to an image, or stands between, can answer
// anything: a document that is two things at once, a body without end, a redirect into our own network, a token
// service that collects passwords. So this package holds to a few rules, each in the file named after it:
//
//	transport.go  every body has a bound; no compression, so that a bound means bytes; every request is counted
//	guard.go      no connection to loopback, link-local, metadata or Service addresses, judged after DNS
//	redirect.go   at most five redirects, https only, credentials stay where they were meant for
//	plainhttp.go  plain http only to hosts that an administrator named
//	session.go    one login for a credential and a repository, shared by all who wait for it
//	realm.go      credentials are sent to token services of the registry's own site, or named for it
//	match.go      a credential is for the host and the path that its pull secret says, as the kubelet reads it
//	manifest.go   a manifest that two parsers could read differently is refused
//	resolve.go    a tag is resolved by reading the manifest and hashing it, never by a header
//	list.go       what is attached to an image is sought in every place, side by side
//	fetch.go      content hashes to the digest that it was asked for by
//	limits.go     no registry takes all requests or all memory
//	retry.go      two more tries, inside the caller's deadline
//
// A Client is made once. Client.With gives the Access of one set of credentials; it implements verify.Fetcher.
// What an Access returns is complete or an error: nothing is truncated and nothing is left out in silence. It
// returns candidates only; whether any is true is for package verify to find out.
//
// Not here yet: HTTPS_PROXY. The transport ignores it, because behind a proxy the dial guard sees only the proxy's
// address; DESIGN section 8 says what has to hold first.
package registry
