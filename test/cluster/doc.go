// Package cluster starts a real Kubernetes control plane for tests and demos:
// etcd and kube-apiserver as processes of their own, on loopback, in a
// directory that is removed afterwards; kube-controller-manager where a test
// needs what controllers do.
//
// What a webhook is worth shows only before the real API server: it alone
// decides what a matchCondition skips, how it words a refusal, which
// annotations reach the audit log and what happens when nobody answers. There
// is no kubelet: Pods are admitted and stored, and never run.
//
//	c, err := cluster.Start(ctx, cluster.Options{})
//	if err != nil { ... }
//	defer c.Stop()
//	err = c.CreateNamespace(ctx, "payments", map[string]string{"env": "production"})
//	stdout, stderr, err := c.Kubectl(ctx, "-n", "payments", "apply", "-f", "pod.yaml")
//
// Tests use the package clustertest, which stops the cluster when the test
// ends. A package with several tests starts one cluster and runs them as its
// subtests, each in a namespace of its own: a start takes some seconds and
// about 350 MiB of memory.
//
// The programs come from hack/binaries; see [Binaries].
package cluster
