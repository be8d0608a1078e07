package verify_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// TestBundlesOfBeforeAreStillVerified: bundles, and the trusted root and PKI that they are verified by, as they were once written to
// testdata/bundles (UPDATE_GOLDEN=1). The fuzz targets begin with them: keys made anew in each process would make all but one refuse them.
func TestBundlesOfBeforeAreStillVerified(t *testing.T) {
	dir, image := filepath.Join("testdata", "bundles"), verifytest.Digest("image")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		s, someone, key := verifytest.NewSigstore(t), verifytest.Someone(), verifytest.NewSigner(t, 1)
		pki := verifytest.NewPKI(t, verifytest.Always()).Intermediate(t, verifytest.Always())
		holder := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}})
		v2 := []verifytest.Log{verifytest.RekorV2}
		write := func(name string, data []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write("trusted_root.json", s.TrustedRoot(t))
		write("roots.pem", pki.RootsPEM())
		write("key.pem", key.Key().PEM())
		for name, by := range map[string]verifytest.Signing{
			"keyless-v1.json": {Person: &someone, Logs: v1Log()}, "keyless-v2.json": {Person: &someone, Logs: v2, Stamps: []int{0}},
			"keyless-stamp.json": {Person: &someone, Logs: v1Log(), Stamps: []int{0, 1}}, "keyless-v01.json": {Person: &someone, Logs: v1Log(), Version: "0.1"},
			"certificate.json": {Holder: &holder, Chain: true, Logs: v1Log(), Stamps: []int{0}}, "certificate-v01.json": {Holder: &holder, Chain: true, Version: "0.1"},
			"key.json": {Key: &key}, "key-logged.json": {Key: &key, Logs: v1Log(), Stamps: []int{0}},
		} {
			write(name, s.Sign(t, by, image).Payload)
		}
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	trust, err := verify.NewTrust([][]byte{read("trusted_root.json")}, verify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	roots, err := verify.ParseRoots(read("roots.pem"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := verify.ParseKeys(read("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	lead, err := verify.NewCertificateIdentity("lead@corp.example", "")
	if err != nil {
		t.Fatal(err)
	}
	own, err := verify.NewCertificateAuthority("pki", roots, []verify.CertificateIdentity{lead}, verify.Terms{Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	held, err := verify.NewKeyAuthority("key", keys, verify.Terms{Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]verify.Authority{
		"keyless-v1.json": keyless(t, trust, verify.Terms{}), "keyless-v2.json": keyless(t, trust, verify.Terms{}),
		"keyless-stamp.json": keyless(t, trust, verify.Terms{Timestamp: verify.Required}), "keyless-v01.json": keyless(t, trust, verify.Terms{}),
		"certificate.json": own, "certificate-v01.json": own, "key.json": held, "key-logged.json": held,
	} {
		t.Run(name, func(t *testing.T) {
			text := read(name)
			verified(t, a, image, then(), verify.Candidate{Payload: text, Paper: verify.Paper{Kind: verify.Referrer, Place: verify.PlaceReferrers, Digest: verifytest.Digest(string(text)), Size: int64(len(text))}})
		})
	}
}
