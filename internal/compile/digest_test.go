package compile

import (
	"regexp"
	"strings"
	"testing"
)

func TestPolicyDigest(t *testing.T) {
	t.Parallel()
	first, second, third := newKey(t), newKey(t), newKey(t)
	spec := func(a, aKey, b, bKey, require string) string {
		return "images: {include: ['**']}\nauthorities:\n- name: " + a + "\n  key:\n    data: |\n" + indent(aKey, 6) +
			"\n- name: " + b + "\n  key:\n    data: |\n" + indent(bKey, 6) + "\nrequire: " + require + "\n"
	}
	digest := func(t *testing.T, text string) string {
		t.Helper()
		p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, text))
		if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(p.Digest) {
			t.Fatalf("digest %q (unusable: %s)", p.Digest, p.Unusable)
		}
		return p.Digest
	}
	base := spec("a", first, "b", second, "{signature: {by: [a, b]}}")
	want := digest(t, namespaced(base))
	for _, tt := range []struct {
		name, text string
		same       bool
	}{
		{"the same policy", namespaced(base), true},
		{"another order of by", namespaced(spec("a", first, "b", second, "{signature: {by: [b, a]}}")), true},
		{"another order of authorities", namespaced(spec("b", second, "a", first, "{signature: {by: [a, b]}}")), true},
		{"other names", namespaced(spec("x", first, "z", second, "{signature: {by: [x, z]}}")), true},
		{"the names exchanged", namespaced(spec("b", first, "a", second, "{signature: {by: [a, b]}}")), true},
		{"the default written out", namespaced(spec("a", first, "b", second, "{signature: {by: [a, b], atLeast: 1}}")), true},
		{"the key in other white space", namespaced(spec("a", strings.TrimSpace(first)+"\n\n", "b", second, "{signature: {by: [a, b]}}")), true},
		{"another kind, mode and images", clusterWide("mode: Audit\n" + strings.Replace(base, "'**'", "a.example/b", 1)), true},
		{"another key", namespaced(spec("a", first, "b", third, "{signature: {by: [a, b]}}")), false},
		{"a key more", namespaced(spec("a", first+third, "b", second, "{signature: {by: [a, b]}}")), false},
		{"more signers", namespaced(spec("a", first, "b", second, "{signature: {by: [a, b], atLeast: 2}}")), false},
		{"one authority fewer", namespaced(spec("a", first, "b", second, "{signature: {by: [a]}}")), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := digest(t, tt.text); (got == want) != tt.same {
				t.Errorf("%s\nand  %s: same %v, want %v", got, want, got == want, tt.same)
			}
		})
	}
}

// What rules may look at is part of what is asked: the name that an authority goes by, and no less which statements it may make.
func TestPolicyDigestOfRulesHasNames(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	const one = `{custom: [{predicateType: "https://acme.example/r/v1", by: [dev, security], rules: [{cel: "signer.name == 'security'", message: m}]}]}`
	two := func(a, b string) string {
		return `{custom: [{predicateType: "https://acme.example/r/v1", by: [` + a + `], rules: [{cel: "predicate.a", message: m}]}, ` +
			`{predicateType: "https://acme.example/s/v1", by: [` + b + `], rules: [{cel: "signer.name == 'security'", message: m}]}]}`
	}
	beside := strings.Replace(one, "{custom", "{signature: {by: [dev]}, custom", 1)
	base := digestFor(t, asking("dev", first, "security", second, one))
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"another order of by", base, digestFor(t, asking("dev", first, "security", second, strings.Replace(one, "dev, security", "security, dev", 1))), true},
		{"another order of authorities", base, digestFor(t, asking("security", second, "dev", first, one)), true},
		{"the names exchanged", base, digestFor(t, asking("dev", second, "security", first, one)), false},
		{"another name", base, digestFor(t, asking("ops", first, "security", second, strings.Replace(one, "dev", "ops", 1))), false},
		{"one key by both names, exchanged between requirements", digestFor(t, asking("dev", first, "security", first, two("dev", "security"))),
			digestFor(t, asking("dev", first, "security", first, two("security", "dev"))), false},
		{"another name of what no rule sees", digestFor(t, asking("x", first, "security", second, strings.ReplaceAll(beside, "dev, ", ""), "dev", "x")),
			digestFor(t, asking("z", first, "security", second, strings.ReplaceAll(beside, "dev, ", ""), "dev", "z")), true},
	} {
		if (tt.a == tt.b) != tt.same {
			t.Errorf("%s: %s and %s: same %v, want %v", tt.name, tt.a, tt.b, tt.a == tt.b, tt.same)
		}
	}
}

