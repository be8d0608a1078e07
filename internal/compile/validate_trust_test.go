package compile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func mustPolicy(t testing.TB, obj Object) *v1alpha1.ImagePolicy {
	t.Helper()
	p, ok := obj.(*v1alpha1.ImagePolicy)
	if !ok {
		t.Fatalf("%T", obj)
	}
	return p
}

func TestTrustRootsThatAreTaken(t *testing.T) {
	t.Parallel()
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	tuf := quoted(string(trusttest.New(t, text).Root()))
	for _, tt := range []struct{ name, spec string }{
		{"the public good instance", "sources: [{public: {}}]"},
		{"a text", "sources: [{data: " + quoted(string(text)) + "}]"},
		{"a Secret", "sources: [{secretRef: {name: sigstore, key: trusted_root.json}}]"},
		{"a ConfigMap", "sources: [{configMapRef: {name: sigstore, key: trusted_root.json}}]"},
		{"a mirror", "sources: [{tuf: {mirror: 'https://tuf.corp.example', root: " + tuf + "}}]"},
		{"a mirror with all that can be said", "sources: [{tuf: {mirror: 'https://tuf.corp.example/v2/', root: " + tuf + ", target: corp.json, refreshEvery: 1h30m}}]"},
		{"the public good mirror", "sources: [{tuf: {mirror: '" + trust.PublicGoodMirror + "'}}]"},
		{"several", "sources: [{public: {}}, {data: " + quoted(string(text)) + "}, {secretRef: {name: s, key: k}}]"},
		{"thresholds", "sources: [{public: {}}]\nthresholds: {logs: 2, timestamps: 8, signedCertificateTimestamps: 0}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems, warnings := Install{}.Check(toJSON(t, trustRoot("corp", tt.spec)))
			if len(problems)+len(warnings) > 0 {
				t.Errorf("%q, %q", problems, warnings)
			}
		})
	}
}

