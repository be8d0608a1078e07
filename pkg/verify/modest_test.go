package verify_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func TestRow53_AThousandCertificatesAreNotRead(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	root := verifytest.NewPKI(t, verifytest.Always())
	pki := root
	for range verify.MaxChain {
		pki = pki.Intermediate(t, verifytest.Always())
	}
	a := root.Authority(t, "pki", verify.Terms{}, "ci.example.com")
	h := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	// The bound is met before any certificate is looked at: none of these can be.
	b := object(t, s.Sign(t, verifytest.Signing{Holder: &h, Chain: true}, image))
	chain := down(t, b, "verificationMaterial", "x509CertificateChain")
	chain["certificates"] = slices.Repeat([]any{map[string]any{"rawBytes": "AAAA"}}, 1000)
	if m := refused(t, a, image, then(), verifytest.Pack(b), verify.MissMalformed); !strings.Contains(m.Claimed, "1000 certificates, over the bound of 10") {
		t.Errorf("missed because %s", m.Claimed)
	}
	m := refused(t, a, image, then(), s.Sign(t, verifytest.Signing{Holder: &h, Chain: true}, image), verify.MissMalformed)
	if !strings.Contains(m.Claimed, "11 certificates") {
		t.Errorf("missed because %s", m.Claimed)
	}
	// Ten are good.
	pki = root
	for range verify.MaxChain - 1 {
		pki = pki.Intermediate(t, verifytest.Always())
	}
	ten := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	verified(t, a, image, then(), s.Sign(t, verifytest.Signing{Holder: &ten, Chain: true}, image))
}

func TestRow53_CertificatesAreNoLargerThanCertificates(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	a := pki.Authority(t, "pki", verify.Terms{}, "ci.example.com")
	names := []string{"ci.example.com"}
	for i := range 3000 {
		names = append(names, fmt.Sprintf("name-%d.of.many.example.com", i))
	}
	h := pki.Issue(t, verifytest.Leaf{DNS: names})
	if m := refused(t, a, image, then(), s.Sign(t, verifytest.Signing{Holder: &h}, image), verify.MissMalformed); !strings.Contains(m.Claimed, "more than 65536 bytes") {
		t.Errorf("missed because %s", m.Claimed)
	}
}

func TestRow76_WhatIsInABundleIsBounded(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	a := keyless(t, s.Trust(t, verify.DefaultThresholds()), verify.Terms{})
	good := s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0}}, image)
	verified(t, a, image, then(), good)
	huge := slowKey(t, 65536)
	for what, tc := range map[string]struct {
		change func(material, entry map[string]any)
		want   string
	}{
		"33 log entries": {func(m, e map[string]any) { m["tlogEntries"] = slices.Repeat([]any{e}, 33) }, "33 log entries"},
		"33 timestamps": {func(m, _ map[string]any) {
			stamps := down(t, m, "timestampVerificationData")
			stamps["rfc3161Timestamps"] = slices.Repeat(stamps["rfc3161Timestamps"].([]any), 33)
		}, "33 signed timestamps"},
		"a log entry of half a megabyte": {func(_, e map[string]any) {
			e["canonicalizedBody"] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(" "), 1<<19))
		}, "over the bound of 65536"},
		"a log entry of another kind":              {body(t, func(b map[string]any) { b["kind"] = "rekord" }), "which no log keeps"},
		"a log entry of another version":           {body(t, func(b map[string]any) { b["apiVersion"] = "0.0.9" }), "isn't read"},
		"a log entry with something more":          {body(t, func(b map[string]any) { down(t, b, "spec")["proposedContent"] = map[string]any{} }), "proposedContent"},
		"a log entry whose key takes seconds":      {body(t, func(b map[string]any) { down(t, b, "spec", "signatures", 0)["verifier"] = huge }), "over the bound of 1088"},
		"a log entry with such a key in any place": {body(t, func(b map[string]any) { down(t, b, "spec", "signatures", 0)["Verifier2"] = []any{[]any{huge}} }), "Verifier2"},
		"a log entry that says things twice": {func(_, e map[string]any) {
			e["canonicalizedBody"] = base64.StdEncoding.EncodeToString([]byte(`{"kind":"dsse","Kind":"x"}`))
		}, "occurs twice"},
		"a log entry that is no JSON": {func(_, e map[string]any) { e["canonicalizedBody"] = "AAAA" }, "not a JSON object"},
		"a certificate that is nested ever deeper": {func(m, _ map[string]any) {
			m["certificate"] = map[string]any{"rawBytes": base64.StdEncoding.EncodeToString(deep(t, 40))}
		}, "nested more than 32 deep"},
		"a certificate without its length": {func(m, _ map[string]any) {
			m["certificate"] = map[string]any{"rawBytes": base64.StdEncoding.EncodeToString(nested(1))}
		}, "without a length"},
		"a certificate with something behind": {func(m, _ map[string]any) {
			c := down(t, m, "certificate")
			c["rawBytes"] = base64.StdEncoding.EncodeToString(append(mustDecode(t, c["rawBytes"]), 0))
		}, "something follows"},
		"a certificate that ends too soon": {func(m, _ map[string]any) {
			c := down(t, m, "certificate")
			d := mustDecode(t, c["rawBytes"])
			c["rawBytes"] = base64.StdEncoding.EncodeToString(d[:len(d)-1])
		}, "can't be read"},
		"no certificate":              {func(m, _ map[string]any) { m["certificate"] = map[string]any{} }, "certificate"},
		"neither certificate nor key": {func(m, _ map[string]any) { delete(m, "certificate") }, "missing verification material"},
		"a chain of none":             {func(m, _ map[string]any) { delete(m, "certificate"); m["x509CertificateChain"] = map[string]any{} }, "neither key nor certificate"},
	} {
		t.Run(what, func(t *testing.T) {
			b := object(t, good)
			m := down(t, b, "verificationMaterial")
			tc.change(m, down(t, m, "tlogEntries", 0))
			if miss := refused(t, a, image, then(), verifytest.Pack(b), verify.MissMalformed); !strings.Contains(miss.Claimed, tc.want) {
				t.Errorf("missed because %s, want %q", miss.Claimed, tc.want)
			}
		})
	}
}

