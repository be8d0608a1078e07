package compile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// shelf is Materials that hold what a test puts there, and note what was asked for.
type shelf struct {
	entries map[source]string
	asked   []source
}

func (s *shelf) Secret(_ context.Context, namespace, name, key string) ([]byte, error) {
	return s.read(source{kindSecret, namespace, name, key})
}

func (s *shelf) ConfigMap(_ context.Context, namespace, name, key string) ([]byte, error) {
	return s.read(source{kindConfigMap, namespace, name, key})
}

func (s *shelf) read(src source) ([]byte, error) {
	s.asked = append(s.asked, src)
	if text, ok := s.entries[src]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("%s: not found", src.object())
}

func TestCompileRequire(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	text := clusterWide(`
mode: Warn
namespaceSelector: {matchLabels: {env: production}}
images: {include: [registry.example.com/**], exclude: [registry.example.com/tools/**]}
references: {tags: Allow, deny: [latest]}
authorities:
- name: release
  key:
    data: |
` + indent(first+second, 6) + `
- name: spare
  key:
    data: |
` + indent(second, 6) + `
require: {signature: {by: [spare, release], atLeast: 2}}
`)
	p, r := Compiler{}.Compile(t.Context(), mustDecode(t, text))
	if p.Unusable != "" || p.MatchesAll || r.Reason != ReasonCompiled {
		t.Fatalf("unusable: %q, %+v", p.Unusable, r)
	}
	if p.Name != (policy.Name{Name: "everywhere"}) || p.Mode != policy.Warn || p.Action != policy.ActionRequire {
		t.Errorf("name %v, mode %v, action %v", p.Name, p.Mode, p.Action)
	}
	if got, want := p.Summary(), "require signature by 2 of spare, release"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if p.References.Tags != policy.TagsAllow || len(p.References.Deny) != 1 {
		t.Errorf("references %+v", p.References)
	}
	if !r.Namespaces.Matches(labels.Set{"env": "production"}) || r.Namespaces.Matches(labels.Set{"env": "dev"}) {
		t.Errorf("selects %v", r.Namespaces)
	}
	if n := len(p.Questions()); n != 2 {
		t.Errorf("%d authorities", n)
	}
	for image, want := range map[string]bool{"registry.example.com/app": true, "registry.example.com/tools/x": false, "other.example.com/app": false} {
		if got := refuses(t, p, image); got != want {
			t.Errorf("%s: refused %v, want %v", image, got, want)
		}
	}
	if len(r.Authorities) != 2 || len(r.Authorities[0].PublicKeys) != 2 || r.Authorities[0].Fingerprint == r.Authorities[1].Fingerprint {
		t.Errorf("report %+v", r.Authorities)
	}
}

func TestCompileDefaults(t *testing.T) {
	t.Parallel()
	p, r := Compiler{}.Compile(t.Context(), mustDecode(t, clusterWide(signedBy(newKey(t)))))
	if p.Mode != policy.Enforce || p.References.Tags != policy.TagsPin || p.Summary() != "require signature by release" {
		t.Errorf("mode %v, tags %v, %s", p.Mode, p.References.Tags, p.Summary())
	}
	if !r.Namespaces.Empty() {
		t.Errorf("without a selector it selects %v", r.Namespaces)
	}
}

func TestCompileEachTagRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]policy.TagRule{
		"references: {deny: [latest]}": policy.TagsPin,
		"references: {tags: Pin}":      policy.TagsPin,
		"references: {tags: Deny}":     policy.TagsDeny,
		"references: {tags: Allow}":    policy.TagsAllow,
	} {
		p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(text+"\n"+signedBy(newKey(t)))))
		if p.Unusable != "" || p.References.Tags != want {
			t.Errorf("%s: tags %v, want %v; unusable %q", text, p.References.Tags, want, p.Unusable)
		}
	}
}

