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
