package compile

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// shown are trust roots by name.
type shown map[string]*verify.Trust

// TrustRoot implements TrustRoots.
func (s shown) TrustRoot(_ context.Context, name string) (TrustInForce, error) {
	if t, ok := s[name]; ok {
		return TrustInForce{Trust: t}, nil
	}
	return TrustInForce{}, errNoTrustRoot(name)
}

func compiledWith(t testing.TB, roots TrustRoots, spec string) (*policy.Policy, Report) {
	t.Helper()
	obj := mustDecode(t, namespaced(spec))
	if errs := Validate(obj); len(errs) > 0 {
		t.Fatalf("refused: %v", errs)
	}
	return Compiler{TrustRoots: roots}.Compile(t.Context(), obj)
}

func TestKeylessAuthoritiesAreJudgedBy(t *testing.T) {
	t.Parallel()
	ours, theirs := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	roots := shown{"corp": ours.Trust(t, verify.DefaultThresholds()), "other": theirs.Trust(t, verify.DefaultThresholds())}
	logged, stamped := []verifytest.Log{verifytest.RekorV1}, []int{0}
	for _, tt := range []struct {
		name, spec string
		logs       []verifytest.Log
		stamps     []int
		want       policy.Outcome
	}{
		{"logged", bySomeone("corp", ""), logged, nil, policy.Satisfied},
		{"logged and stamped", bySomeone("corp", ""), logged, stamped, policy.Satisfied},
		{"by an instance that isn't trusted", bySomeone("other", ""), logged, nil, policy.Violated},
		{"not logged", bySomeone("corp", ""), nil, stamped, policy.Violated},
		{"not logged, which is optional where a timestamp is required", bySomeone("corp", ", log: Optional, timestamp: Required"), nil, stamped, policy.Satisfied},
		{"not stamped", bySomeone("corp", ", timestamp: Required"), logged, nil, policy.Violated},
		{"both optional, logged", bySomeone("corp", ", log: Optional, timestamp: Optional"), logged, nil, policy.Satisfied},
		{"both optional, stamped", bySomeone("corp", ", log: Optional, timestamp: Optional"), nil, stamped, policy.Satisfied},
		{"both optional, and neither is there", bySomeone("corp", ", log: Optional, timestamp: Optional"), nil, nil, policy.Violated},
		{"another issuer", strings.Replace(bySomeone("corp", ""), verifytest.Someone().Issuer, verifytest.Someone().Issuer+".evil", 1), logged, nil, policy.Violated},
		{"another subject", strings.Replace(bySomeone("corp", ""), verifytest.Someone().Subject, "x"+verifytest.Someone().Subject, 1), logged, nil, policy.Violated},
		{"an extension that it hasn't got", strings.Replace(bySomeone("corp", ""), "subject: ", "extensions: {sourceRepositoryURI: 'https://a.example/x'}, subject: ", 1), logged, nil, policy.Violated},
		{"a pattern", strings.Replace(bySomeone("corp", ""), "subject: "+quoted(verifytest.Someone().Subject), "subjectPattern: '[a-z]+@example\\.com'", 1), logged, nil, policy.Satisfied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, r := compiledWith(t, roots, tt.spec)
			if p.Unusable != "" {
				t.Fatalf("unusable: %s", p.Unusable)
			}
			registry, image := signedBySomeone(t, ours, tt.logs, tt.stamps...)
			if got := outcome(t, p, registry, image); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			a := r.Authorities[0]
			if a.TrustRootDigest == "" || a.TrustRootDigest != trustDigest(roots[a.TrustRoot]) || len(a.Identities) != 1 || !strings.Contains(a.Identities[0], "example") || a.Fingerprint == "" {
				t.Errorf("the report doesn't tell who counts: %+v", a)
			}
		})
	}
}

