package keyless_test

import (
	"crypto"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/test/keyless"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

func TestASignatureOfAClockThatIsOffIsOutOfItsCertificatesTime(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	w := newWorkbenchOf(t, keyless.Options{Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	material := w.material(t, w.TrustedRoot())
	for _, way := range []way{
		{2, "legacy", byToken, "Rekor v1", []string{"--rekor-url={rekor1}"}, ""},
		{2, "legacy", byToken, "a timestamp", []string{"--timestamp-server-url=" + w.OffTimestamping, "--tlog-upload=false"}, ""},
		{2, "bundle", byToken, "Rekor v1", []string{"--rekor-url={rekor1}", "--new-bundle-format"}, ""},
		{3, "bundle", byToken, "Rekor v1", []string{"--signing-config=" + keyless.ConfigRekor1}, ""},
		{3, "bundle", byToken, "Rekor v2, a timestamp", []string{"--signing-config=" + keyless.ConfigRekor2OffTimestamp}, ""},
		{3, "bundle", byToken, "a timestamp", []string{"--signing-config=" + keyless.ConfigOffTimestamp}, ""},
	} {
		for name, by := range map[string]time.Duration{"right": 0, "ahead": time.Hour, "behind": -time.Hour} {
			t.Run(way.String()+" and a clock "+name, func(t *testing.T) {
				ahead.Store(int64(by))
				image := w.push(t, strings.ToLower(strings.Join(strings.FieldsFunc(t.Name(), func(r rune) bool { return r == '/' || r == '_' || r == ',' }), "")))
				w.cosign(t, way.cosign, append(append([]string{"sign"}, w.args(t, way)...), image.String())...)
				err := w.find(t, way.layout, image).verify(material, way)
				if by == 0 && err != nil {
					t.Error(err)
				}
				if by != 0 && (err == nil || !strings.Contains(err.Error(), "certificate")) {
					t.Errorf("got %v, want it to say that the certificate wasn't valid", err)
				}
			})
		}
	}
}

func TestCosign2StillWritesTheOldKindOfAttestation(t *testing.T) {
	t.Parallel()
	w := newWorkbenchOf(t, keyless.Options{Without: []keyless.Part{keyless.RekorV2, keyless.Timestamp, keyless.OffTimestamp}})
	if err := os.WriteFile(filepath.Join(w.dir, "predicate.json"), []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	image := w.push(t, "app")
	args := w.args(t, way{2, "legacy", byToken, "Rekor v1", []string{"--rekor-url={rekor1}", "--rekor-entry-type=intoto"}, ""})
	w.cosign(t, 2, append(append([]string{"attest", "--type=custom", "--predicate=predicate.json"}, args...), image.String())...)
	annotations, _ := layer(t, image.Tag(strings.Replace(image.DigestStr(), ":", "-", 1)+".att"))
	var entry struct{ Payload struct{ Body []byte } }
	if err := json.Unmarshal([]byte(annotations["dev.sigstore.cosign/bundle"]), &entry); err != nil {
		t.Fatal(err)
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(entry.Payload.Body, &kind); err != nil {
		t.Fatal(err)
	}
	if kind.Kind != "intoto" || kind.APIVersion != "0.0.1" {
		t.Errorf("wrote %s %s, want intoto 0.0.1", kind.Kind, kind.APIVersion)
	}
	// Its verify-attestation takes no trusted root for this layout, but the files of the environment.
	w.cosign(t, 2, "verify-attestation", "--type=custom", "--certificate-identity=dev@example.com", "--certificate-oidc-issuer="+keyless.EmailIssuer, image.String())
}

func TestTheTrustedRootHasEveryPart(t *testing.T) {
	t.Parallel()
	s := start(t, keyless.Options{})
	r, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.FulcioCertificateAuthorities()) != 1 || len(r.CTLogs()) != 1 || len(r.RekorLogs()) != 2 || len(r.TimestampingAuthorities()) != 2 {
		t.Errorf("got %s", s.TrustedRoot())
	}
	for id, l := range r.RekorLogs() {
		if l.HashFunc != crypto.SHA256 || time.Since(l.ValidityPeriodStart) < 0 {
			t.Errorf("log %s: %+v", id, l)
		}
	}
	if _, err := verify.NewVerifier(r, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)); err != nil {
		t.Error(err)
	}
	if _, err := s.SigningConfig(keyless.RekorV1, keyless.RekorV2); err == nil {
		t.Error("got a signing config with two logs")
	}
}