// One platform may be spelled in several ways, and is there once. Which platforms are meant is not part of what is asked for.
func TestCompilePlatforms(t *testing.T) {
	t.Parallel()
	signed := signedBy(newKey(t))
	of := func(platforms string) *policy.Policy {
		p, r := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced(replaceOnce(signed, "/**]}", "/**]"+platforms+"}"))))
		if p.Unusable != "" || r.Reason != ReasonCompiled {
			t.Fatalf("%s: %s", r.Reason, p.Unusable)
		}
		return p
	}
	p := of(", platforms: [linux/amd64, linux/arm64, linux/x86_64, linux/amd64, linux/arm64/v8]")
	var got []string
	for _, platform := range p.Platforms {
		got = append(got, platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64", "linux/arm64"}; !slices.Equal(got, want) { // arm64 of every variant, and of v8
		t.Errorf("platforms %q, want %q", got, want)
	}
	every := of("")
	if len(every.Platforms) != 0 || every.Digest != p.Digest || p.Digest == "" {
		t.Errorf("platforms %v, digests %q and %q", every.Platforms, every.Digest, p.Digest)
	}
}

func TestCompileAllowAndDeny(t *testing.T) {
	t.Parallel()
	allow, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced("images: {include: ['**']}\nallow: {reason: \"sidecars\\nof others\"}")))
	if allow.Action != policy.ActionAllow || allow.Because != "sidecars of others" || refuses(t, allow, "registry.example.com/app") {
		t.Errorf("allow: %+v", allow)
	}
	deny, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced("images: {include: ['registry.example.com/app@"+someDigest+"']}\ndeny: {reason: revoked}")))
	if deny.Action != policy.ActionDeny || !refuses(t, deny, "registry.example.com/app") || refuses(t, deny, "registry.example.com/other") {
		t.Errorf("deny: %+v", deny)
	}
}