// body changes what a log entry says.
func body(t testing.TB, change func(map[string]any)) func(material, entry map[string]any) {
	return func(_, e map[string]any) {
		var b map[string]any
		if err := json.Unmarshal(mustDecode(t, e["canonicalizedBody"]), &b); err != nil {
			t.Fatal(err)
		}
		change(b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		e["canonicalizedBody"] = base64.StdEncoding.EncodeToString(text)
	}
}

func mustDecode(t testing.TB, text any) []byte {
	t.Helper()
	out, err := base64.StdEncoding.DecodeString(text.(string))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// slowKey is an RSA key in PEM, in base64, with which one verification takes long.
func slowKey(t testing.TB, bits int) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// nested is BER that is so many levels deep, each without a length (X.690, 8.1.3.6).
func nested(levels int) []byte {
	return append(bytes.Repeat([]byte{0x30, 0x80}, levels), bytes.Repeat([]byte{0, 0}, levels)...)
}

// deep is DER that is so many levels deep.
func deep(t testing.TB, levels int) (out []byte) {
	t.Helper()
	for range levels {
		var err error
		if out, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: out}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRow96_ATimestampThatIsNestedForEverEndsNothing: what reads timestamps has a level of its own stack for each of theirs, and where that
// is full the process ends. So such a one is as if it weren't there.
func TestRow96_ATimestampThatIsNestedForEverEndsNothing(t *testing.T) {
	t.Parallel()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	element := func(content []byte) []byte {
		out, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	status := element([]byte{2, 1, 0}) // granted
	for what, token := range map[string][]byte{
		"a hundred thousand levels":         nested(100 << 10),
		"a thousand levels":                 nested(1000),
		"forty levels":                      element(nested(40)),
		"forty levels with their lengths":   deep(t, 40),
		"a number of half a megabyte":       element(append([]byte{2, 0x83, 8, 0, 0}, make([]byte, 1<<19)...)),
		"a number of two kilobytes":         element(append([]byte{2, 0x82, 8, 0}, make([]byte, 2048)...)),
		"a length beyond the end":           {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff},
		"a length without an end":           {0x30, 0x80, 0x30, 0x80},
		"a primitive without a length":      {0x02, 0x80, 0, 0},
		"a tag of several bytes":            {0x3f, 0x81, 0x01, 0},
		"a length of more bytes than there": {0x30, 0x8f, 1},
	} {
		b := object(t, s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0}}, image))
		down(t, b, "verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0)["signedTimestamp"] =
			base64.StdEncoding.EncodeToString(element(slices.Concat(status, token)))
		paper := verifytest.Pack(b)
		t.Run(what, func(t *testing.T) {
			verified(t, keyless(t, trust, verify.Terms{}), image, then(), paper)
			refused(t, keyless(t, trust, verify.Terms{Timestamp: verify.Required}), image, then(), paper, verify.MissUnproven)
		})
	}
}
