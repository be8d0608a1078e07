// Package evilregistry is a real container registry that can be told to
// misbehave.
//
// The idea: what a client does with a broken, slow or lying registry can only
// be tested against something that is a registry in every other respect. So
// the base is ggcr's in-process registry (or any other http.Handler that
// speaks the OCI distribution protocol, see WithBackend), and on top of it lie,
// in the order in which a request meets them:
//
//	journal   every request is written down: what, when, with which credentials
//	delay     every request waits, so that serial depth can be measured
//	auth      Basic or bearer tokens, per repository (WithBasicAuth, WithTokenAuth)
//	script    the faults: "the second blob read is cut after 10 bytes"
//	plants    documents that a well-behaved registry would not have stored
//	backend   the registry
//
// A test fills the registry through Push, Plant or Options, which go straight
// to the backend: they are neither logged, delayed, authenticated nor faulted.
// The client under test goes over loopback TCP and meets all of it.
//
//	reg := evilregistry.New(t)
//	img := reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
//	reg.Once(evilregistry.Match{Kind: evilregistry.Manifest}, evilregistry.Status(503, nil, ""))
//	... run the client on img ...
//	if n := reg.Count(evilregistry.Manifest); n != 2 { ... }
//
// Faults can be added and removed while clients run; everything here may be
// used from several goroutines at once.
//
// Package papers, beside this one, makes the signed things that such a
// registry holds.
package evilregistry