// A policy that can't be used refuses what it matches, and nothing else; it keeps its mode, and says why.
func TestAnUnusablePolicyRefusesWhatItMatches(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string { return strings.Replace(bySecret, old, new, 1) }
	secretKey := "key: {secretRef: {name: cosign-pub, key: cosign.pub}}"
	rootPEM := quoted(string(verifytest.NewPKI(t, verifytest.Always()).RootsPEM()))
	for _, tt := range []struct{ name, spec, reason, why string }{
		{"a missing Secret", bySecret, ReasonKeyUnavailable, "authority release: Secret payments/cosign-pub: not found"},
		{"a missing ConfigMap", with("secretRef", "configMapRef"), ReasonKeyUnavailable, "ConfigMap payments/cosign-pub: not found"},
		{"a typo in an authority", with("secretRef:", "secretref:"), ReasonInvalidField, `unknown field "spec.authorities[0].key.secretref"`},
		{"a typo in a requirement", with("by: [release]", "by: [release], atleast: 2"), ReasonInvalidField, `unknown field "spec.require.signature.atleast"`},
		{"a requirement of a newer version", with("{signature:", "{moon: {}, signature:"), ReasonInvalidField, `unknown field "spec.require.moon"`},
		{"a wrong type", with("{by: [release]}", "{by: release}"), ReasonInvalidField, "spec.require.signature.by: want list of text, is string"},
		{"an undefined authority", with("by: [release]", "by: [nobody]"), ReasonInvalidField, "spec.require.signature.by[0]"},
		{"two actions", "allow: {reason: r}\n" + bySecret, ReasonInvalidField, "exactly one of require, allow and deny"},
		{"no action", "images: {include: [registry.example.com/**]}", ReasonInvalidField, "exactly one of require, allow and deny"},

		{"key.kms", with(secretKey, "key: {kms: 'awskms:///x'}"), ReasonInvalidField, "only in a ClusterImagePolicy"},
		{"a TrustRoot that isn't there", with(secretKey, "keyless: {trustRoot: corp, identities: [{issuer: 'https://a.example', subject: s}]}"), ReasonTrustRootUnavailable, "authority release: TrustRoot corp: not found"},
		{"a certificate's TrustRoot that isn't there", with(secretKey, "certificate: {trustRoot: corp, roots: "+rootPEM+", identities: [{subject: s}]}"), ReasonTrustRootUnavailable, "authority release: TrustRoot corp: not found"},
		{"a key's TrustRoot that isn't there", with("release\n  key: {", "release\n  key: {trustRoot: corp, "), ReasonTrustRootUnavailable, "authority release: TrustRoot corp: not found"},
		{"a repository that is none", with(secretKey, secretKey+"\n  repository: r.example.com/x:latest"), ReasonInvalidField, "spec.authorities[0].repository"},
		{"sbom", with("{signature:", "{sbom: {by: [release], formats: [XML]}, signature:"), ReasonInvalidField, "spec.require.sbom.formats[0]"},
		{"vulnerabilities", with("{signature:", "{vulnerabilities: {by: [release], max: {high: -1}}, signature:"), ReasonInvalidField, "spec.require.vulnerabilities.max.high"},
		{"secrets", with("{signature:", "{secrets: {by: [release], maxAge: 0s}, signature:"), ReasonInvalidField, "spec.require.secrets.maxAge"},
		{"provenance", with("{signature:", "{provenance: {by: [release], builderPatterns: ['.*']}, signature:"), ReasonInvalidField, "spec.require.provenance.builderPatterns[0]"},
		{"tests", with("{signature:", "{tests: [{name: '', by: [release]}], signature:"), ReasonInvalidField, "spec.require.tests[0].name"},
		{"approvals", with("{signature:", "{approvals: {by: [release], environment: ''}, signature:"), ReasonInvalidField, "spec.require.approvals.environment"},
		{"promotion", with("{signature:", "{promotion: {by: [release], to: ''}, signature:"), ReasonInvalidField, "spec.require.promotion.to"},
		{"custom", with("{signature:", "{custom: [{predicateType: 'https://acme.example/t', by: [release], rules: [{cel: c, message: m}]}], signature:"), ReasonInvalidField, "spec.require.custom[0].rules[0].cel"},
		{"acceptSummary", "acceptSummary: {by: [release], verifierID: v, insteadOf: [signature], maxAge: 1h}\n" + bySecret, ReasonInvalidField, "spec.acceptSummary.insteadOf[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []policy.Mode{policy.Enforce, policy.Audit} {
				raw := toJSON(t, namespaced("mode: "+mode.String()+"\n"+tt.spec))
				name := key{Namespace: "payments", Name: "production"}
				p, r := Compiler{Materials: &shelf{}}.compileRaw(t.Context(), raw, name)
				if p.Name != name || p.Mode != mode {
					t.Errorf("name %v, mode %v", p.Name, p.Mode)
				}
				if !strings.Contains(p.Unusable, tt.why) || r.Reason != tt.reason || r.Message != p.Unusable {
					t.Errorf("unusable %q (%s: %s)\nwant %q (%s)", p.Unusable, r.Reason, r.Message, tt.why, tt.reason)
				}
				if !refuses(t, p, "registry.example.com/app") {
					t.Error("lets in what it matches")
				}
				if refuses(t, p, "other.example.com/app") {
					t.Error("refuses what it isn't about")
				}
			}
		})
	}
}

func TestWhatCannotBeReadMatchesEverything(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, spec string }{
		{"no images", "deny: {reason: r}"},
		{"no include", "images: {exclude: [a.example/b]}\nallow: {reason: r}"},
		{"a bad pattern beside a good one", "images: {include: [a.example/b, nginx]}\nallow: {reason: r}"},
		{"images of the wrong type", "images: all\nallow: {reason: r}"},
		{"a typo in images", "images: {include: [a.example/b], exlude: [a.example/b]}\nallow: {reason: r}"},
		{"more patterns than there may be", "images:\n  include:\n" + items(257, "  - a.example/b%d") + "allow: {reason: r}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := Compiler{}.compileRaw(t.Context(), toJSON(t, namespaced(tt.spec)), key{Namespace: "payments", Name: "production"})
			if p.Unusable == "" || !p.MatchesAll || !refuses(t, p, "registry.example.com/app") {
				t.Errorf("unusable %q, matches all %v", p.Unusable, p.MatchesAll)
			}
		})
	}
	for _, raw := range []string{``, `null`, `{`, `{"kind":"ImagePolicy"}`, `{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","spec":7}`} {
		if p, _ := (Compiler{}).compileRaw(t.Context(), []byte(raw), key{Name: "p"}); p.Name.Name != "p" || !refuses(t, p, "registry.example.com/app") {
			t.Errorf("%q lets an image in", raw)
		}
	}
}

