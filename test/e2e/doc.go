// Package e2e runs Pratique as an admin runs it, on a real node: a kubelet that starts Pods and a containerd that pulls them.
// `make e2e` is the way in; go test ./... only compiles what is here, and skips it.
//
// The tests are one story, told with kubectl and helm and judged by their words: the image that `make image` made is loaded
// onto the node, the chart installs it, and then signed and unsigned images, private ones and moved tags are tried, and what
// real clients signed without a key, by a Sigstore of our own (test/keyless) that is gone by then; the webhook is taken away
// and comes back; helm upgrades, rolls back and uninstalls. Through all of it an endless loop tries to get an unsigned image in
// by every kind of reference, and another a signed one, so that a moment in which the door is open, or shut for everybody, is
// seen whenever it comes.
//
// The registry is test/evilregistry on an address that nodes and Pods reach; the images are made here, of one small static
// program and a line of text. Nothing is downloaded.
//
// What the script run reads from the environment:
//
//	KUBECONFIG     the cluster; without it, ../shared/cluster/up starts one where it is present, which is taken down at the end
//	E2E_REGISTRY   HOST:PORT to listen on, that Pods and nodes reach by plain http (10.250.0.1:5000 beside ../shared/cluster)
//	E2E_LOAD       a command that imports the OCI archives named by its arguments into the nodes (../shared/cluster/load where it
//	               is present); if it is empty, the webhook's image is pushed to E2E_REGISTRY and pulled from there
package e2e
