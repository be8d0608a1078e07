package compile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What /validate-policy says, word for word: each problem names the field and the cure.
func TestCheckNamesFieldAndCure(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		if !strings.Contains(bySecret, old) {
			t.Fatalf("bySecret has no %q", old)
		}
		return strings.Replace(bySecret, old, new, 1)
	}
	const secretKey = "{secretRef: {name: cosign-pub, key: cosign.pub}}"
	pem := func(kind string) string {
		return `{data: "-----BEGIN ` + kind + `-----\nTUlJ\n-----END ` + kind + `-----\n"}`
	}
	const keyless = "keyless: {identities: [{issuer: 'https://a.example', subjectPattern: '%s'}]}"
	pattern := "spec.authorities[0].keyless.identities[0].subjectPattern: Invalid value: "
	for _, tt := range []struct {
		name, spec string
		want       []string // of an ImagePolicy
		cluster    []string // of a ClusterImagePolicy, where that is told something else
	}{
		{"bad PEM", with(secretKey, "{data: nonsense}"), []string{
			"spec.authorities[0].key.data: Invalid value: no PEM block in what follows key 0: want -----BEGIN PUBLIC KEY-----"}, nil},
		{"a private key", with(secretKey, pem("ENCRYPTED SIGSTORE PRIVATE KEY")), []string{
			"spec.authorities[0].key.data: Invalid value: this is a private key: take it out of here and use the public one, of a new pair since others may have read this one"}, nil},
		{"a certificate", with(secretKey, pem("CERTIFICATE")), []string{
			"spec.authorities[0].key.data: Invalid value: key 1: this is a certificate: use authorities[].certificate, or extract its public key"}, nil},
		{"more than 64 KiB", with(secretKey, "{data: '"+strings.Repeat("x", 1<<16+1)+"'}"), []string{
			"spec.authorities[0].key.data: Invalid value: PEM of 65537 bytes is over the bound of 65536"}, nil},
		{"a weak key", signedBy(weakKey(t)), []string{
			"spec.authorities[0].key.data: Invalid value: key 1: RSA key of 1024 bits: want 2048 to 8192"}, nil},
		{"a pattern that ends our group", with("key: "+secretKey, strings.Replace(keyless, "%s", "a)|(?:b", 1)), []string{
			pattern + "is no RE2: unexpected ) in \"a)|(?:b\"; a pattern is no glob: write [^/]* for what one segment may be, and \\. for a dot"}, nil},
		{"a pattern that matches everything", with("key: "+secretKey, strings.Replace(keyless, "%s", ".*", 1)), []string{
			pattern + `matches anybody, such as "https://github.com/stranger/any/.github/workflows/any.yaml@refs/heads/any": write out the host, and the owner or the domain`}, nil},
		{"an empty authority", with("key: "+secretKey, ""), []string{
			"spec.authorities[0].key: Required value: set exactly one of key, keyless and certificate: an authority without any would vouch for nothing"}, nil},
		{"an undefined authority", with("by: [release]", "by: [relaese]"), []string{
			`spec.require.signature.by[0]: Invalid value: "relaese" is not defined; spec.authorities has: release`}, nil},
		{"nobody", with("by: [release]", "by: []"), []string{
			"spec.require.signature.by: Required value: name at least one authority; spec.authorities has: release"}, nil},
		{"another namespace's Secret by its field", with("name: cosign-pub,", "name: cosign-pub, namespace: other,"),
			[]string{`unknown field "spec.authorities[0].key.secretRef.namespace": a policy reads Secrets and ConfigMaps of its own namespace only: leave the field out, and put the object there`},
			[]string{`unknown field "spec.authorities[0].key.secretRef.namespace": a ClusterImagePolicy reads Secrets and ConfigMaps of the install's namespace only: leave the field out, and put the object there`}},
		{"another namespace's Secret by its name", with("name: cosign-pub", "name: other/cosign-pub"),
			[]string{`spec.authorities[0].key.secretRef.name: Invalid value: "other/cosign-pub" names a namespace too, and a policy reads none but its own: put the Secret in the policy's own namespace, and name it alone`},
			[]string{`spec.authorities[0].key.secretRef.name: Invalid value: "other/cosign-pub" names a namespace too, and a policy reads none but its own: put the Secret in the install's namespace, and name it alone`}},
		{"an unknown field", with("{by: [release]}", "{by: [release], atleast: 2}"), []string{
			`unknown field "spec.require.signature.atleast": did you mean atLeast?`}, nil},
		{"a key of a key management service", with(secretKey, "{kms: 'awskms:///alias/release'}"), []string{
			"spec.authorities[0].key.kms: Forbidden: only in a ClusterImagePolicy, since it uses the install's cloud identity: use data, secretRef or configMapRef",
			"spec.authorities[0].key.kms: Forbidden: not supported yet by this version: publish the key's public half in data, secretRef or configMapRef",
		}, []string{"spec.authorities[0].key.kms: Forbidden: not supported yet by this version: publish the key's public half in data, secretRef or configMapRef"}},
		{"a selector in an ImagePolicy, and one that matches nothing", "namespaceSelector: {matchExpressions: [{key: env, operator: In, values: [a]}, {key: env, operator: In, values: [b]}]}\n" + bySecret,
			[]string{`unknown field "spec.namespaceSelector": only a ClusterImagePolicy has it; an ImagePolicy is about its own namespace`},
			[]string{"spec.namespaceSelector: Invalid value: no namespace can match what it says of the label env, so that the policy would never be in force: all of its terms must hold at once; for one or the other write one In with both values, or two policies"}},
		{"a platform that is none", with("/**]", "/**], platforms: [amd64]"), []string{
			`spec.images.platforms[0]: Invalid value: "amd64": want os/architecture[/variant], for instance linux/amd64`}, nil},
		{"an unknown tag rule", "references: {tags: pin}\n" + bySecret, []string{
			`spec.references.tags: Unsupported value: "pin": supported values: "Pin", "Deny", "Allow"`}, nil},
		{"nothing wrong", bySecret, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.cluster == nil {
				tt.cluster = tt.want
			}
			for text, want := range map[string][]string{namespaced(tt.spec): tt.want, clusterWide(tt.spec): tt.cluster} {
				problems, warnings := Install{Pinning: true}.Check(toJSON(t, text))
				if diff := cmp.Diff(want, problems); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				for _, p := range append(problems, warnings...) {
					if len(p) > 400 || strings.ContainsAny(p, "\n\r") {
						t.Errorf("isn't one line that /validate-policy shows whole: %q", p)
					}
					if strings.Contains(p, "TUlJ") {
						t.Errorf("repeats key material: %q", p)
					}
				}
			}
		})
	}
}