func TestCertificateAuthoritiesAreJudgedBy(t *testing.T) {
	t.Parallel()
	pki, other, instance := verifytest.NewPKI(t, verifytest.Always()), verifytest.NewPKI(t, verifytest.Always()), verifytest.NewSigstore(t)
	roots := shown{"corp": instance.Trust(t, verify.DefaultThresholds())}
	lead := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}})
	by := func(p *verifytest.PKI, identity, terms string) string {
		return "images: {include: [registry.example.com/**]}\nauthorities: [{name: lead, certificate: {" + terms + "roots: " + quoted(string(p.RootsPEM())) + ", identities: [" + identity + "]}}]\nrequire: {signature: {by: [lead]}}"
	}
	for _, tt := range []struct {
		name, spec string
		stamps     []int
		want       policy.Outcome
	}{
		{"its mail address", by(pki, "{subject: lead@corp.example}", ""), nil, policy.Satisfied},
		{"a pattern", by(pki, "{subjectPattern: '[a-z]+@corp\\.example'}", ""), nil, policy.Satisfied},
		{"another address", by(pki, "{subject: dev@corp.example}", ""), nil, policy.Violated},
		{"another PKI", by(other, "{subject: lead@corp.example}", ""), nil, policy.Violated},
		{"a timestamp that is there", replaceOnce(by(pki, "{subject: lead@corp.example}", "trustRoot: corp, "), "name: lead", "name: lead, timestamp: Required"), []int{0}, policy.Satisfied},
		{"a timestamp that isn't", replaceOnce(by(pki, "{subject: lead@corp.example}", "trustRoot: corp, "), "name: lead", "name: lead, timestamp: Required"), nil, policy.Violated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, r := compiledWith(t, roots, tt.spec)
			if p.Unusable != "" {
				t.Fatalf("unusable: %s", p.Unusable)
			}
			image, registry := verifytest.Digest("app"), verifytest.NewRegistry()
			registry.Attach(image, instance.Sign(t, verifytest.Signing{Holder: &lead, Stamps: tt.stamps, Chain: true}, image))
			if got := outcome(t, p, registry, image); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if len(r.Authorities[0].Identities) != 1 || r.Authorities[0].Fingerprint == "" {
				t.Errorf("the report doesn't tell who counts: %+v", r.Authorities[0])
			}
		})
	}
}

