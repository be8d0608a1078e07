package compile

import (
	"strings"
	"testing"
)

func TestAnUnknownFieldComesWithTheOneThatWasMeant(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, kind, spec, want string }{
		{"a letter left out", KindImagePolicy, `{"refernces": {}}`, `unknown field "spec.refernces": did you mean references?`},
		{"two letters swapped", KindImagePolicy, `{"images": {"incldue": []}}`, `unknown field "spec.images.incldue": did you mean include?`},
		{"a letter too many", KindImagePolicy, `{"images": {"excludes": []}}`, `unknown field "spec.images.excludes": did you mean exclude?`},
		{"another case", KindImagePolicy, `{"Mode": "Warn"}`, `unknown field "spec.Mode": did you mean mode?`},
		{"in a list", KindImagePolicy, `{"authorities": [{"name": "a"}, {"nmae": "b"}]}`, `unknown field "spec.authorities[1].nmae": did you mean name?`},
		{"deep in a list of lists", KindImagePolicy, `{"require": {"custom": [{"rules": [{"cell": "true"}]}]}}`, `unknown field "spec.require.custom[0].rules[0].cell": did you mean cel?`},
		{"one level up", KindImagePolicy, `{"signature": {"by": []}}`, `unknown field "spec.signature": did you mean spec.require.signature?`},
		{"one level down", KindImagePolicy, `{"require": {"acceptSummary": {}}}`, `unknown field "spec.require.acceptSummary": did you mean spec.acceptSummary?`},
		{"one of a list", KindImagePolicy, `{"secretRef": {}}`, `unknown field "spec.secretRef": did you mean spec.authorities[].key.secretRef?`},
		{"that there is in many places", KindImagePolicy, `{"by": []}`, `unknown field "spec.by": want mode, images, references, authorities, require, allow, deny, acceptSummary`},
		{"nothing like it", KindImagePolicy, `{"deny": {"because": "x"}}`, `unknown field "spec.deny.because": want reason`},
		{"of the other kind", KindImagePolicy, `{"namespaceExceptions": {}}`, `unknown field "spec.namespaceExceptions": only a ClusterImagePolicy has it; an ImagePolicy is about its own namespace`},
		{"of Kubernetes' own types", KindClusterImagePolicy, `{"namespaceSelector": {"matchLabel": {}}}`, `unknown field "spec.namespaceSelector.matchLabel": did you mean matchLabels?`},
		{"a namespace of a ConfigMap", KindImagePolicy, `{"authorities": [{"key": {"configMapRef": {"namespace": "x"}}}]}`, `of its own namespace only`},
		{"there twice", KindImagePolicy, `{"mode": "Warn", "mode": "Audit"}`, `duplicate field "spec.mode": write it once`},
		{"there twice in a map", KindImagePolicy, `{"authorities": [{"keyless": {"identities": [{"extensions": {"a": "b", "a": "c"}}]}}]}`, `duplicate field "spec.authorities[0].keyless.identities[0].extensions.a": write it once`},
		{"with dots in its name", KindImagePolicy, `{"images.include": []}`, `unknown field "spec.images.include"`},
		{"with brackets in its name", KindImagePolicy, `{"authorities[0]": []}`, `unknown field "spec.authorities[0]"`},
		{"with nothing as its name", KindImagePolicy, `{"": []}`, `unknown field "spec."`},
		{"longer than any", KindImagePolicy, `{"` + strings.Repeat("x", 1000) + `": []}`, `unknown field "spec.xxx`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Decode([]byte(`{"apiVersion":"pratique.dev/v1alpha1","kind":"` + tt.kind + `","metadata":{"name":"p"},"spec":` + tt.spec + `}`))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestSlipsAreCountedAsAWriterMakesThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"by", "", 2}, {"", "by", 2}, {"mode", "mode", 0}, {"mode", "modes", 1}, {"mdoe", "mode", 1}, {"mode", "more", 1},
		{"relaese", "release", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2},
	} {
		if got := slips(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
