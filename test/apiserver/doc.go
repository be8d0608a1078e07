// Package apiserver attacks the webhook through a real API server: its tests are the rows of the list of attacks that only
// kube-apiserver can make, each named after its row.
//
// What a webhook is worth shows only there: a matchCondition skips what it skips, a subresource is asked about or isn't, a second
// webhook changes the Pod after ours has seen it, a controller tries again. So nothing here is made up: etcd, kube-apiserver and
// kube-controller-manager run as in a cluster, the webhook is its own binary, and images and papers lie in registries on
// loopback. There is no kubelet: Pods are admitted and stored, and never run.
//
// One bed serves all tests, each of which has a namespace and a registry of its own (see scene) and runs beside the others. Tests
// that stop the webhook or the API server don't, and so run before them, one after the other.
package apiserver
