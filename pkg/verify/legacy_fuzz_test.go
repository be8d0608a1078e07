package verify_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// The corpora below testdata/fuzz hold legacy objects that are good by what testdata/legacy.json says is trusted, and some that never were. So
// the fuzzer starts behind every check, and has to break one. UPDATE_GOLDEN=1 makes both anew.
const legacyTrusted = "testdata/legacy.json"

// legacyTrust is what the corpora's objects are signed by.
type legacyTrust struct {
	TrustedRoot json.RawMessage
	Key, Roots  string // PEM
}

func (l legacyTrust) authorities(tb testing.TB) []verify.Authority {
	tb.Helper()
	trust, err := verify.NewTrust([][]byte{l.TrustedRoot}, verify.DefaultThresholds())
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := verify.ParseKeys([]byte(l.Key))
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := verify.ParseRoots([]byte(l.Roots))
	if err != nil {
		tb.Fatal(err)
	}
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: verifytest.Someone().Issuer, Subject: verifytest.Someone().Subject})
	if err != nil {
		tb.Fatal(err)
	}
	name, err := verify.NewCertificateIdentity("build.example.com", "")
	if err != nil {
		tb.Fatal(err)
	}
	var out []verify.Authority
	keep := func(a verify.Authority, err error) {
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, a)
	}
	for _, terms := range []verify.Terms{
		{Log: verify.Required, Trust: trust}, {Log: verify.Optional, Timestamp: verify.Required, Trust: trust}, {Log: verify.Optional, Timestamp: verify.Optional, Trust: trust},
	} {
		keep(verify.NewKeyAuthority("key", keys, terms))
		keep(verify.NewKeylessAuthority("keyless", trust, []verify.Identity{id}, terms))
		keep(verify.NewCertificateAuthority("certificate", roots, []verify.CertificateIdentity{name}, terms))
	}
	return out
}

func readLegacyTrust(tb testing.TB) legacyTrust {
	tb.Helper()
	text, err := os.ReadFile(legacyTrusted)
	if err != nil {
		tb.Fatal(err)
	}
	var l legacyTrust
	if err := json.Unmarshal(text, &l); err != nil {
		tb.Fatal(err)
	}
	return l
}

// legacySeed is a candidate as FuzzLegacyAnnotations takes it.
func legacySeed(c verify.Candidate) []any {
	a := c.Paper.Annotations
	return []any{
		c.Paper.Kind == verify.LegacyAttestation, c.Payload, a[verifytest.SignatureAnnotation], a[verifytest.CertificateAnnotation],
		a[verifytest.ChainAnnotation], a[verifytest.LogAnnotation], a[verifytest.StampAnnotation],
	}
}

func TestTheCorporaOfLegacyObjectsAreGoodWhereTheyShouldBe(t *testing.T) {
	t.Parallel()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		writeLegacyCorpora(t)
	}
	image, as := verifytest.Digest("image"), readLegacyTrust(t).authorities(t)
	files, err := filepath.Glob("testdata/fuzz/FuzzLegacyAnnotations/good_*")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d good objects (%v), want one for each kind of authority and entry", len(files), err)
	}
	for _, file := range files {
		c := readLegacySeed(t, file)
		if !slices.ContainsFunc(as, func(a verify.Authority) bool { return len(legacyLook(t, a, image, c, verifytest.Then()).Evidence) == 1 }) {
			t.Errorf("%s is believed by no authority", file)
		}
	}
}

// readLegacySeed reads a file as the fuzzer writes it (go test fuzz v1): a Go literal a line.
func readLegacySeed(tb testing.TB, file string) verify.Candidate {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 8 {
		tb.Fatalf("%s has %d lines", file, len(lines))
	}
	value := func(i int) string {
		_, literal, _ := strings.Cut(lines[i], "(")
		var out string
		if err := json.Unmarshal([]byte(strings.TrimSuffix(literal, ")")), &out); err != nil { // what is in them reads alike in Go and JSON
			tb.Fatalf("%s, line %d: %v", file, i+1, err)
		}
		return out
	}
	return legacyCandidate(lines[1] == "bool(true)", []byte(value(2)), value(3), value(4), value(5), value(6), value(7))
}