func TestABadExcludeExcludesNothing(t *testing.T) {
	t.Parallel()
	p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, namespaced("images: {include: [registry.example.com/**], exclude: ['registry.example.com/a**']}\nallow: {reason: r}")))
	if p.MatchesAll || !refuses(t, p, "registry.example.com/app") {
		t.Errorf("%+v", p)
	}
}

func TestAnUnreadableModeEnforces(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"audit", "Shadow", "7", "[Audit]"} {
		p, _ := Compiler{}.compileRaw(t.Context(), toJSON(t, namespaced("mode: "+mode+"\n"+bySecret)), key{})
		if p.Mode != policy.Enforce || p.Unusable == "" {
			t.Errorf("mode %s: %v, unusable %q", mode, p.Mode, p.Unusable)
		}
	}
}

func TestAnUnreadableSelectorSelectsEveryNamespace(t *testing.T) {
	t.Parallel()
	for _, selector := range []string{"{matchExpressions: [{key: env, operator: in}]}", "{matchLabel: {env: production}}", "production"} {
		p, r := Compiler{}.compileRaw(t.Context(), toJSON(t, clusterWide("namespaceSelector: "+selector+"\n"+bySecret)), key{Name: "everywhere"})
		if p.Unusable == "" || !r.Namespaces.Matches(labels.Set{"env": "dev"}) {
			t.Errorf("%s: unusable %q, selects %v", selector, p.Unusable, r.Namespaces)
		}
	}
}

// A namespaced policy reads its own namespace and no other; a cluster policy the install's.
func TestRow21_KeysAreReadInTheOwnNamespaceOnly(t *testing.T) {
	t.Parallel()
	pem := newKey(t)
	s := &shelf{entries: map[source]string{
		{kindSecret, "payments", "cosign-pub", "cosign.pub"}: pem,
	}}
	c := Compiler{Materials: s, Namespace: "pratique-system"}
	if p, _ := c.Compile(t.Context(), mustDecode(t, namespaced(bySecret))); p.Unusable != "" {
		t.Errorf("the namespace's own: %s", p.Unusable)
	}
	if p, r := c.Compile(t.Context(), mustDecode(t, clusterWide(bySecret))); !strings.Contains(p.Unusable, "Secret pratique-system/cosign-pub: not found") || r.Reason != ReasonKeyUnavailable {
		t.Errorf("the cluster's: %q", p.Unusable)
	}
	for _, src := range s.asked {
		if src.namespace != "payments" && src.namespace != "pratique-system" {
			t.Errorf("asked for %s", src)
		}
	}
}

func TestABadKeyInASecretIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "no public key in it", "x": "no PEM block", weakKey(t): "RSA key of 1024 bits"} {
		s := &shelf{entries: map[source]string{{kindSecret, "payments", "cosign-pub", "cosign.pub"}: text}}
		p, r := Compiler{Materials: s}.Compile(t.Context(), mustDecode(t, namespaced(bySecret)))
		if r.Reason != ReasonInvalidKey || !strings.Contains(p.Unusable, want) || !strings.Contains(p.Unusable, "Secret payments/cosign-pub, entry cosign.pub") {
			t.Errorf("%q: %s: %s", text, r.Reason, p.Unusable)
		}
	}
}

func TestAtLeastIsHeldAgainstTheKeysOfASecret(t *testing.T) {
	t.Parallel()
	s := &shelf{entries: map[source]string{{kindSecret, "payments", "cosign-pub", "cosign.pub"}: newKey(t)}}
	text := namespaced(strings.Replace(bySecret, "{by: [release]}", "{by: [release], atLeast: 2}", 1))
	p, r := Compiler{Materials: s}.Compile(t.Context(), mustDecode(t, text))
	if r.Reason != ReasonInvalidField || !strings.Contains(p.Unusable, "spec.require.signature.atLeast: 2 signers, but the authorities have 1 distinct key") {
		t.Errorf("%s: %s", r.Reason, p.Unusable)
	}
}

