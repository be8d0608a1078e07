//go:build tools

// Package helm pins the version of helm that the chart's tests run. It is a
// module of its own, because helm's Kubernetes libraries are of another
// version than both the product's and the API server's.
// hack/binaries builds from it; nothing imports it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