func legacyCandidate(attestation bool, payload []byte, sig, certificate, chain, log, stamp string) verify.Candidate {
	c := verify.Candidate{Payload: payload, Paper: verify.Paper{Kind: verify.LegacySignature, Digest: verifytest.Digest("seed"), Annotations: map[string]string{
		verifytest.SignatureAnnotation: sig, verifytest.CertificateAnnotation: certificate, verifytest.ChainAnnotation: chain,
		verifytest.LogAnnotation: log, verifytest.StampAnnotation: stamp,
	}}}
	if attestation {
		c.Paper.Kind = verify.LegacyAttestation
	}
	return c
}

// FuzzLegacyAnnotations: whatever is in a legacy layer and its annotations, what becomes evidence is what was signed, at the time at which it was
// seen; and nothing makes us panic beyond the recover.
func FuzzLegacyAnnotations(f *testing.F) {
	image, as := verifytest.Digest("image"), readLegacyTrust(f).authorities(f)
	f.Fuzz(func(t *testing.T, attestation bool, payload []byte, sig, certificate, chain, log, stamp string) {
		c := legacyCandidate(attestation, payload, sig, certificate, chain, log, stamp)
		for i, a := range as {
			q, want, signed := verify.Signatures(a), verifytest.SimpleSigning(image), payload
			if attestation {
				var err error
				if q, err = verify.Statements(a, legacyType); err != nil {
					t.Fatal(err)
				}
				var env struct{ Payload []byte }
				if json.Unmarshal(payload, &env) == nil {
					signed = env.Payload
				}
				want = verifytest.Statement(image, legacyType)
			}
			ev, miss, err := verify.Examine(t.Context(), q, image, c, verifytest.Then())
			switch {
			case err != nil:
				t.Fatal(err)
			case miss == nil && ev == (verify.Evidence{}), miss != nil && ev != (verify.Evidence{}):
				t.Fatalf("evidence %+v, miss %+v: want one of them", ev, miss)
			case miss != nil:
				continue
			}
			if !bytes.Equal(signed, want) || ev.Subject() != image || ev.Authority() != a.Fingerprint() {
				t.Fatalf("evidence of what nobody signed: %q", signed)
			}
			logged := ev.Time().Equal(verifytest.Then())
			if unseen := ev.Time().IsZero() && i >= 6 && a.Name() != "keyless"; !logged && !unseen {
				t.Fatalf("seen at %s by %s, want the time that was signed", ev.Time(), a.Name())
			}
		}
	})
}

// FuzzCertificateChain: what is read as certificates is certificates, no more than the bound, each as it was written; and with none but the signer's
// chain does a signature hold.
func FuzzCertificateChain(f *testing.F) {
	image, as := verifytest.Digest("image"), readLegacyTrust(f).authorities(f)
	good := readLegacySeed(f, "testdata/fuzz/FuzzLegacyAnnotations/good_certificate_hashedrekord")
	leaf, err := verify.CertificatesOf(good.Paper.Annotations[verifytest.CertificateAnnotation])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := verify.CertificatesOf(text)
		if (err == nil) != (len(read) > 0) || len(read) > verify.MaxChain || len(text) > verify.MaxChainPEM && err == nil {
			t.Fatalf("%d certificates of %d bytes: %v", len(read), len(text), err)
		}
		var again bytes.Buffer
		for _, c := range read {
			if err := pem.Encode(&again, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
				t.Fatal(err)
			}
		}
		if twice, err := verify.CertificatesOf(again.String()); len(read) > 0 && (err != nil || len(twice) != len(read)) {
			t.Fatalf("read once more there are %d of %d: %v", len(twice), len(read), err)
		}
		if roots, err := verify.ParseRoots([]byte(text)); err == nil {
			for _, c := range roots {
				if !c.IsCA {
					t.Fatalf("%s is no CA and became a root", c.Subject)
				}
			}
		}
		if len(read) == 0 {
			return // it is as if it weren't there: FuzzLegacyAnnotations has that
		}
		for _, a := range as[:3] { // one of each kind
			for _, c := range []verify.Candidate{legacyWith(good, verifytest.ChainAnnotation, text), legacyWith(good, verifytest.CertificateAnnotation, text)} {
				ev, miss, err := verify.Examine(t.Context(), verify.Signatures(a), image, c, verifytest.Then())
				if err != nil || (miss == nil) == (ev == (verify.Evidence{})) {
					t.Fatalf("evidence %+v, miss %+v, %v", ev, miss, err)
				}
				if miss == nil && (a.Name() != "certificate" || c.Paper.Annotations[verifytest.CertificateAnnotation] == text && !read[0].Equal(leaf[0])) {
					t.Fatalf("evidence of %s with certificates that are somebody else's", a.Name())
				}
			}
		}
	})
}

