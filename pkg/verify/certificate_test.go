package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func window(from, until time.Duration) verifytest.Window {
	return verifytest.Window{From: then().Add(from), Until: then().Add(until)}
}

func TestACertificateIsNamedByItsNamesAndBySubject(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always()).Intermediate(t, verifytest.Always())
	subject := pkix.Name{CommonName: "release", Organization: []string{"Acme, Inc."}}
	for what, tc := range map[string]struct {
		leaf verifytest.Leaf
		name string
		good bool
	}{
		"by its address":                             {verifytest.Leaf{Emails: []string{"lead@corp.example"}}, "lead@corp.example", true},
		"by its second address":                      {verifytest.Leaf{Emails: []string{"x@corp.example", "lead@corp.example"}}, "lead@corp.example", true},
		"by its URI":                                 {verifytest.Leaf{URIs: []string{"spiffe://corp.example/ci"}}, "spiffe://corp.example/ci", true},
		"by its DNS name":                            {verifytest.Leaf{DNS: []string{"ci.corp.example"}}, "ci.corp.example", true},
		"by its subject":                             {verifytest.Leaf{Subject: subject}, `CN=release,O=Acme\, Inc.`, true},
		"by its subject, which has names too":        {verifytest.Leaf{Subject: subject, DNS: []string{"x"}}, `CN=release,O=Acme\, Inc.`, true},
		"not by another address":                     {verifytest.Leaf{Emails: []string{"lead@corp.example"}}, "lead@corp.example.evil", false},
		"not by an address in capitals":              {verifytest.Leaf{Emails: []string{"LEAD@corp.example"}}, "lead@corp.example", false},
		"not by the common name alone":               {verifytest.Leaf{Subject: subject}, "release", false},
		"not by a wildcard":                          {verifytest.Leaf{DNS: []string{"*.corp.example"}}, "ci.corp.example", false},
		"not by a part of the subject":               {verifytest.Leaf{Subject: subject}, "CN=release", false},
		"not by an address that reads as a URI":      {verifytest.Leaf{Emails: []string{"spiffe://corp.example/ci"}}, "spiffe://corp.example/ci", false},
		"nor with an at sign":                        {verifytest.Leaf{Emails: []string{"spiffe://ci@corp.example"}}, "spiffe://ci@corp.example", false},
		"not by a DNS name that reads as an address": {verifytest.Leaf{DNS: []string{"lead@corp.example"}}, "lead@corp.example", false},
		"not by a DNS name that reads as a URI":      {verifytest.Leaf{DNS: []string{"spiffe://corp.example/ci"}}, "spiffe://corp.example/ci", false},
		"not by a URI that reads as an address":      {verifytest.Leaf{URIs: []string{"lead@corp.example"}}, "lead@corp.example", false},
		"not by an address that reads as a subject":  {verifytest.Leaf{Emails: []string{"CN=release"}}, "CN=release", false},
		"not by a URI that reads as a subject":       {verifytest.Leaf{URIs: []string{"CN=release"}}, "CN=release", false},
		"nor by one with a scheme in it":             {verifytest.Leaf{Emails: []string{"CN=x://y@z"}}, "CN=x://y@z", false},
		"not by a DNS name that reads as a subject":  {verifytest.Leaf{DNS: []string{"CN=release"}}, "CN=release", false},
		"not without any name":                       {verifytest.Leaf{}, "lead@corp.example", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := pki.Issue(t, tc.leaf)
			a := pki.Authority(t, "pki", verify.Terms{}, tc.name)
			paper := s.Sign(t, verifytest.Signing{Holder: &h, Chain: true}, image)
			if !tc.good {
				refused(t, a, image, then(), paper, verify.MissOtherSigner)
				return
			}
			if e := verified(t, a, image, then(), paper); e.Who() != tc.name || e.Key() != h.BareKey(t).Fingerprint() {
				t.Errorf("signed by %s", e.Who())
			}
		})
	}
}

func TestACertificateOfAnybodyCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string][3]string{
		"nothing":     {"", "", "neither"},
		"both":        {"x", "x", "both"},
		"anybody":     {"", ".*", "anybody"},
		"broken":      {"", "(", "subjectPattern"},
		"out of line": {"", "a)|(b", "subjectPattern"},
	} {
		if _, err := verify.NewCertificateIdentity(tc[0], tc[1]); err == nil || !strings.Contains(err.Error(), tc[2]) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	id, err := verify.NewCertificateIdentity("", `.*@corp\.example`)
	if err != nil || id.String() != `/.*@corp\.example/` {
		t.Fatalf("%s, %v", id, err)
	}
	pki := verifytest.NewPKI(t, verifytest.Always())
	leaf := pki.Issue(t, verifytest.Leaf{Emails: []string{"a@corp.example"}})
	ids := []verify.CertificateIdentity{id}
	for what, mint := range map[string]func() (verify.Authority, error){
		"no root": func() (verify.Authority, error) { return verify.NewCertificateAuthority("a", nil, ids, verify.Terms{}) },
		"a nil root": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", []*x509.Certificate{nil}, ids, verify.Terms{})
		},
		"a leaf": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", []*x509.Certificate{leaf.Certificate}, ids, verify.Terms{})
		},
		"many roots": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", slices.Repeat(pki.Roots(), verify.MaxRoots+1), ids, verify.Terms{})
		},
		"nobody": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", pki.Roots(), nil, verify.Terms{})
		},
		"an unmade one": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", pki.Roots(), []verify.CertificateIdentity{{}}, verify.Terms{})
		},
		"too many": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("a", pki.Roots(), slices.Repeat(ids, verify.MaxIdentities+1), verify.Terms{})
		},
		"no name": func() (verify.Authority, error) {
			return verify.NewCertificateAuthority("", pki.Roots(), ids, verify.Terms{})
		},
	} {
		if _, err := mint(); err == nil {
			t.Errorf("an authority of %s was made", what)
		}
	}
	a, err := verify.NewCertificateAuthority("a", pki.Roots(), ids, verify.Terms{})
	if err != nil || a.Signers() != 0 {
		t.Fatalf("%v, %d signers", err, a.Signers())
	}
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	verified(t, a, image, then(), s.Sign(t, verifytest.Signing{Holder: &leaf}, image))
}

func TestRootsAreReadStrictly(t *testing.T) {
	t.Parallel()
	pki := verifytest.NewPKI(t, verifytest.Always())
	leaf := pki.Issue(t, verifytest.Leaf{})
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	weak, err := rsa.GenerateKey(rand.Reader, 2048-8)
	if err != nil {
		t.Fatal(err)
	}
	weakRoot := pki.IntermediateOf(t, verifytest.Always(), weak)
	for what, tc := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":           {nil, "no certificate"},
		"prose":             {[]byte("root"), "no PEM block"},
		"prose behind":      {append(pki.RootsPEM(), "tail"...), "no PEM block"},
		"a key":             {block("PUBLIC KEY", []byte("x")), "want CERTIFICATE"},
		"broken":            {block("CERTIFICATE", []byte("x")), "certificate 1"},
		"a leaf":            {block("CERTIFICATE", leaf.Certificate.Raw), "no CA's"},
		"a weak key":        {block("CERTIFICATE", weakRoot.Certificate().Raw), "2040 bits"},
		"too many":          {slices.Repeat(pki.RootsPEM(), verify.MaxRoots+1), "more than 32"},
		"more than the PEM": {slices.Repeat([]byte(" "), verify.MaxPolicyPEM+1), "over the bound"},
	} {
		if _, err := verify.ParseRoots(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error that says %q", what, err, tc.want)
		}
	}
	if roots, err := verify.ParseRoots(append(pki.RootsPEM(), verifytest.NewPKI(t, verifytest.Always()).RootsPEM()...)); err != nil || len(roots) != 2 {
		t.Errorf("%d roots, %v", len(roots), err)
	}
}