// What can't be read at all is a problem too, each by itself.
func TestCheckOfWhatIsNoPolicy(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		`{"apiVersion":"v1","kind":"Pod","tpyo":1}`: {`unknown field "tpyo": want apiVersion, kind, metadata, spec, status`, `apiVersion: "v1", want pratique.dev/v1alpha1`},
		`{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","metadata":{},"require":{}}`: {
			`unknown field "require": it belongs in spec`, "spec: missing: say in it which images the policy is about and what it asks for"},
	} {
		problems, warnings := Install{}.Check([]byte(raw))
		if diff := cmp.Diff(want, problems); diff != "" || len(warnings) > 0 {
			t.Errorf("-want +got:\n%s%q", diff, warnings)
		}
	}
	if problems, _ := (Install{}).Check([]byte(strings.Repeat("x", MaxObject+1))); len(problems) != 1 || !strings.Contains(problems[0], "over the bound") {
		t.Errorf("%q", problems)
	}
}

func TestRow58_APolicyNamesNoSecretOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	there := &shelf{entries: map[source]string{{kindSecret, "other", "cosign-pub", "cosign.pub"}: newKey(t)}}
	for _, name := range []string{"{name: cosign-pub, namespace: other, key: cosign.pub}", "{name: other/cosign-pub, key: cosign.pub}", "{name: ../other/cosign-pub, key: cosign.pub}"} {
		text := replaceOnce(bySecret, "{name: cosign-pub, key: cosign.pub}", name)
		for _, raw := range [][]byte{toJSON(t, namespaced(text)), toJSON(t, clusterWide(text))} {
			if problems, _ := (Install{}).Check(raw); len(problems) == 0 {
				t.Errorf("%s is accepted", name)
			}
			p, _ := Compiler{Materials: there, Namespace: "pratique-system"}.compileRaw(t.Context(), raw, key{Name: "p"})
			if p.Unusable == "" || !refuses(t, p, "registry.example.com/app") {
				t.Errorf("%s lets an image in", name)
			}
		}
	}
	for _, asked := range there.asked {
		t.Errorf("asked for %s", asked)
	}
}