// What a TrustRoot can never give makes a policy unusable, rather than one that refuses every image for want of it.
func TestWhatATrustRootLacksIsTold(t *testing.T) {
	t.Parallel()
	s, always := verifytest.NewSigstore(t), verifytest.Always()
	many := verify.Thresholds{Logs: 3, Timestamps: 3, SCTs: 1}
	bare := shown{
		"one-log":    s.TrustOf(t, verifytest.Parts{Fulcio: &always, CT: &always, RekorV1: &always, Timestamps: &always}, many),
		"one-ct-log": s.TrustOf(t, verifytest.Parts{Fulcio: &always, CT: &always, RekorV1: &always}, verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: 2}),
		"no-ct-log":  s.TrustOf(t, verifytest.Parts{Fulcio: &always, RekorV1: &always}, verify.DefaultThresholds()),
		"unlogged":   s.TrustOf(t, verifytest.Parts{Fulcio: &always, CT: &always, Timestamps: &always}, verify.DefaultThresholds()),
		"unstamped":  s.TrustOf(t, verifytest.Parts{Fulcio: &always, CT: &always, RekorV1: &always}, verify.DefaultThresholds()),
		"fulcioless": s.TrustOf(t, verifytest.Parts{RekorV1: &always, Timestamps: &always}, verify.DefaultThresholds()),
		"timeless":   s.TrustOf(t, verifytest.Parts{Fulcio: &always, CT: &always}, verify.DefaultThresholds()),
	}
	key := func(root, terms string) string {
		return "images: {include: [registry.example.com/**]}\nauthorities:\n- name: release\n" + terms + "  key:\n    trustRoot: " + root + "\n    data: |\n" + indent(newKey(t), 6) + "\nrequire: {signature: {by: [release]}}\n"
	}
	for _, tt := range []struct{ name, spec, why string }{
		{"a keyless authority needs a log", bySomeone("unlogged", ""), "authority ci: TrustRoot unlogged: log: Required (for keyless it is, where nothing is said) and its trusted root has no transparency log: add a log to the root, or write log: Optional with timestamp: Required"},
		{"a timestamp is required", bySomeone("unstamped", ", timestamp: Required"), "TrustRoot unstamped: timestamp: Required and its trusted root has no timestamp authority: add one to the root, or write timestamp: Optional"},
		{"nobody can confirm the identity", bySomeone("fulcioless", ""), "TrustRoot fulcioless: the trust root has no certificate authority (Fulcio)"},
		{"nobody can tell the time", bySomeone("timeless", ", log: Optional"), "TrustRoot timeless: the trust root has neither log nor timestamp authority"},
		{"fewer logs than are asked for", bySomeone("one-log", ""), "TrustRoot one-log: spec.thresholds.logs asks for 3 transparency logs and its trusted root has 1: set it to 1, or add logs to the root"},
		{"fewer timestamp authorities", bySomeone("one-log", ", log: Optional, timestamp: Required"), "TrustRoot one-log: spec.thresholds.timestamps asks for 3 timestamp authorities and its trusted root has 2: set it to 2, or add timestamp authorities to the root"},
		{"fewer certificate transparency logs", bySomeone("one-ct-log", ""), "TrustRoot one-ct-log: spec.thresholds.signedCertificateTimestamps asks for 2 certificate transparency logs and its trusted root has 1: set it to 1, or add logs to the root"},
		{"no certificate transparency log", bySomeone("no-ct-log", ""), "TrustRoot no-ct-log: spec.thresholds.signedCertificateTimestamps asks for 1 and its trusted root has no certificate transparency log: set it to 0 where its Fulcio uses none"},
		{"a key's log", key("unlogged", "  log: Required\n"), "authority release: TrustRoot unlogged: log: Required and its trusted root has no transparency log: add a log to the root, or write log: Optional"},
		{"a key's timestamp", key("unstamped", "  timestamp: Required\n"), "TrustRoot unstamped: timestamp: Required and its trusted root has no timestamp authority: add one to the root, or write timestamp: Optional"},
		{"a TrustRoot that isn't there", bySomeone("nowhere", ""), "authority ci: TrustRoot nowhere: not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, r := compiledWith(t, bare, tt.spec)
			if !strings.Contains(p.Unusable, tt.why) || r.Reason != ReasonTrustRootUnavailable || !refuses(t, p, "registry.example.com/app") {
				t.Errorf("unusable %q (%s), want %q", p.Unusable, r.Reason, tt.why)
			}
		})
	}
	if p, _ := compiledWith(t, bare, bySomeone("unlogged", ", log: Optional, timestamp: Optional")); p.Unusable != "" {
		t.Errorf("either gives the time: %s", p.Unusable)
	}
	if p, _ := compiledWith(t, bare, key("unlogged", "  log: Optional\n")); p.Unusable != "" {
		t.Errorf("a key whose log is optional: %s", p.Unusable)
	}
}

func TestWhichTrustRootAnAuthorityRefersTo(t *testing.T) {
	t.Parallel()
	key := func(own, terms string) string {
		return "images: {include: ['**']}\nauthorities:\n- name: a\n" + terms + "  key:\n" + own + "    data: |\n" + indent(newKey(t), 6) + "\nrequire: {signature: {by: [a]}}\n"
	}
	certificate := func(own string) string {
		return "images: {include: ['**']}\nauthorities: [{name: a, certificate: {" + own + "roots: " + quoted(string(verifytest.NewPKI(t, verifytest.Always()).RootsPEM())) + ", identities: [{subject: s}]}}]\nrequire: {signature: {by: [a]}}"
	}
	for _, tt := range []struct{ name, spec, want string }{
		{"keyless, named", bySomeone("corp", ""), "corp"},
		{"keyless, left out", strings.Replace(bySomeone("corp", ""), "trustRoot: corp, ", "", 1), DefaultTrustRoot},
		{"a key that says nothing", key("", ""), ""},
		{"a key that names one", key("    trustRoot: corp\n", ""), "corp"},
		{"a key whose log is optional", key("", "  log: Optional\n"), DefaultTrustRoot},
		{"a key whose timestamp is required", key("", "  timestamp: Required\n"), DefaultTrustRoot},
		{"a certificate that says nothing", certificate(""), ""},
		{"a certificate that names one", certificate("trustRoot: corp, "), "corp"},
		{"a certificate whose log is required", replaceOnce(certificate(""), "name: a,", "name: a, log: Required,"), DefaultTrustRoot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			known := shown{"corp": verifytest.NewSigstore(t).Trust(t, verify.DefaultThresholds())}
			public, err := publicGood()
			if err != nil {
				t.Fatal(err)
			}
			known[DefaultTrustRoot] = public
			p, r := compiledWith(t, known, tt.spec)
			if p.Unusable != "" || r.Authorities[0].TrustRoot != tt.want {
				t.Errorf("%q, want %q; unusable %q", r.Authorities[0].TrustRoot, tt.want, p.Unusable)
			}
		})
	}
}

