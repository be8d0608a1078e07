// Package compile turns policy objects into policy.Policy: the one road for the webhook and the CLI alike.
//
//	Decode     bytes -> object, strictly: a field that this version doesn't know is an error, never dropped
//	Validate   object -> what is wrong with it, as far as that can be told without a cluster
//	Warnings   object -> what is allowed, but probably not meant
//	Install    all three, and whether an exception is to end in time, for /validate-policy, in the light of how the install is set up
//	Materials  where referenced keys are read: a cluster's Secrets and ConfigMaps, files, or what a policy's status published
//	TrustRoots whose logs and certificate authorities count: a cluster's TrustRoots, files', or what their statuses published
//	Compiler   object + Materials + TrustRoots -> policy.Policy and a Report
//	StatusOf   Report -> the status that people read
//	Store      the compiled policies of a cluster, its TrustRoots and ImageExceptions, kept up to date from informers and mirrors
//	Bundle     the same from files; FromCluster: the same from a cluster that the CLI asks once
//
// Compiling never fails. A policy that can't be used becomes one that refuses what it matches and says why: a typo, a
// missing Secret or a field of a newer version must not open a door. What can't even be read matches everything.
//
// A TrustRoot that can't be used makes the policies unusable that refer to it. Of several sources, one that can't be had drops out and is
// told, and the others hold.
//
// An ImageException only loosens, and so it is the other way round: one that can't be used, or is one of too many in its namespace,
// excuses nothing.
//
// The Store answers from an immutable snapshot: policies are compiled when they change, never when a Pod is asked about.
package compile