// writeLegacyCorpora makes trust and corpora anew.
func writeLegacyCorpora(t *testing.T) {
	t.Helper()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	holder := pki.Intermediate(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"build.example.com"}})
	bare := pki.Issue(t, verifytest.Leaf{})
	trusted := legacyTrust{s.TrustedRoot(t), string(bare.BareKey(t).PEM()), string(pki.RootsPEM())}
	bare.Certificate = nil
	someone := verifytest.Someone()
	in, stamps := []verifytest.Log{verifytest.RekorV1Promise}, []int{0}
	seeds := map[string][]any{}
	for who, by := range map[string]verifytest.Signing{
		"key":         {Holder: &bare, Logs: in, Stamps: stamps},
		"keyless":     {Person: &someone, Logs: in, Stamps: stamps},
		"certificate": {Holder: &holder, Chain: true, Logs: in, Stamps: stamps},
	} {
		for _, kind := range legacyKinds {
			name := "good_" + who + "_" + strings.ReplaceAll(strings.TrimSuffix(string(kind), " 0.0.1"), " 0.0.2", "2")
			seeds[name] = legacySeed(legacyObject(t, s, by, image, kind))
		}
	}
	base := legacyObject(t, s, verifytest.Signing{Person: &someone, Logs: in, Stamps: stamps}, image, verifytest.HashedRekord)
	for name, c := range map[string]verify.Candidate{
		"crash_certificate": legacyWith(base, verifytest.CertificateAnnotation, "\n"),
		"crash_body_number": logText(t, base, 7, "Payload", "body"),
		"crash_body_null":   logText(t, base, nil, "Payload", "body"),
		"crash_timestamp":   legacyWith(base, verifytest.StampAnnotation, `{"SignedRFC3161Timestamp":"AAAA"}`),
		"twice":             legacyWith(base, verifytest.LogAnnotation, `{"Payload":{"body":"e30="},"payload":{},"SignedEntryTimestamp":"AAAA"}`),
		"empty":             {Paper: verify.Paper{Kind: verify.LegacySignature}},
	} {
		seeds[name] = legacySeed(c)
	}
	write := func(path string, text []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(trusted, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	write(legacyTrusted, append(text, '\n'))
	for name, args := range seeds {
		out := "go test fuzz v1\n"
		for _, arg := range args {
			switch v := arg.(type) {
			case bool:
				out += fmt.Sprintf("bool(%t)\n", v)
			case []byte:
				out += fmt.Sprintf("[]byte(%q)\n", v)
			case string:
				out += fmt.Sprintf("string(%q)\n", v)
			}
		}
		write(filepath.Join("testdata/fuzz/FuzzLegacyAnnotations", name), []byte(out))
	}
	chain := string(holder.ChainPEM())
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: holder.Certificate.Raw}))
	chains := map[string]string{
		"chain": chain, "leaf": own, "leaf_and_chain": own + chain, "root": string(pki.RootsPEM()), "twelve": strings.Repeat(chain, 12),
		"newline": "\n", "empty": "", "key": trusted.Key, "after": chain + "x", "before": "x" + chain, "headers": strings.Replace(chain, "-----\n", "-----\nA: b\n\n", 1),
	}
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		write(filepath.Join("testdata/fuzz/FuzzCertificateChain", name), fmt.Appendf(nil, "go test fuzz v1\nstring(%q)\n", chains[name]))
	}
}