// The public good root comes with the release, and nothing else does.
func TestThePublicGoodRootIsTheDefault(t *testing.T) {
	t.Parallel()
	p, r := compiledWith(t, nil, strings.Replace(bySomeone("corp", ""), "trustRoot: corp, ", "", 1))
	if p.Unusable != "" || r.Authorities[0].TrustRoot != DefaultTrustRoot || r.Authorities[0].TrustRootDigest == "" {
		t.Errorf("unusable %q: %+v", p.Unusable, r.Authorities[0])
	}
	if p, _ := compiledWith(t, nil, bySomeone("corp", "")); !strings.Contains(p.Unusable, "TrustRoot corp: not found: create it, or name one that `kubectl get trustroots` lists") {
		t.Errorf("unusable %q", p.Unusable)
	}
}

// Whatever decides who counts is in the policy's digest: evidence and summaries of other terms are others.
func TestTermsAreInThePolicysDigest(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	strict := verify.DefaultThresholds()
	strict.Timestamps = 2
	roots := shown{"corp": s.Trust(t, verify.DefaultThresholds()), "strict": s.Trust(t, strict), "other": verifytest.NewSigstore(t).Trust(t, verify.DefaultThresholds())}
	seen := map[string]string{}
	for _, spec := range []string{
		bySomeone("corp", ""), bySomeone("strict", ""), bySomeone("other", ""), bySomeone("corp", ", timestamp: Required"),
		bySomeone("corp", ", log: Optional, timestamp: Required"), bySomeone("corp", ", repository: registry.example.com/papers"),
		strings.Replace(bySomeone("corp", ""), "subject: ", "extensions: {runnerEnvironment: github-hosted}, subject: ", 1),
		strings.Replace(bySomeone("corp", ""), "@example.com", "@example.org", 1),
	} {
		p, _ := compiledWith(t, roots, spec)
		if p.Unusable != "" || p.Digest == "" {
			t.Fatalf("%s\nunusable %q, digest %q", spec, p.Unusable, p.Digest)
		}
		if other, ok := seen[p.Digest]; ok {
			t.Errorf("one digest for\n%s\nand\n%s", spec, other)
		}
		seen[p.Digest] = spec
	}
	same, _ := compiledWith(t, shown{"again": roots["corp"]}, bySomeone("again", ""))
	if _, ok := seen[same.Digest]; !ok {
		t.Error("another name for what is trusted made another digest")
	}
}

// A key that asks for neither log nor timestamp doesn't hang on the root that a release brings along.
func TestAKeyAloneIsTheSameWhateverIsTrusted(t *testing.T) {
	t.Parallel()
	spec := signedBy(newKey(t))
	first, _ := compiledWith(t, nil, spec)
	second, _ := compiledWith(t, shown{DefaultTrustRoot: verifytest.NewSigstore(t).Trust(t, verify.DefaultThresholds())}, spec)
	if first.Digest == "" || first.Digest != second.Digest {
		t.Errorf("%s and %s", first.Digest, second.Digest)
	}
}

