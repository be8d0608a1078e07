package verify_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// pair is an attribute of a name: its type, and its value as a text or as it is.
type pair struct {
	of    asn1.ObjectIdentifier
	value any
}

// The types of attributes of RFC 4519.
func commonName(v any) pair   { return pair{asn1.ObjectIdentifier{2, 5, 4, 3}, v} }
func organization(v any) pair { return pair{asn1.ObjectIdentifier{2, 5, 4, 10}, v} }
func unit(v any) pair         { return pair{asn1.ObjectIdentifier{2, 5, 4, 11}, v} }
func domain(v any) pair       { return pair{asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, v} }
func userID(v any) pair       { return pair{asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, v} }

// nameDER is a distinguished name of some relative ones.
func nameDER(t *testing.T, relatives ...[]pair) []byte {
	t.Helper()
	var name pkix.RDNSequence
	for _, r := range relatives {
		var set pkix.RelativeDistinguishedNameSET
		for _, p := range r {
			set = append(set, pkix.AttributeTypeAndValue{Type: p.of, Value: p.value})
		}
		name = append(name, set)
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestASubjectIsWrittenAsRFC4514HasIt(t *testing.T) {
	t.Parallel()
	net := [][]pair{{domain("net")}, {domain("example")}}
	in := func(more ...pair) [][]pair { return append(net[:2:2], more) }
	for what, tc := range map[string]struct {
		name [][]pair
		want string
	}{
		// RFC 4514, 4. Of control characters the hex is in capitals here; of others, nothing is.
		"its first example":                 {in(userID("jsmith")), "UID=jsmith,DC=example,DC=net"},
		"its second":                        {in(commonName("J.  Smith"), unit("Sales")), "OU=Sales+CN=J.  Smith,DC=example,DC=net"},
		"its third":                         {in(commonName(`James "Jim" Smith, III`)), `CN=James \"Jim\" Smith\, III,DC=example,DC=net`},
		"its fourth":                        {in(commonName("Before\rAfter")), `CN=Before\0DAfter,DC=example,DC=net`},
		"its fifth":                         {[][]pair{{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1466, 0}, []byte("Hi")}}}, "1.3.6.1.4.1.1466.0=#04024869"},
		"its sixth":                         {[][]pair{{commonName("Lu\u010di\u0107")}}, "CN=Lu\u010di\u0107"},
		"the commonest":                     {[][]pair{{organization("Acme")}, {commonName("release")}}, "CN=release,O=Acme"},
		"the same the other way around":     {[][]pair{{commonName("release")}, {organization("Acme")}}, "O=Acme,CN=release"},
		"two common names":                  {[][]pair{{organization("Acme")}, {commonName("mallory")}, {commonName("release")}}, "CN=release,CN=mallory,O=Acme"},
		"an empty one last":                 {[][]pair{{organization("Acme")}, {commonName("mallory")}, {commonName("")}}, "CN=,CN=mallory,O=Acme"},
		"everything that has to be escaped": {[][]pair{{commonName(` #"+,;<>\= `)}}, `CN=\ #\"\+\,\;\<\>\\\=\ `},
		"a sharp first":                     {[][]pair{{commonName("#04024869")}}, `CN=\#04024869`},
		"a space alone":                     {[][]pair{{commonName(" ")}}, `CN=\ `},
		"what looks like an attribute":      {[][]pair{{commonName("release,O=Acme")}}, `CN=release\,O\=Acme`},
		"a text that isn't one":             {[][]pair{{commonName([]byte("Hi"))}}, "CN=#04024869"},
		"a text of two bytes a character":   {[][]pair{{commonName(asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte("\x00H\x00i")})}}, "CN=#1e0400480069"},
		"a printable text with other bytes": {[][]pair{{commonName(asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte("\xff")})}}, "CN=#1301ff"},
		"an address":                        {[][]pair{{{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("a@b")}}}}, "1.2.840.113549.1.9.1=#1603614062"},
		"nothing":                           {nil, ""},
	} {
		if got, err := verify.SubjectOf(nameDER(t, tc.name...)); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", what, got, err, tc.want)
		}
	}
	for what, der := range map[string][]byte{"nothing at all": nil, "something behind": append(nameDER(t, in(userID("x"))...), 5, 0), "an empty relative name": nameDER(t, []pair{})} {
		if got, err := verify.SubjectOf(der); err == nil {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestRow66_ASubjectIsComparedWithAllItsAttributesInTheirOrder(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	a := pki.Authority(t, "pki", verify.Terms{}, "CN=release,O=Acme", "O=Acme")
	leaf := func(pairs ...pair) verifytest.Leaf {
		var l verifytest.Leaf
		for _, p := range pairs {
			l.Subject.ExtraNames = append(l.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: p.of, Value: p.value})
		}
		return l
	}
	acme, release, mallory := organization("Acme"), commonName("release"), commonName("mallory")
	for what, tc := range map[string]struct {
		leaf verifytest.Leaf
		good bool
	}{
		"the very one":             {leaf(acme, release), true},
		"another common name":      {leaf(acme, mallory), false},
		"two, of which one is it":  {leaf(acme, mallory, release), false},
		"two, the other last":      {leaf(acme, release, mallory), false},
		"an empty one last":        {leaf(acme, mallory, commonName("")), false},
		"in another order":         {leaf(release, acme), false},
		"two organizations":        {leaf(acme, organization("Evil"), release), false},
		"a number that is hidden":  {leaf(acme, pair{asn1.ObjectIdentifier{1, 2, 3}, "x"}, release), false},
		"one that looks like both": {leaf(commonName("release,O=Acme")), false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := pki.Issue(t, tc.leaf)
			paper := s.Sign(t, verifytest.Signing{Holder: &h}, image)
			if tc.good {
				verified(t, a, image, then(), paper)
			} else {
				refused(t, a, image, then(), paper, verify.MissOtherSigner)
			}
		})
	}
}

