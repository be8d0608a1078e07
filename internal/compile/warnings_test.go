package compile

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// wantWarning wants one warning with a text, or with an empty text none, and each to be one that the API server lets through.
func wantWarning(t *testing.T, got []string, want string) {
	t.Helper()
	if all := strings.Join(got, "\n"); !strings.Contains(all, want) || want == "" && all != "" {
		t.Errorf("got %q, want %q", all, want)
	}
	for _, w := range got {
		if len(w) > 120 || w == "" || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("the API server would drop it: %q", w)
		}
		if strings.HasSuffix(w, "...") {
			t.Errorf("is cut, and so perhaps its cure: %q", w)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	keyless := func(identity string) string {
		return "images: {include: ['**']}\nauthorities: [{name: ci, keyless: {identities: [" + identity + "]}}]\nrequire: {signature: {by: [ci]}}"
	}
	for _, tt := range []struct{ name, spec, want string }{
		{"nothing to say", bySecret, ""},
		{"a pattern that is excluded too", "images: {include: [a.example/b], exclude: [a.example/b]}\ndeny: {reason: r}", "spec.images.include[0]: is in exclude too"},
		{"a pattern twice", "images: {include: [a.example/b, a.example/b]}\ndeny: {reason: r}", "spec.images.include[1]: is there twice"},
		{"all of Docker Hub", "images: {include: ['docker.io/**']}\ndeny: {reason: r}", ""},
		{"every image allowed", "images: {include: ['**']}\nallow: {reason: r}", "every image of any host gets in"},
		{"tag rules beside deny", "images: {include: ['**']}\nreferences: {deny: [latest]}\ndeny: {reason: r}", "means nothing beside deny"},
		{"tags that may move", "references: {tags: Allow}\n" + bySecret, "a tag may move"},
		{"tags that are pinned", "references: {tags: Pin}\n" + bySecret, ""},
		{"a platform twice", "images: {include: ['**'], platforms: [linux/amd64, linux/x86_64]}\nrequire: {sbom: {by: [a]}}", "spec.images.platforms[1]: is there twice"},
		{"platforms, and nothing that is about each", replaceOnce(bySecret, "/**]}", "/**], platforms: [linux/amd64]}"), "spec.images.platforms: means nothing here"},
		{"platforms of what is allowed", "images: {include: [a.example/b], platforms: [linux/amd64]}\nallow: {reason: r}", "spec.images.platforms: means nothing here"},
		{"platforms with a requirement about each", "images: {include: ['**'], platforms: [linux/amd64, linux/arm64]}\nrequire: {sbom: {by: [a]}}", ""},
		{"an exact subject with a star", keyless("{issuer: 'https://a.example', subject: 'https://github.com/acme/*'}"), "spec.authorities[0].keyless.identities[0].subject: is compared as it is, * included"},
		{"a pattern that goes on within an owner's name", keyless("{issuer: 'https://a.example', subjectPattern: 'https://github\\.com/acme.*'}"), "subjectPattern: matches the owner acme-stranger too; end the name with /"},
		{"a pattern that goes on there, and then to one repository", keyless("{issuer: 'https://a.example', subjectPattern: 'https://github\\.com/acme[^/]*/app/.*'}"), "matches the owner acme-stranger too"},
		{"a pattern of two owners", keyless("{issuer: 'https://a.example', subjectPattern: 'https://github\\.com/acme(-labs)?/.*'}"), ""},
		{"a pattern that ends the owner's name", keyless("{issuer: 'https://a.example', subjectPattern: 'https://github\\.com/acme/.*'}"), ""},
		{"a pattern that is none", keyless("{issuer: 'https://a.example', subjectPattern: 'https://github\\.com/(acme.*'}"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantWarning(t, Warnings(mustDecode(t, namespaced(tt.spec))), tt.want)
		})
	}
}

// A namespace that somebody just made has no label but its name: row 16's other half, beside the guard over who may label it.
func TestRow16_ASelectorThatAnUnlabelledNamespaceEscapesIsWarnedOf(t *testing.T) {
	t.Parallel()
	const escapes = "spec.namespaceSelector: a namespace without the label env escapes; NotIn and DoesNotExist select it"
	long := strings.Repeat("a.", 100) + "example/" + strings.Repeat("b", 63)
	for _, tt := range []struct{ name, selector, want string }{
		{"none", "", ""},
		{"the empty one", "{}", ""},
		{"a label", "{matchLabels: {env: production}}", escapes},
		{"one of two values", "{matchExpressions: [{key: env, operator: In, values: [a, b]}]}", escapes},
		{"any value", "{matchExpressions: [{key: env, operator: Exists}]}", escapes},
		{"any but some values", "{matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}", ""},
		{"no such label", "{matchExpressions: [{key: env, operator: DoesNotExist}]}", ""},
		{"names", "{matchLabels: {kubernetes.io/metadata.name: payments}}", ""},
		{"all but some names", "{matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [dev]}]}", ""},
		{"a name and a label", "{matchLabels: {kubernetes.io/metadata.name: payments, env: production}}", escapes},
		{"a label that is there beside one that isn't", "{matchLabels: {env: production}, matchExpressions: [{key: dev, operator: DoesNotExist}]}", escapes},
		{"a label as long as there can be", "{matchLabels: {" + long + ": x}}", "a namespace without the label a.a."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := bySecret
			if tt.selector != "" {
				spec = "namespaceSelector: " + tt.selector + "\n" + bySecret
			}
			obj := mustDecode(t, clusterWide(spec))
			if errs := Validate(obj); len(errs) > 0 {
				t.Fatalf("not only a warning: %v", errs)
			}
			wantWarning(t, Warnings(obj), tt.want)
			_, r := Compiler{}.Compile(t.Context(), obj) // and the warning is right
			if escaped := !r.Namespaces.Matches(unlabelled(tt.selector)); escaped != (tt.want != "") {
				t.Errorf("an unlabelled namespace escapes: %v", escaped)
			}
		})
	}
}

// unlabelled are the labels of a namespace that nobody has labelled: the one that a selector may have by its name, if any.
func unlabelled(selector string) labels.Set {
	name := "elsewhere"
	if strings.Contains(selector, "payments") {
		name = "payments"
	}
	return labels.Set{corev1.LabelMetadataName: name}
}

func TestAPolicyThatRefusesNothingIsNotEscaped(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"Enforce": "a namespace without the label env escapes", "Warn": "", "Audit": ""} {
		wantWarning(t, Warnings(mustDecode(t, clusterWide("mode: "+mode+"\nnamespaceSelector: {matchLabels: {env: staging}}\n"+bySecret))), want)
	}
}

func TestAnInstallThatDoesNotPinSaysSoToWhoeverAsksForIt(t *testing.T) {
	t.Parallel()
	const want = "spec.references.tags: Pin, but this install doesn't pin: tags are refused with the digest to use"
	for _, tt := range []struct{ name, spec, want string }{
		{"Pin", "references: {tags: Pin}\n" + bySecret, want},
		{"nothing", bySecret, ""},
		{"only globs", "references: {deny: [latest]}\n" + bySecret, ""},
		{"Deny", "references: {tags: Deny}\n" + bySecret, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw := toJSON(t, namespaced(tt.spec))
			problems, warnings := Install{}.Check(raw)
			if len(problems) > 0 {
				t.Errorf("refused: %q", problems)
			}
			wantWarning(t, warnings, tt.want)
			_, warnings = Install{Pinning: true}.Check(raw)
			wantWarning(t, warnings, "")
		})
	}
}
