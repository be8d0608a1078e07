// Package registry reads container registries, and writes papers to them: bounded, guarded and counted.
//
// A registry is somebody else's computer. Whoever may write next to an image, or stands between, can answer
// anything: a document that is two things at once, a body without end, a redirect into our own network, a token
// service that collects passwords. So this package holds to a few rules, each in the file named after it:
//
//	transport.go   every body has a bound; no compression, so that a bound means bytes; every request is counted
//	transports.go  a host's certificate is by the authorities that are named for it; no connection outlives its permission
//	guard.go       no connection to loopback, link-local, metadata or Service addresses, judged after DNS
//	proxy.go       behind a proxy, which hides what names resolve to, no host is asked that nobody named
//	redirect.go    at most five redirects, https only, credentials stay where they were meant for
//	plainhttp.go   plain http only to hosts that an administrator named
//	session.go     one login for a credential and a repository, shared by all who wait for it
//	realm.go       credentials are sent to token services of the registry's own site, or named for it
//	match.go       a credential is for the host and the path that its pull secret says, as the kubelet reads it
//	grant.go       the install's own credentials are for their prefixes, come after a Pod's own, and are got when needed
//	manifest.go    a manifest that two parsers could read differently is refused
//	resolve.go     a tag is resolved by reading the manifest and hashing it, never by a header
//	list.go        what is attached to an image is sought in every place, side by side
//	children.go    what a node may run of an index is found to a bounded depth
//	unsigned.go    what nobody signed is named for people, as far as it costs nothing, and never read
//	fetch.go       content hashes to the digest that it was asked for by
//	body.go        a body is read into one buffer that grows as bytes come; a large one has to come at some rate
//	mirror.go      a mirror is an offer: names and digests stay the origin's, and papers are sought at both
//	elsewhere.go   papers kept in another repository are sought there alone, with the credentials that are for it
//	limits.go      no registry takes all requests or all memory
//	reservation.go large bodies have memory of their own, so that small ones never wait for them
//	standing.go    most of both is for registries that have given whole answers of late
//	accesses.go    credentials are held while they are in use, and no more of them than a bound
//	retry.go       two more tries, inside the caller's deadline
//	push.go        a paper is a manifest that names the image as its subject, in the shape that cosign writes
//	push_request.go what is written goes to the registry itself: no redirect and no Location leads elsewhere
//	push_fallback.go where referrers aren't listed, an index under a tag is, in which everything stays that is there
//
// What an install says of registries (registries.go, registries_read.go, registries_list.go) is read strictly, checked
// whole before any of it counts, and replaced while requests run: each request is judged by the list of its moment.
//
// A Client is made once. Client.Open gives the Reader of one repository, with all that the install says of it;
// Client.With gives the Access of one set of credentials and nothing else. Both implement verify.Fetcher. What they
// return is complete or an error: nothing is truncated and nothing is left out in silence. They return candidates only;
// whether any is true is for package verify to find out.
//
// Client.Writer gives the Writer to one repository, which attaches papers to images. It logs in apart, for the right to
// write as well, and knows no mirrors. The webhook never makes one.
package registry