func TestOnlyACertificateForSigningCodeSigns(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	a := pki.Authority(t, "pki", verify.Terms{}, "ci.example.com")
	names := []string{"ci.example.com"}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := func(bits int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for what, tc := range map[string]struct {
		leaf verifytest.Leaf
		good bool
	}{
		"for signing code":                  {verifytest.Leaf{}, true},
		"for signing code and more":         {verifytest.Leaf{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageCodeSigning}}, true},
		"for a server":                      {verifytest.Leaf{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, false},
		"for anything":                      {verifytest.Leaf{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, false},
		"for nothing that it says":          {verifytest.Leaf{Usages: []x509.ExtKeyUsage{}}, false},
		"with a key for encryption":         {verifytest.Leaf{KeyUsage: x509.KeyUsageKeyEncipherment}, false},
		"of a CA":                           {verifytest.Leaf{CA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}, false},
		"with P-384":                        {verifytest.Leaf{Key: p384}, true},
		"with ed25519":                      {verifytest.Leaf{Key: ed}, true},
		"with RSA 2048":                     {verifytest.Leaf{Key: key(2048)}, true},
		"with RSA 2040":                     {verifytest.Leaf{Key: key(2040)}, false},
		"with a critical unknown extension": {verifytest.Leaf{Extra: []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			tc.leaf.DNS = names
			h := pki.Issue(t, tc.leaf)
			paper := s.Sign(t, verifytest.Signing{Holder: &h}, image)
			if tc.good {
				verified(t, a, image, then(), paper)
			} else {
				refused(t, a, image, then(), paper, verify.MissUnproven)
			}
		})
	}
}

func TestAChainComesInAnyBundleAndLeadsToARoot(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	root := verifytest.NewPKI(t, verifytest.Always())
	lower := root.Intermediate(t, verifytest.Always()).Intermediate(t, verifytest.Always())
	a := root.Authority(t, "pki", verify.Terms{}, "ci.example.com")
	h, direct := lower.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}}), root.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	stranger := verifytest.NewPKI(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	ownRoot := verifytest.NewPKI(t, verifytest.Always())
	own := ownRoot.Intermediate(t, verifytest.Always()).Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	for what, tc := range map[string]struct {
		by   verifytest.Signing
		good bool
	}{
		"one certificate that a root issued, v0.3": {verifytest.Signing{Holder: &direct}, true},
		"one certificate that a root issued, v0.1": {verifytest.Signing{Holder: &direct, Version: "0.1"}, true},
		"a chain, v0.3":                                       {verifytest.Signing{Holder: &h, Chain: true}, true},
		"a chain, v0.2":                                       {verifytest.Signing{Holder: &h, Chain: true, Version: "0.2"}, true},
		"a chain, v0.1":                                       {verifytest.Signing{Holder: &h, Chain: true, Version: "0.1"}, true},
		"a chain with its root, v0.3":                         {verifytest.Signing{Holder: &h, Chain: true, More: root.Roots()}, true},
		"a chain with its root, v0.1":                         {verifytest.Signing{Holder: &h, Chain: true, More: root.Roots(), Version: "0.1"}, true},
		"a chain with its root, logged":                       {verifytest.Signing{Holder: &h, Chain: true, More: root.Roots(), Logs: v1Log()}, true},
		"no intermediates":                                    {verifytest.Signing{Holder: &h}, false},
		"no intermediates, v0.1":                              {verifytest.Signing{Holder: &h, Version: "0.1"}, false},
		"of another root":                                     {verifytest.Signing{Holder: &stranger}, false},
		"of another root that comes with it":                  {verifytest.Signing{Holder: &own, Chain: true, More: ownRoot.Roots()}, false},
		"of another root that comes with it, v0.1":            {verifytest.Signing{Holder: &own, Chain: true, More: ownRoot.Roots(), Version: "0.1"}, false},
		"of another root, with an intermediate of ours there": {verifytest.Signing{Holder: &own, Chain: true, More: h.Chain}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			paper := s.Sign(t, tc.by, image)
			if tc.good {
				verified(t, a, image, then(), paper)
			} else {
				refused(t, a, image, then(), paper, verify.MissUnproven)
			}
		})
	}
	t.Run("by a leaf that certifies another", func(t *testing.T) {
		forged := direct.Issues(t, verifytest.Leaf{DNS: []string{"lead.example.com"}})
		refused(t, root.Authority(t, "pki", verify.Terms{}, "lead.example.com"), image, then(), s.Sign(t, verifytest.Signing{Holder: &forged, Chain: true}, image), verify.MissUnproven)
	})
	t.Run("an intermediate with a weak key", func(t *testing.T) {
		weak, err := rsa.GenerateKey(rand.Reader, 2040)
		if err != nil {
			t.Fatal(err)
		}
		h := root.IntermediateOf(t, verifytest.Always(), weak).Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
		refused(t, a, image, then(), s.Sign(t, verifytest.Signing{Holder: &h, Chain: true}, image), verify.MissUnproven)
	})
}