func TestTrustRootsThatAreRefused(t *testing.T) {
	t.Parallel()
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	tuf := quoted(string(trusttest.New(t, text).Root()))
	mirror := func(fields string) string { return "sources: [{tuf: {" + fields + "}}]" }
	const source = "spec.sources[0]"
	for _, tt := range []struct{ name, spec, want string }{
		{"no sources", "sources: []", "spec.sources: Required value: name at least one source, for instance {public: {}}"},
		{"sources left out", "thresholds: {logs: 1}", "spec.sources: Required value"},
		{"more than 8 sources", "sources: [" + strings.Repeat("{public: {}}, ", 9) + "]", "spec.sources: Invalid value: 9: at most 8"},
		{"a source that is none", "sources: [{}]", source + ": Required value: set exactly one of public, data (a trusted_root.json), secretRef, configMapRef and tuf"},
		{"a source of nothing", "sources: [{public: null}]", source + ": Required value"},
		{"an empty text", "sources: [{data: ''}]", source + ": Required value"},
		{"two in one", "sources: [{public: {}, secretRef: {name: s, key: k}}]", source + ": Invalid value: set exactly one of public, data (a trusted_root.json), secretRef, configMapRef and tuf, not 2: write one source for each"},
		{"no JSON", "sources: [{data: nonsense}]", source + ".data: Invalid value: the trusted root can't be read"},
		{"PEM", "sources: [{data: \"-----BEGIN CERTIFICATE-----\\nTUlJ\\n-----END CERTIFICATE-----\\n\"}]", source + `.data: Invalid value: this is PEM: a trusted_root.json is made of it by "cosign trusted-root create" (docs/trust-roots.md)`},
		{"an empty JSON", "sources: [{data: '{}'}]", source + ".data: Invalid value: the trusted root has no mediaType: want the whole of a trusted_root.json, with mediaType, certificateAuthorities, ctlogs, tlogs, timestampAuthorities"},
		{"another JSON", "sources: [{data: '{\"mediaType\": \"x\"}'}]", source + ".data: Invalid value: the trusted root"},
		{"JSON that names nobody", "sources: [{data: '{\"mediaType\": \"application/vnd.dev.sigstore.trustedroot+json;version=0.1\"}'}]", source + ".data: Invalid value: the trusted root"},
		{"a private key", "sources: [{data: \"-----BEGIN PRIVATE KEY-----\\nTUlJ\\n-----END PRIVATE KEY-----\\n\"}]", source + ".data: Invalid value: this is a private key"},
		{"a text of more than 256 KiB", "sources: [{data: '" + strings.Repeat("x", 256<<10+1) + "'}]", source + ".data: Invalid value: 262145 bytes, at most 262144"},
		{"something in public", "sources: [{public: {mirror: x}}]", `unknown field "spec.sources[0].public.mirror": did you mean spec.sources[].tuf.mirror?`},
		{"a typo in a source", "sources: [{publik: {}}]", `unknown field "spec.sources[0].publik": did you mean public?`},
		{"a typo in a threshold", "sources: [{public: {}}]\nthresholds: {log: 1}", `unknown field "spec.thresholds.log": did you mean logs?`},
		{"a threshold in the wrong place", "sources: [{public: {}}]\nlogs: 1", `unknown field "spec.logs": did you mean spec.thresholds.logs?`},
		{"another namespace's Secret", "sources: [{secretRef: {name: s, namespace: other, key: k}}]", `unknown field "spec.sources[0].secretRef.namespace": a TrustRoot reads Secrets and ConfigMaps of the install's namespace only`},
		{"another namespace's Secret by its name", "sources: [{secretRef: {name: other/s, key: k}}]", source + `.secretRef.name: Invalid value: "other/s" names a namespace too, and a TrustRoot reads none but its own: put the Secret in the install's namespace, and name it alone`},
		{"a Secret without an entry", "sources: [{secretRef: {name: s}}]", source + ".secretRef.key: Required value: name the entry that holds the trusted_root.json"},
		{"no logs", "sources: [{public: {}}]\nthresholds: {logs: 0}", "spec.thresholds.logs: Invalid value: 0: want 1 to 8"},
		{"too many timestamps", "sources: [{public: {}}]\nthresholds: {timestamps: 9}", "spec.thresholds.timestamps: Invalid value: 9: want 1 to 8"},
		{"fewer certificate timestamps than none", "sources: [{public: {}}]\nthresholds: {signedCertificateTimestamps: -1}", "spec.thresholds.signedCertificateTimestamps: Invalid value: -1: want 0 (none is asked for) to 8"},
		{"a threshold that is text", "sources: [{public: {}}]\nthresholds: {logs: two}", "spec.thresholds.logs: want a whole number, is string"},
		{"no mirror", mirror("root: " + tuf), source + ".tuf.mirror: Required value: write the URL of the TUF repository"},
		{"a mirror by plain http", mirror("mirror: 'http://tuf.corp.example', root: " + tuf), source + `.tuf.mirror: Invalid value: mirror "http://tuf.corp.example" is asked by plain http: write https, or name its host with --plain-http`},
		{"a mirror that is no URL", mirror("mirror: tuf.corp.example, root: " + tuf), source + ".tuf.mirror: Invalid value: mirror"},
		{"a mirror with a password", mirror("mirror: 'https://a:b@tuf.corp.example', root: " + tuf), source + ".tuf.mirror: Invalid value: mirror has a user in its URL"},
		{"a mirror without a root", mirror("mirror: 'https://tuf.corp.example'"), source + ".tuf.root: Invalid value: root is missing: it may be left out for " + trust.PublicGoodMirror + " alone"},
		{"a root that is none", mirror("mirror: 'https://tuf.corp.example', root: '{}'"), source + ".tuf.root: Invalid value: root is not a TUF root.json signed by its own keys"},
		{"a private key for a root", mirror(`mirror: 'https://tuf.corp.example', root: "-----BEGIN PRIVATE KEY-----\nTUlJ\n"`), source + ".tuf.root: Invalid value: this is a private key"},
		{"a target that is a path upwards", mirror("mirror: 'https://tuf.corp.example', target: ../x, root: " + tuf), source + ".tuf.target: Invalid value: target"},
		{"asked too often", mirror("mirror: 'https://tuf.corp.example', refreshEvery: 1s, root: " + tuf), source + ".tuf.refreshEvery: Invalid value: refreshEvery is 1s"},
		{"asked too seldom", mirror("mirror: 'https://tuf.corp.example', refreshEvery: 721h, root: " + tuf), source + ".tuf.refreshEvery: Invalid value: refreshEvery"},
		{"asked in days", mirror("mirror: 'https://tuf.corp.example', refreshEvery: 1d, root: " + tuf), `spec: unknown unit "d" in duration "1d": write hours, minutes and seconds, for instance 24h`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw := toJSON(t, trustRoot("corp", tt.spec))
			problems, _ := Install{}.Check(raw)
			if len(problems) != 1 || !strings.HasPrefix(problems[0], tt.want) {
				t.Errorf("%q\nwant one problem that begins with %q", problems, tt.want)
			}
			for _, p := range problems {
				if strings.Contains(tt.want, "root is not ") && !strings.HasSuffix(p, "; have a root.json, such as 1.root.json, from whoever keeps the mirror, and not from the mirror alone") {
					t.Errorf("doesn't say where to have one: %q", p)
				}
				if len(p) > 400 || strings.ContainsAny(p, "\n\r") || strings.Contains(p, "TUlJ") {
					t.Errorf("isn't one line that /validate-policy shows whole, or repeats a key: %q", p)
				}
			}
		})
	}
}

func TestATrustRootThatIsNotEvenOne(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][]string{
		`{"apiVersion":"pratique.dev/v1alpha1","kind":"TrustRoot","metadata":{"name":"a"},"sources":[]}`: {
			`unknown field "sources": it belongs in spec`, "spec: missing: say in it where the trusted roots come from, for instance {sources: [{public: {}}]}"},
		`{"apiVersion":"pratique.dev/v1alpha1","kind":"TrustRoots","spec":{}}`: {`kind: "TrustRoots", want ImagePolicy, ClusterImagePolicy, TrustRoot or ImageException`},
	} {
		problems, _ := Install{}.Check([]byte(raw))
		if diff := cmp.Diff(want, problems); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAMirrorByPlainHTTPWhereItsHostIsNamed(t *testing.T) {
	t.Parallel()
	text := toJSON(t, trustRoot("corp", "sources: [{tuf: {mirror: 'http://127.0.0.1:8080', root: "+quoted(string(trusttest.New(t, nil).Root()))+"}}]"))
	if problems, _ := (Install{PlainHTTP: []string{"127.0.0.1:8080"}}).Check(text); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	if problems, _ := (Install{PlainHTTP: []string{"127.0.0.1:8081"}}).Check(text); len(problems) != 1 {
		t.Errorf("another port: %q", problems)
	}
}