func TestExtensionsAreThoseThatFulcioHas(t *testing.T) {
	t.Parallel()
	const at = "spec.authorities[0].keyless.identities[0].extensions"
	for _, tt := range []struct{ name, extensions, field, want string }{
		{"a slip", "{sourceRepositoryUri: x}", "[sourceRepositoryUri]", "Fulcio has no such extension: did you mean sourceRepositoryURI?"},
		{"a letter left out", "{runerEnvironment: x}", "[runerEnvironment]", "did you mean runnerEnvironment?"},
		{"another name", "{repository: x}", "[repository]", "Fulcio has no such extension"},
		{"the issuer", "{issuer: x}", "[issuer]", "write it as the identity's issuer"},
		{"an empty value", "{sourceRepositoryURI: ''}", "[sourceRepositoryURI]", "or leave the extension out"},
		{"a value of more than 1024 bytes", "{sourceRepositoryURI: " + strings.Repeat("x", 1025) + "}", "[sourceRepositoryURI]", "at most 1024"},
		{"a name that is long", "{" + strings.Repeat("x", 500) + ": x}", "[" + strings.Repeat("x", 61) + "...]", "Fulcio has no such extension; it has build"},
		{"more than 32", "{" + strings.TrimSuffix(strings.ReplaceAll(items(33, "x%d: z, "), "\n", ""), ", ") + "}", "", "at most 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantError(t, mustDecode(t, namespaced(keylessBy("{issuer: 'https://i.example', subject: s, extensions: "+tt.extensions+"}"))), at+tt.field, tt.want)
		})
	}
	for _, name := range verify.ExtensionNames() {
		if errs := Validate(mustDecode(t, namespaced(keylessBy("{issuer: 'https://i.example', subject: s, extensions: {"+name+": x}}")))); len(errs) > 0 {
			t.Errorf("%s is refused: %v", name, errs)
		}
	}
}

// weakRoot is a CA's certificate of a key that is too short.
func weakRoot(t testing.TB, bits int) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weak"}, NotBefore: verifytest.Always().From, NotAfter: verifytest.Always().Until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestRow73_RootsOfAWeakKeyAreRefused(t *testing.T) {
	t.Parallel()
	leaf := verifytest.NewPKI(t, verifytest.Always()).Issue(t, verifytest.Leaf{Emails: []string{"a@b.example"}}).Certificate
	for _, tt := range []struct{ name, roots, want string }{
		{"RSA of 1024 bits", weakRoot(t, 1024), "(CN=weak): RSA key of 1024 bits: want 2048 to 8192"},
		{"RSA of 1024 bits behind a good one", string(verifytest.NewPKI(t, verifytest.Always()).RootsPEM()) + weakRoot(t, 1024), "certificate 2"},
		{"a certificate of no CA", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})), "is no CA's"},
		{"what is no certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "certificate 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := namespaced("images: {include: [registry.example.com/**]}\nauthorities: [{name: lead, certificate: {roots: " + quoted(tt.roots) + ", identities: [{subject: lead@corp.example}]}}]\nrequire: {signature: {by: [lead]}}")
			wantError(t, mustDecode(t, text), "spec.authorities[0].certificate.roots", tt.want)
			if p, r := (Compiler{}).Compile(t.Context(), mustDecode(t, text)); !refuses(t, p, "registry.example.com/app") || r.Reason != ReasonInvalidField {
				t.Errorf("%s: and yet it lets an image in", r.Reason)
			}
		})
	}
}

// What a policy names by pattern is matched whole, through to the verification itself.
func TestRow64_APatternIsAnchoredWhereSignaturesAreJudged(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	p, _ := compiledWith(t, shown{"corp": s.Trust(t, verify.DefaultThresholds())},
		"images: {include: [registry.example.com/**]}\nauthorities: [{name: ci, keyless: {trustRoot: corp, identities: [{issuer: 'https://issuer.example.com', subjectPattern: 'dev@example\\.com'}]}}]\nrequire: {signature: {by: [ci]}}")
	for subject, want := range map[string]policy.Outcome{
		"dev@example.com": policy.Satisfied, "xdev@example.com": policy.Violated, "dev@example.com.evil": policy.Violated, "dev@exampleXcom": policy.Violated,
	} {
		image, registry := verifytest.Digest("app"), verifytest.NewRegistry()
		who := verifytest.Person{Subject: subject, Issuer: "https://issuer.example.com"}
		registry.Attach(image, s.Sign(t, verifytest.Signing{Person: &who, Logs: []verifytest.Log{verifytest.RekorV1}}, image))
		if got := outcome(t, p, registry, image); got != want {
			t.Errorf("%s: %v, want %v", subject, got, want)
		}
	}
}