// kept is Materials that can't read any more, and still know what they read before.
type kept struct{ pem string }

func (k kept) Secret(context.Context, string, string, string) ([]byte, error) {
	return []byte(k.pem), errors.New("Secret payments/cosign-pub: the API server is away")
}

func (k kept) ConfigMap(context.Context, string, string, string) ([]byte, error) {
	return nil, errors.New("not asked for")
}

func TestKeysThatCouldNotBeReadAgainStayInUseAndAreMarked(t *testing.T) {
	t.Parallel()
	p, r := Compiler{Materials: kept{newKey(t)}}.Compile(t.Context(), mustDecode(t, namespaced(bySecret)))
	if p.Unusable != "" || !strings.Contains(p.KeysNotReadAgain, "authority release: Secret payments/cosign-pub: the API server is away") {
		t.Errorf("unusable %q, not read again %q", p.Unusable, p.KeysNotReadAgain)
	}
	if r.Reason != ReasonCompiled || r.Authorities[0].NotReadAgain == "" || r.Authorities[0].Fingerprint == "" {
		t.Errorf("report %+v", r)
	}
	status := StatusOf(mustDecode(t, namespaced(bySecret)), p, r, v1alpha1.PolicyStatus{}, someTime)
	if status.Authorities[0].LastReadError == "" || len(status.Authorities[0].PublicKeys) != 1 {
		t.Errorf("status %s", pretty(t, status))
	}
}

// exploding is Materials whose reading panics.
type exploding struct{ kept }

func (exploding) Secret(context.Context, string, string, string) ([]byte, error) { panic("boom") }

func TestAPanicMakesOnePolicyUnusable(t *testing.T) {
	t.Parallel()
	p, r := Compiler{Materials: exploding{}}.Compile(t.Context(), mustDecode(t, namespaced("mode: Warn\n"+bySecret)))
	if r.Reason != ReasonInternalError || !strings.Contains(p.Unusable, "boom") || p.Mode != policy.Warn {
		t.Errorf("%s: %q, mode %v", r.Reason, p.Unusable, p.Mode)
	}
	if !refuses(t, p, "registry.example.com/app") || refuses(t, p, "other.example.com/app") {
		t.Error("refuses the wrong images")
	}
}

func TestCompileOfNothingRefusesEverything(t *testing.T) {
	t.Parallel()
	p, _ := Compiler{}.Compile(t.Context(), nil)
	if p.Match(reference(t, "nginx"), v1.Hash{}) != policy.MatchYes || !refuses(t, p, "nginx") {
		t.Errorf("%+v", p)
	}
}

func TestTextsOfAPolicyAreOneLineOfASCII(t *testing.T) {
	t.Parallel()
	raw := toJSON(t, namespaced("mode: \"\\u001b[31mevil\\n\"\n"+bySecret))
	p, r := Compiler{}.compileRaw(t.Context(), raw, key{})
	for _, text := range []string{p.Unusable, r.Message} {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > maxMessage {
			t.Errorf("%q", text)
		}
	}
}

// What this version can't do yet is told apart from what is wrong, and refuses all the same.
func TestWhatIsNotSupportedYetIsUnusable(t *testing.T) {
	t.Parallel()
	spec := strings.Replace(bySecret, "secretRef: {name: cosign-pub, key: cosign.pub}", "kms: 'awskms:///x'", 1)
	p, r := Compiler{Materials: &shelf{}}.Compile(t.Context(), mustDecode(t, clusterWide(spec)))
	if r.Reason != ReasonNotSupported || !strings.Contains(p.Unusable, "not supported yet") {
		t.Errorf("unusable %q (%s)", p.Unusable, r.Reason)
	}
	if !refuses(t, p, "registry.example.com/app") {
		t.Error("lets in what it matches")
	}
}
