package compile

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// DefaultTrustRoot is the TrustRoot that authorities refer to where they name none. Where no object has that name, it is the public
// good instance's root, which comes with the release.
const DefaultTrustRoot = "sigstore-public"

// Bounds of TrustRoots.
const (
	// MaxTrustRoots bounds the TrustRoots of a cluster: an organisation has a handful of Sigstore instances, and each of ours may
	// follow eight mirrors and hold half a MiB.
	MaxTrustRoots = 64
	// maxSources bounds the sources of one, as its schema does.
	maxSources = verify.MaxTrustedRoots
	// maxTrustRootText bounds its texts together, in bytes: its status repeats them, and shares one etcd object of 1.5 MiB with its spec.
	maxTrustRootText = 512 << 10
	// maxThreshold bounds its thresholds, as its schema does: nobody runs more logs.
	maxThreshold = 8
)

// TrustRoots tells what the TrustRoot of a name trusts.
//
// An error makes the policies that refer to it unusable, and names it. Whoever may read a policy or is refused by one reads its words,
// and another wording is another policy: so they say neither addresses nor what else may be otherwise the next time.
type TrustRoots interface {
	TrustRoot(ctx context.Context, name string) (TrustInForce, error)
}

// TrustInForce is what a TrustRoot has in force. Its texts are as errors of TrustRoots are.
type TrustInForce struct {
	// Trust is what is trusted.
	Trust *verify.Trust
	// Note says what of the TrustRoot is not in use; empty where all of it is.
	Note string
	// Kept says what of it could not be read again, so that what was read before is in use; empty where there is no such thing.
	Kept string
}

// PublicGoodOnly knows the one trust root that comes with the release, and builds it anew each time.
type PublicGoodOnly struct{}

// TrustRoot implements TrustRoots.
func (PublicGoodOnly) TrustRoot(_ context.Context, name string) (TrustInForce, error) {
	if name != DefaultTrustRoot {
		return TrustInForce{}, errNoTrustRoot(name)
	}
	t, err := publicGood()
	return TrustInForce{Trust: t}, err
}

func publicGood() (*verify.Trust, error) {
	t, err := verify.NewTrust([][]byte{trust.PublicGood()}, verify.DefaultThresholds())
	if err != nil {
		return nil, fmt.Errorf("the public good instance's root that comes with the release: %w", err)
	}
	return t, nil
}

func errNoTrustRoot(name string) error {
	return fmt.Errorf("TrustRoot %s: not found: create it, or name one that `kubectl get trustroots` lists", name)
}

// seeRoot is where whoever may read TrustRoots finds what policies don't tell of one.
func seeRoot(name string) string { return "see kubectl get trustroot " + name + " -o yaml" }

// trustDigest identifies what is trusted, as statuses write digests.
func trustDigest(t *verify.Trust) string {
	print := t.Fingerprint()
	return "sha256:" + hex.EncodeToString(print[:])
}

// thresholdsOf are a TrustRoot's thresholds with what its author left to us.
func thresholdsOf(t *v1alpha1.TrustRootThresholds) verify.Thresholds {
	out := verify.DefaultThresholds()
	if t == nil {
		return out
	}
	for from, to := range map[*int32]*int{t.Logs: &out.Logs, t.Timestamps: &out.Timestamps, t.SignedCertificateTimestamps: &out.SCTs} {
		if from != nil {
			*to = int(*from)
		}
	}
	return out
}

// trustRootOf says which TrustRoot an authority refers to; none where a key or a certificate asks for neither log nor timestamp and
// names none: then its fingerprint, and with it the policy's digest, doesn't hang on what a release brings along.
func trustRootOf(a *v1alpha1.Authority) (name string, ok bool) {
	switch {
	case a.Keyless != nil:
		name, ok = a.Keyless.TrustRoot, true
	case a.Key != nil:
		name = a.Key.TrustRoot
	case a.Certificate != nil:
		name = a.Certificate.TrustRoot
	}
	if name == "" && (ok || a.Log != "" || a.Timestamp != "") {
		name = DefaultTrustRoot
	}
	return name, name != ""
}

// usableRoot tells whether a text can be one of a TrustRoot's.
func usableRoot(text []byte) error {
	switch {
	case len(text) > verify.MaxTrustedRoot:
		return fmt.Errorf("%d bytes, at most %d", len(text), verify.MaxTrustedRoot)
	case privateKey.Match(text):
		return errPrivateKey
	case len(text) == 0:
		return errors.New("it is empty: want the text of a trusted_root.json")
	case bytes.Contains(text, []byte("-----BEGIN ")) && !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")):
		return errors.New("this is PEM: a trusted_root.json is made of it by \"cosign trusted-root create\" (docs/trust-roots.md)")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) == nil && len(fields["mediaType"]) == 0 {
		return errors.New(`the trusted root has no mediaType: want the whole of a trusted_root.json, with mediaType, certificateAuthorities, ctlogs, tlogs, timestampAuthorities`)
	}
	return trust.CheckText(text)
}