// asking is the spec of a policy of two authorities that asks for something, in which words may be replaced.
func asking(a, aKey, b, bKey, require string, replaced ...string) string {
	return "images: {include: ['**']}\nauthorities:\n- name: " + a + "\n  key:\n    data: |\n" + indent(aKey, 6) +
		"\n- name: " + b + "\n  key:\n    data: |\n" + indent(bKey, 6) + "\nrequire: " + strings.NewReplacer(replaced...).Replace(require) + "\n"
}

func digestFor(t *testing.T, spec string) string {
	t.Helper()
	p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(spec)))
	if p.Unusable != "" || p.Digest == "" {
		t.Fatalf("digest %q (unusable: %s)", p.Digest, p.Unusable)
	}
	return p.Digest
}

func TestPolicyDigestHasThePlatformsThatPapersAreAbout(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	of := func(require, platforms string) string {
		return digestFor(t, strings.Replace(asking("a", first, "b", second, require), "['**']}", "['**'], platforms: ["+platforms+"]}", 1))
	}
	const each, whole = "{sbom: {by: [a]}}", "{signature: {by: [a]}}"
	for _, tt := range []struct {
		name, require, a, b string
		same                bool
	}{
		{"one and none", each, "linux/amd64", "", false},
		{"two of them", each, "linux/amd64", "linux/s390x", false},
		{"one more", each, "linux/amd64", "linux/amd64, linux/arm64", false},
		{"a variant", each, "linux/arm", "linux/arm/v7", false},
		{"the lowest variant, and all", each, "linux/arm64", "linux/arm64/v8", false},
		{"another order", each, "linux/amd64, linux/arm64", "linux/arm64, linux/amd64", true},
		{"another spelling, twice", each, "linux/amd64", "linux/x86_64, linux/amd64", true},
		{"another spelling of a variant", each, "linux/arm/7", "linux/arm/v7", true},
		{"where nothing is asked of each", whole, "linux/amd64", "linux/s390x", true},
		{"where nothing is asked of each, and none", whole, "linux/amd64", "", true},
	} {
		if a, b := of(tt.require, tt.a), of(tt.require, tt.b); (a == b) != tt.same {
			t.Errorf("%s: %s and %s: same %v, want %v", tt.name, a, b, a == b, tt.same)
		}
	}
}

func TestPolicyDigestHasWhatMayStandForPapers(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	of := func(a, aKey, b, bKey, summary string) string {
		return digestFor(t, asking(a, aKey, b, bKey, "{sbom: {by: [a]}, tests: [{name: t, by: [a]}]}", "[a]", "["+a+"]")+summary)
	}
	plain := func(summary string) string { return of("a", first, "b", second, summary) }
	const base = "acceptSummary: {by: [b], verifierID: v, insteadOf: [sbom, tests], maxAge: 60m}\n"
	for _, tt := range []struct {
		name, got string
		same      bool
	}{
		{"none", plain(""), false},
		{"by another", plain(strings.Replace(base, "[b]", "[a]", 1)), false},
		{"of another verifier", plain(strings.Replace(base, "D: v", "D: w", 1)), false},
		{"for less", plain(strings.Replace(base, ", tests", "", 1)), false},
		{"of another age", plain(strings.Replace(base, "60m", "61m", 1)), false},
		{"in another order", plain(strings.Replace(base, "sbom, tests", "tests, sbom", 1)), true},
		{"of the same age, otherwise written", plain(strings.Replace(base, "60m", "1h", 1)), true},
		{"by other names", of("x", first, "z", second, strings.Replace(base, "[b]", "[z]", 1)), true},
	} {
		if want := plain(base); (tt.got == want) != tt.same {
			t.Errorf("%s: %s and %s: same %v, want %v", tt.name, tt.got, want, tt.got == want, tt.same)
		}
	}
}

// The digest is what a verification summary names: it must not change from one version to the next by accident.
func TestPolicyDigestIsFixed(t *testing.T) {
	t.Parallel()
	const pem = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----`
	p, r := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(signedBy(pem))))
	if p.Unusable != "" {
		t.Fatal(p.Unusable)
	}
	if got, want := r.Authorities[0].Fingerprint, "SHA256:b4f30f9e78e88bee32ffdb7d82b1c4bbd56802eee6f1948e46b89d7b87c99544"; got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
	// sha256 of {"authorities":[FINGERPRINT],"require":{"signature":{"atLeast":1,"by":[FINGERPRINT]}}}
	if want := "sha256:57a4b3259c85d50879d3cdfb2f22135692b1c1be5507b79569be4788f3267f71"; p.Digest != want {
		t.Errorf("digest %s, want %s", p.Digest, want)
	}
}

func TestAllowAndDenyHaveNoDigest(t *testing.T) {
	t.Parallel()
	p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced("images: {include: ['**']}\nallow: {reason: r}")))
	if p.Digest != "" || p.Unusable != "" {
		t.Errorf("digest %q, unusable %q", p.Digest, p.Unusable)
	}
}
