//go:build tools

// Package binaries pins the versions of the Kubernetes programs that the tests
// run against. It is a module of its own, so that k8s.io/kubernetes and its
// staging replacements never meet the versions the product is built with.
// hack/binaries builds from it; nothing imports it.
package binaries

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
