// Package server puts an admission handler before the API server and keeps it there.
//
// The API server sends a review over TLS, waits as long as its timeout says and takes every failure to answer as its
// failurePolicy says. So the answer has to be ours, always, and in time:
//
//	Deadline      a request has until shortly before the API server gives up; what overruns, panics or is too large
//	              is refused by us, in words, under the request's own UID; or passes, where it is judged elsewhere
//	CertDir       outside a cluster: a certificate made into a directory, and renewed there under the same CA
//	InCluster     in a cluster: the same in a Secret that all replicas share, its CA kept in the webhook objects
//	Server        serves with the certificate of a directory, whoever puts it there, taking up a new one between two
//	              handshakes
//	Registration  tells whether the API server's webhook objects still send us what we are to judge
//	Drain         on SIGTERM: not ready at once, serving on until nobody asks any more, then finishing what is in flight
//	AddChecks     /healthz and /readyz
//
// A zero value refuses: a check without a condition is not ready, an answer that nobody wrote is a refusal.
package server