// TestTheWholeChainIsValidWhenItWasSigned is cosign's CVE-2026-24122: an expired intermediate was believed where there was no log entry.
func TestTheWholeChainIsValidWhenItWasSigned(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	trust := s.Trust(t, verify.DefaultThresholds())
	always, expired, later, short := verifytest.Always(), window(-2*time.Hour, -time.Hour), window(time.Hour, 2*time.Hour), window(-time.Hour, time.Hour)
	optional, logged := verify.Terms{Trust: trust}, verify.Terms{Trust: trust, Log: verify.Required}
	stamped := verify.Terms{Trust: trust, Timestamp: verify.Required}
	stamp, both := []int{0}, []int{0, 1}
	for what, tc := range map[string]struct {
		root, between, leaf verifytest.Window
		terms               verify.Terms
		logs                []verifytest.Log
		stamps              []int
		at, now             time.Duration // when it was signed, and when it is judged
		good                bool
		timed               bool
	}{
		"all valid now, judged now":                                    {always, always, always, verify.Terms{}, nil, nil, 0, 0, true, false},
		"an expired intermediate and a valid leaf, judged now":         {always, expired, always, verify.Terms{}, nil, nil, 0, 0, false, false},
		"an expired root, judged now":                                  {expired, always, always, verify.Terms{}, nil, nil, 0, 0, false, false},
		"an expired leaf, judged now":                                  {always, always, expired, verify.Terms{}, nil, nil, 0, 0, false, false},
		"a leaf that isn't valid yet":                                  {always, always, later, verify.Terms{}, nil, nil, 0, 0, false, false},
		"an expired intermediate, logged while the leaf was valid":     {always, expired, always, logged, v1Log(), nil, 0, 0, false, true},
		"an expired intermediate, stamped while the leaf was valid":    {always, expired, always, stamped, nil, stamp, 0, 0, false, true},
		"all valid when it was logged, and expired since":              {always, short, short, logged, v1Log(), nil, 0, 48 * time.Hour, true, true},
		"all valid when it was stamped, and expired since":             {always, short, short, stamped, nil, stamp, 0, 48 * time.Hour, true, true},
		"the same where the timestamp is optional":                     {always, short, short, optional, nil, stamp, 0, 48 * time.Hour, true, true},
		"the same where the log is optional":                           {always, short, short, optional, v1Log(), nil, 0, 48 * time.Hour, true, true},
		"the same with nothing":                                        {always, short, short, optional, nil, nil, 0, 48 * time.Hour, false, false},
		"the same with a log that tells no time":                       {always, short, short, logged, []verifytest.Log{verifytest.RekorV2}, nil, 0, 48 * time.Hour, false, false},
		"valid now, with a log that tells no time":                     {always, short, short, logged, []verifytest.Log{verifytest.RekorV2}, nil, 0, 0, true, false},
		"logged after the intermediate expired, judged by a later now": {always, short, always, logged, v1Log(), nil, 2 * time.Hour, 3 * time.Hour, false, true},
		"stamped by two authorities":                                   {always, short, short, stamped, nil, both, 0, 48 * time.Hour, true, true},
		"without trust nobody's time counts":                           {always, short, short, verify.Terms{}, v1Log(), stamp, 0, 48 * time.Hour, false, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			pki := verifytest.NewPKI(t, tc.root).Intermediate(t, tc.between)
			h := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}, Valid: tc.leaf})
			a := pki.Authority(t, "pki", tc.terms, "lead@corp.example")
			paper := s.Sign(t, verifytest.Signing{Holder: &h, Chain: true, Logs: tc.logs, Stamps: tc.stamps, At: then().Add(tc.at)}, image)
			now := then().Add(tc.now)
			if !tc.good {
				refused(t, a, image, now, paper, verify.MissUnproven)
				return
			}
			if e := verified(t, a, image, now, paper); e.Time().IsZero() == tc.timed {
				t.Errorf("time %s", e.Time())
			}
		})
	}
}

func TestEvidenceJudgedByThePresentIsJudgedAgain(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always()).Intermediate(t, window(-time.Hour, time.Minute))
	h := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}, Valid: window(-time.Hour, time.Hour)})
	trust := s.Trust(t, verify.DefaultThresholds())
	down := &verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceManifest, Host: "registry.example", Err: errors.New("down")}
	for what, tc := range map[string]struct {
		terms verify.Terms
		logs  []verifytest.Log
		fails bool
		kept  bool
	}{
		"the intermediate expires while the evidence is held":        {verify.Terms{}, nil, false, false},
		"the same while the registry fails":                          {verify.Terms{}, nil, true, false},
		"a verified time makes it evidence for ever":                 {verify.Terms{Trust: trust}, v1Log(), false, true},
		"a verified time makes it last while the registry fails too": {verify.Terms{Trust: trust}, v1Log(), true, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := &clock{now: then()}
			reg := verifytest.NewRegistry()
			reg.Attach(image, s.Sign(t, verifytest.Signing{Holder: &h, Chain: true, Logs: tc.logs}, image))
			v := newVerifier(t, verify.Options{Clock: c.Now})
			a := pki.Authority(t, "pki", tc.terms, "lead@corp.example")
			ask := func(f verify.Freshness) verify.Findings { return one(t, v, reg, image, a, f) }
			if f := ask(verify.Held); len(f.Evidence) != 1 {
				t.Fatalf("misses %+v", f.Misses)
			}
			c.pass(30 * time.Second)
			if f := ask(verify.Held); len(f.Evidence) != 1 {
				t.Fatalf("half a minute later: misses %+v", f.Misses)
			}
			if tc.fails {
				reg.Fail(down)
			}
			c.pass(31 * time.Second) // and a second: the minute is over
			for _, fresh := range []verify.Freshness{verify.Held, verify.Anew} {
				f := ask(fresh)
				if kept := len(f.Evidence) == 1; kept != tc.kept {
					t.Errorf("freshness %d: evidence %+v, misses %+v, unanswered %v", fresh, f.Evidence, f.Misses, f.Unanswered)
				}
				if tc.fails && len(f.Unanswered) == 0 && !tc.kept {
					t.Error("an outage is not told")
				}
			}
		})
	}
}