func TestRow66_APatternIsAboutNamesOfOneKind(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	pki := verifytest.NewPKI(t, verifytest.Always())
	for pattern, leaves := range map[string]map[string]struct {
		leaf verifytest.Leaf
		good bool
	}{
		`.*@corp\.example`: {
			"an address":          {verifytest.Leaf{Emails: []string{"x@corp.example"}}, true},
			"a common name":       {verifytest.Leaf{Subject: pkix.Name{CommonName: "x@corp.example"}}, false},
			"a URI that ends so":  {verifytest.Leaf{URIs: []string{"https://evil.example/@corp.example"}}, false},
			"an address and such": {verifytest.Leaf{Emails: []string{"m@evil.example"}, Subject: pkix.Name{CommonName: "x@corp.example"}}, false},
		},
		`.*\.corp\.example`: {
			"a DNS name":         {verifytest.Leaf{DNS: []string{"ci.corp.example"}}, true},
			"a common name":      {verifytest.Leaf{Subject: pkix.Name{CommonName: "x.corp.example"}}, false},
			"an address":         {verifytest.Leaf{Emails: []string{"x@y.corp.example"}}, false},
			"a URI that ends so": {verifytest.Leaf{URIs: []string{"https://evil.example/.corp.example"}}, false},
		},
		`^(?:spiffe://corp\.example/.*)$`: {
			"a URI":         {verifytest.Leaf{URIs: []string{"spiffe://corp.example/ci"}}, true},
			"a common name": {verifytest.Leaf{Subject: pkix.Name{CommonName: "spiffe://corp.example/ci"}}, false},
		},
		`CN=release.*,O=Acme.*`: {
			"a subject":                            {verifytest.Leaf{Subject: pkix.Name{CommonName: "release-1", Organization: []string{"Acme"}}}, true},
			"a value that looks like attributes":   {verifytest.Leaf{Subject: pkix.Name{CommonName: "release,O=Acme", Organization: []string{"Evil"}}}, false},
			"a common name with the end of a line": {verifytest.Leaf{Subject: pkix.Name{CommonName: "release\nx", Organization: []string{"Evil"}}}, false},
		},
		`(?:CN=a|CN=b),O=Acme`: {
			"a subject": {verifytest.Leaf{Subject: pkix.Name{CommonName: "b", Organization: []string{"Acme"}}}, true},
		},
	} {
		id, err := verify.NewCertificateIdentity("", pattern)
		if err != nil {
			t.Fatal(err)
		}
		a, err := verify.NewCertificateAuthority("pki", pki.Roots(), []verify.CertificateIdentity{id}, verify.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		for what, tc := range leaves {
			t.Run(pattern+" and "+what, func(t *testing.T) {
				t.Parallel()
				h := pki.Issue(t, tc.leaf)
				paper := s.Sign(t, verifytest.Signing{Holder: &h}, image)
				if tc.good {
					verified(t, a, image, then(), paper)
				} else {
					refused(t, a, image, then(), paper, verify.MissOtherSigner)
				}
			})
		}
	}
	for _, pattern := range []string{
		`.*,O=Acme`, `(?i)cn=release`, `[A-Z]+=release,O=Acme`, `https?://ci\.corp\.example/.*`, `.*://ci\.corp\.example`, `(?i:spiffe)://corp\.example/x`,
		`lead@corp\.example|spiffe://corp\.example/ci`, `CN=release|OU=release`, `.*/ci/release`, `(?:spiffe:)?//corp\.example/x`,
	} {
		if _, err := verify.NewCertificateIdentity("", pattern); err == nil || !strings.Contains(err.Error(), "begin it with") {
			t.Errorf("%s: error %v", pattern, err)
		}
	}
}

// TestRow64_APatternOfAnybodyInThePKIIsRefused, of whichever kind of name.
func TestRow64_APatternOfAnybodyInThePKIIsRefused(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{`[^@]+`, `[a-z.]+`, `CN=.*`, `[^@]+@.+`, `spiffe://.*`} {
		if _, err := verify.NewCertificateIdentity("", pattern); err == nil || !strings.Contains(err.Error(), "anybody") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for _, pattern := range []string{`.*\.build\.corp\.example`, `CN=release,O=Acme.*`, `.*@corp\.example`, `spiffe://corp\.example/.*`} {
		if _, err := verify.NewCertificateIdentity("", pattern); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
