// Package helm is the way Pratique is installed: the chart in the folder pratique, and what the chart comes
// to where nothing can run it.
//
// A webhook outside the cluster needs there only what the API server itself goes by: the CRDs, the webhook
// objects, the guards and the roles for people. [OutOfCluster] gives them without the program helm: it takes the
// golden rendering that the chart's tests keep equal to what helm renders, and puts an address and a CA in.
//
// The chart's tests name the rows of attacks that they hold it against, evaluate its matchConditions with the
// API server's own code, and check that the CRDs are those that hack/generate makes of api/. After an edit of
// the chart or of api/, UPDATE_GOLDEN=1 go test ./deploy/helm writes the golden renderings anew.
package helm

import (
	_ "embed" // for the golden rendering
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Namespace is the namespace that the golden renderings are installed into: Pods there are never judged, and
// a ClusterImagePolicy's Secrets are read from there. A webhook started for one is given it as --namespace.
const Namespace = "pratique-system"

// What the golden rendering has where a webhook's own values go.
const (
	placeholderURL = "https://webhook.invalid" // RFC 2606: never a host
	placeholderCA  = "Q0EtQlVORExFLVBMQUNFSE9MREVS"
)

// webhooks is how many webhooks the rendering has, each with its URL and CA, and pinning how many of them are in
// the MutatingWebhookConfiguration.
const webhooks, pinning = 4, 1

//go:embed pratique/testdata/golden/out-of-cluster.yaml
var outOfCluster string

// OutOfCluster returns the objects, as YAML documents, that make the API server ask a webhook at this address, as
// the chart renders them with webhook.url and webhook.caBundle and without hooks: the CRDs, the guards, the roles
// for people, the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration. The address is https with a
// host and no path; the CA is PEM, and signed the webhook's certificate.
func OutOfCluster(address string, ca []byte) ([]byte, error) {
	return fill(outOfCluster, webhooks, address, ca)
}

// OutOfClusterWithoutPin is OutOfCluster with the chart's pin.enabled=false: nothing in it mutates, and the webhook
// is given --pin=false.
func OutOfClusterWithoutPin(address string, ca []byte) ([]byte, error) {
	return fill(withoutPin(outOfCluster), webhooks-pinning, address, ca)
}

// withoutPin leaves the MutatingWebhookConfiguration out of a rendering.
func withoutPin(rendering string) string {
	const separator = "---\n"
	var kept []string
	for document := range strings.SplitSeq(rendering, "\n"+separator) {
		if !strings.Contains(document, "\nkind: MutatingWebhookConfiguration\n") {
			kept = append(kept, strings.TrimSuffix(document, "\n"))
		}
	}
	return strings.Join(kept, "\n"+separator) + "\n"
}

// fill puts an address and a CA into a rendering of this many webhooks.
func fill(rendering string, webhooks int, address string, ca []byte) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the webhook's address: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || address != "https://"+u.Host || strings.ContainsAny(u.Host, `"\\`) {
		return nil, fmt.Errorf("the webhook's address %q is not of the form https://HOST[:PORT]", address)
	}
	if block, _ := pem.Decode(ca); block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the webhook's CA is not a certificate in PEM")
	}
	out, err := replace(rendering, webhooks, placeholderURL+"/", address+"/")
	if err != nil {
		return nil, err
	}
	if out, err = replace(out, webhooks, placeholderCA, base64.StdEncoding.EncodeToString(ca)); err != nil {
		return nil, err
	}
	return []byte(out), nil
}

// replace puts a value in the place of a placeholder, once for each webhook and nowhere else.
func replace(rendering string, webhooks int, placeholder, value string) (string, error) {
	if n := strings.Count(rendering, placeholder); n != webhooks {
		return "", fmt.Errorf("the golden rendering has %q %d times and not %d: make it anew", placeholder, n, webhooks)
	}
	return strings.ReplaceAll(rendering, placeholder, value), nil
}