func TestMoreSignersThanIdentitiesAreRefused(t *testing.T) {
	t.Parallel()
	two := "{issuer: 'https://i.example', subject: a}, {issuer: 'https://i.example', subject: b}, {issuer: 'https://i.example', subject: a}"
	wantError(t, mustDecode(t, namespaced(strings.Replace(keylessBy(two), "{by: [ci]}", "{by: [ci], atLeast: 3}", 1))), "spec.require.signature.atLeast", "distinct keys and identities")
	for _, spec := range []string{
		strings.Replace(keylessBy(two), "{by: [ci]}", "{by: [ci], atLeast: 2}", 1),
		strings.Replace(keylessBy("{issuer: 'https://i.example', subjectPattern: '[a-z]+@corp\\.example'}"), "{by: [ci]}", "{by: [ci], atLeast: 3}", 1),
	} {
		if errs := Validate(mustDecode(t, namespaced(spec))); len(errs) > 0 {
			t.Errorf("refused: %v", errs)
		}
		if p, _ := (Compiler{}).Compile(t.Context(), mustDecode(t, namespaced(spec))); p.Unusable != "" {
			t.Errorf("unusable: %s", p.Unusable)
		}
	}
}

func TestRepositoriesOfPapers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"registry.example.com/papers": "registry.example.com/papers", "registry.example.com:5000/a/b": "registry.example.com:5000/a/b",
		"localhost/papers": "localhost/papers", "docker.io/acme/papers": "index.docker.io/acme/papers", "docker.io/papers": "index.docker.io/library/papers",
	} {
		got, err := parseRepository(text)
		if err != nil || got.Name() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "papers", "acme/papers", "https://r.example/x", "oci://r.example/x", "r.example/x:v1", "r.example/x@" + someDigest, "r.example/", "r.example/x/", "r.example//x", "r.example/X", "r.example/x y", "user@r.example/x", "/x"} {
		if got, err := parseRepository(text); err == nil || !strings.Contains(err.Error(), "HOST/PATH") {
			t.Errorf("%q is taken for %v, or no cure is named: %v", text, got, err)
		}
	}
	p, _ := compiledWith(t, nil, strings.Replace(signedBy(newKey(t)), "- name: release", "- name: release\n  repository: registry.example.com/papers", 1))
	got := []string{}
	for _, q := range p.Questions() {
		got = append(got, q.Authority().Repository().Name())
	}
	if diff := cmp.Diff([]string{"registry.example.com/papers"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStatusTellsWhoCounts(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	trusted := s.Trust(t, verify.DefaultThresholds())
	obj := mustDecode(t, namespaced(bySomeone("corp", "")))
	p, r := Compiler{TrustRoots: shown{"corp": trusted}}.Compile(t.Context(), obj)
	got := StatusOf(obj, p, r, mustPolicy(t, obj).Status, verifytest.Then()).Authorities[0]
	who := verifytest.Someone()
	if diff := cmp.Diff([]string{fmt.Sprintf("%s (%s)", who.Subject, who.Issuer)}, got.Identities); diff != "" {
		t.Error(diff)
	}
	if got.TrustRoot == nil || got.TrustRoot.Name != "corp" || got.TrustRoot.Digest != trustDigest(trusted) || got.Fingerprint == "" {
		t.Errorf("%s", pretty(t, got))
	}
	p, r = Compiler{TrustRoots: shown{}}.Compile(t.Context(), obj)
	got = StatusOf(obj, p, r, mustPolicy(t, obj).Status, verifytest.Then()).Authorities[0]
	if got.TrustRoot == nil || got.TrustRoot.Digest != "" || !strings.HasPrefix(got.LastReadError, "TrustRoot corp: not found") {
		t.Errorf("%s", pretty(t, got))
	}
}
