// Package helm is the way Pratique is installed: the chart in the folder pratique, and what the chart comes
// to where nothing can run it.
//
// A webhook outside the cluster needs only the CRDs and the webhook objects there. [OutOfCluster] gives
// them without the program helm: it takes the golden rendering that the chart's tests keep equal to what
// helm renders, and puts an address and a CA in.
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

// webhooks is how many webhooks the rendering has, each with its URL and CA.
const webhooks = 2

//go:embed pratique/testdata/golden/out-of-cluster.yaml
var outOfCluster string

// OutOfCluster returns the objects, as YAML documents, that make the API server ask a webhook at this address:
// the CRDs and the ValidatingWebhookConfiguration, as the chart renders them with webhook.url and
// webhook.caBundle. The address is https with a host and no path; the CA is PEM, and signed the webhook's
// certificate.
func OutOfCluster(address string, ca []byte) ([]byte, error) {
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
	out, err := replace(outOfCluster, placeholderURL+"/", address+"/")
	if err != nil {
		return nil, err
	}
	if out, err = replace(out, placeholderCA, base64.StdEncoding.EncodeToString(ca)); err != nil {
		return nil, err
	}
	return []byte(out), nil
}

// replace puts a value in the place of a placeholder, once for each webhook and nowhere else.
func replace(rendering, placeholder, value string) (string, error) {
	if n := strings.Count(rendering, placeholder); n != webhooks {
		return "", fmt.Errorf("the golden rendering has %q %d times and not %d: make it anew", placeholder, n, webhooks)
	}
	return strings.ReplaceAll(rendering, placeholder, value), nil
}
