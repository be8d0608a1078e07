package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// lines repeats a YAML list item, numbered.
func items(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, tt := range []struct{ name, text string }{
		{"a signature by an inline key", namespaced(signedBy(key))},
		{"the same for the cluster", clusterWide(signedBy(key))},
		{"a key in a Secret", namespaced(bySecret)},
		{"a key in a ConfigMap", namespaced(strings.Replace(bySecret, "secretRef", "configMapRef", 1))},
		{"every mode", namespaced("mode: Audit\n" + signedBy(key))},
		{"tags that are pinned", namespaced("references: {tags: Pin}\n" + signedBy(key))},
		{"platforms", namespaced("images: {include: ['**'], platforms: [linux/amd64, linux/arm/v7]}\nallow: {reason: r}")},
		{"tags that are denied", namespaced("references: {tags: Deny, allow: ['v*', '1.?'], deny: [latest]}\n" + signedBy(key))},
		{"tags that are allowed", namespaced("references: {tags: Allow}\n" + signedBy(key))},
		{"log and timestamp where they are optional", namespaced(strings.Replace(bySecret, "- name: release", "- name: release\n  log: Optional\n  timestamp: Optional", 1))},
		{"an authority that nobody uses", namespaced("images: {include: ['**']}\nauthorities: [{name: a, key: {secretRef: {name: s, key: k}}}]\nallow: {reason: sidecars}")},
		{"revocation by digest", namespaced("images: {include: ['registry.example.com/a@" + someDigest + "']}\ndeny: {reason: CVE-2026-1}")},
		{"a selector", clusterWide("namespaceSelector: {matchLabels: {env: production}}\n" + signedBy(key))},
		{"a selector of namespaces by their names", clusterWide("namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [dev, test]}]}\n" + signedBy(key))},
		{"a selector of two labels", clusterWide("namespaceSelector: {matchLabels: {env: production}, matchExpressions: [{key: team, operator: Exists}, {key: team, operator: NotIn, values: [x]}, {key: x, operator: DoesNotExist}]}\n" + signedBy(key))},
		{"the empty selector", clusterWide("namespaceSelector: {}\n" + signedBy(key))},
		{"two signers of two keys", namespaced(strings.Replace(signedBy(key+newKey(t)), "{by: [release]}", "{by: [release], atLeast: 2}", 1))},
		{"more signers than can be told without the Secret", namespaced(strings.Replace(bySecret, "{by: [release]}", "{by: [release], atLeast: 3}", 1))},
		{"requirements that are listed empty", namespaced(strings.Replace(signedBy(key), "require: {", "require: {tests: [], custom: [], sbom: null, ", 1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if errs := Validate(mustDecode(t, tt.text)); len(errs) > 0 {
				t.Errorf("refused: %v", errs)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	signed := signedBy(key)
	with := func(old, new string) string { // bySecret, changed in one place
		if !strings.Contains(bySecret, old) {
			t.Fatalf("bySecret has no %q", old)
		}
		return strings.Replace(bySecret, old, new, 1)
	}
	secretKey := "key: {secretRef: {name: cosign-pub, key: cosign.pub}}"
	for _, tt := range []struct{ name, spec, field, want string }{
		{"an unknown mode", "mode: enforce\n" + signed, "spec.mode", `supported values: "Enforce", "Warn", "Audit"`},

		{"no images", "images: {include: []}\nallow: {reason: r}", "spec.images.include", "for instance registry.example.com/team/**"},
		{"an empty pattern", "images: {include: ['']}\nallow: {reason: r}", "spec.images.include[0]", "write HOST/PATH"},
		{"a pattern without a host", "images: {include: [nginx]}\nallow: {reason: r}", "spec.images.include[0]", "want HOST/PATH"},
		{"a pattern whose host is none", "images: {include: ['team/app']}\nallow: {reason: r}", "spec.images.include[0]", "docker.io/team/app"},
		{"a pattern with a tag", "images: {include: ['a.example/b:v1']}\nallow: {reason: r}", "spec.images.include[0]", "tags are for references.allow and deny"},
		{"a pattern with another kind of digest", "images: {include: ['a.example/b@sha512:00']}\nallow: {reason: r}", "spec.images.include[0]", "sha256: and 64 hex digits"},
		{"a bad pattern in exclude", "images: {include: ['**'], exclude: ['a.example/b**']}\nallow: {reason: r}", "spec.images.exclude[0]", "** must be a whole segment"},
		{"a pattern of more than 512 bytes", "images: {include: ['a.example/" + strings.Repeat("x", 512) + "']}\nallow: {reason: r}", "spec.images.include[0]", "at most 512"},
		{"more than 256 patterns", "images:\n  include:\n" + items(257, "  - a.example/b%d") + "allow: {reason: r}", "spec.images.include", "at most 256"},
		{"more than 256 excluded patterns", "images:\n  include: ['**']\n  exclude:\n" + items(257, "  - a.example/b%d") + "allow: {reason: r}", "spec.images.exclude", "at most 256"},
		{"a platform that is none", "images: {include: ['**'], platforms: [linux/amd64, amd64]}\nallow: {reason: r}", "spec.images.platforms[1]", "want os/architecture[/variant], for instance linux/amd64"},
		{"a platform that nothing runs on", "images: {include: ['**'], platforms: [unknown/unknown]}\nallow: {reason: r}", "spec.images.platforms[0]", "no image says that"},
		{"more than 64 platforms", "images:\n  include: ['**']\n  platforms:\n" + items(65, "  - linux/a%d") + "allow: {reason: r}", "spec.images.platforms", "at most 64"},

		{"an unknown tag rule", "references: {tags: pin}\n" + signed, "spec.references.tags", `supported values: "Pin", "Deny", "Allow"`},
		{"an empty tag glob", "references: {deny: ['']}\n" + signed, "spec.references.deny[0]", "write a glob over tags"},
		{"Docker Hub without library", "images: {include: [docker.io/nginx]}\ndeny: {reason: r}", "spec.images.include[0]", "docker.io/library/nginx"},
		{"a tag glob with brackets", "references: {allow: ['v[0-9]']}\n" + signed, "spec.references.allow[0]", "wildcards"},
		{"a tag glob that no tag can match", "references: {deny: ['latest ']}\n" + signed, "spec.references.deny[0]", "a tag has letters"},
		{"a tag glob of more than 128 bytes", "references: {allow: ['" + strings.Repeat("v", 129) + "']}\n" + signed, "spec.references.allow[0]", "at most 128"},
		{"more than 64 tag globs", "references:\n  allow:\n" + items(65, "  - v%d") + signed, "spec.references.allow", "at most 64"},

		{"neither require nor allow nor deny", "images: {include: ['**']}", "spec.require", "exactly one of require, allow and deny"},
		{"both allow and deny", "images: {include: ['**']}\nallow: {reason: r}\ndeny: {reason: r}", "spec", "exactly one of require, allow and deny, not 2"},
		{"both require and allow", "allow: {reason: r}\n" + signed, "spec", "exactly one of require, allow and deny, not 2"},
		{"allow without a reason", "images: {include: ['**']}\nallow: {reason: ''}", "spec.allow.reason", "say why"},
		{"deny without a reason", "images: {include: ['**']}\ndeny: {}", "spec.deny.reason", "say why"},
		{"a reason of more than 512 bytes", "images: {include: ['**']}\ndeny: {reason: '" + strings.Repeat("x", 513) + "'}", "spec.deny.reason", "at most 512"},

		{"an authority without a name", with("name: release", "name: ''"), "spec.authorities[0].name", "name the authority"},
		{"an authority's name in capitals", with("name: release", "name: Release"), "spec.authorities[0].name", "lower-case"},
		{"an authority's name of 64 bytes", with("name: release", "name: "+strings.Repeat("x", 64)), "spec.authorities[0].name", "at most 63"},
		{"two authorities of one name", with("require:", "- name: release\n  "+secretKey+"\nrequire:"), "spec.authorities[1].name", `Duplicate value: "release"`},
		{"more than 64 authorities", "images: {include: ['**']}\nauthorities:\n" + items(65, "- {name: a%d, key: {secretRef: {name: s, key: k}}}") + "allow: {reason: r}", "spec.authorities", "at most 64"},
		{"an authority that is nobody", with(secretKey, ""), "spec.authorities[0].key", "exactly one of key, keyless and certificate"},
		{"an authority that is two", with(secretKey, secretKey+"\n  keyless: {identities: []}"), "spec.authorities[0]", "exactly one of key, keyless and certificate, not 2"},
		{"an unknown demand", with(secretKey, secretKey+"\n  log: Maybe"), "spec.authorities[0].log", `supported values: "Optional", "Required"`},
		{"papers elsewhere by a URL", with(secretKey, secretKey+"\n  repository: https://registry.example.com/papers"), "spec.authorities[0].repository", "begins with a scheme: write HOST/PATH, for instance registry.example.com/papers"},
		{"papers elsewhere by a tag", with(secretKey, secretKey+"\n  repository: registry.example.com:5000/papers:v1"), "spec.authorities[0].repository", "names a tag"},
		{"papers elsewhere by a digest", with(secretKey, secretKey+"\n  repository: registry.example.com/papers@"+someDigest), "spec.authorities[0].repository", "names a digest"},
		{"papers elsewhere without a host", with(secretKey, secretKey+"\n  repository: team/papers"), "spec.authorities[0].repository", "no repository with its host written out"},
		{"papers elsewhere without a path", with(secretKey, secretKey+"\n  repository: registry.example.com/"), "spec.authorities[0].repository", "no repository with its host written out"},
		{"papers elsewhere in capitals", with(secretKey, secretKey+"\n  repository: registry.example.com/Papers"), "spec.authorities[0].repository", "write HOST/PATH"},
		{"papers elsewhere in more than 512 bytes", with(secretKey, secretKey+"\n  repository: registry.example.com/"+strings.Repeat("x", 512)), "spec.authorities[0].repository", "at most 512"},
		{"a key's TrustRoot that is no name", with("key: {secretRef", "key: {trustRoot: Corp Root, secretRef"), "spec.authorities[0].key.trustRoot", "no name of an object: name a TrustRoot"},

		{"a key without a source", with(secretKey, "key: {}"), "spec.authorities[0].key", "exactly one of data (PEM), secretRef and configMapRef"},
		{"a key with two sources", with(secretKey, "key: {secretRef: {name: s, key: k}, configMapRef: {name: s, key: k}}"), "spec.authorities[0].key", "exactly one of data, secretRef, configMapRef and kms, not 2"},
		{"a Secret without a name", with("name: cosign-pub", "name: ''"), "spec.authorities[0].key.secretRef.name", "name the Secret, which must be in the"},
		{"a Secret of another namespace", with("name: cosign-pub", "name: other/cosign-pub"), "spec.authorities[0].key.secretRef.name", "names a namespace too, and a policy reads none but its own"},
		{"a Secret's name in capitals", with("name: cosign-pub", "name: Cosign"), "spec.authorities[0].key.secretRef.name", "no name of an object"},
		{"an entry that is a path", with("key: cosign.pub", "key: keys/cosign.pub"), "spec.authorities[0].key.secretRef.key", "no name of an entry"},
		{"a Secret without an entry", with("key: cosign.pub", "key: ''"), "spec.authorities[0].key.secretRef.key", "name the entry"},
		{"a ConfigMap without an entry", with(secretKey, "key: {configMapRef: {name: c}}"), "spec.authorities[0].key.configMapRef.key", "name the entry"},
		{"a Secret's name of 254 bytes", with("name: cosign-pub", "name: "+strings.Repeat("x", 254)), "spec.authorities[0].key.secretRef.name", "at most 253"},
		{"a key that is no PEM", with(secretKey, "key: {data: nonsense}"), "spec.authorities[0].key.data", "want -----BEGIN PUBLIC KEY-----"},
		{"a private key", with(secretKey, "key: {data: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n\"}"), "spec.authorities[0].key.data", "this is a private key: take it out of here"},
		{"a private key of another kind", with(secretKey, "key: {data: \"-----BEGIN OPENSSH PRIVATE KEY-----\\nAAAA\\n-----END OPENSSH PRIVATE KEY-----\\n\"}"), "spec.authorities[0].key.data", "this is a private key"},
		{"a private key behind a public one", with(secretKey, "key: {data: \""+strings.ReplaceAll(key, "\n", "\\n")+"-----BEGIN EC PRIVATE KEY-----\\nAAAA\\n-----END EC PRIVATE KEY-----\\n\"}"), "spec.authorities[0].key.data", "this is a private key"},
		{"a certificate in place of a key", with(secretKey, "key: {data: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n\"}"), "spec.authorities[0].key.data", "this is a certificate"},
		{"PEM that is cut short", with(secretKey, "key: {data: \"-----BEGIN PUBLIC KEY-----\\nMFkw\"}"), "spec.authorities[0].key.data", "no PEM block"},
		{"PEM of no key", with(secretKey, "key: {data: \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\\n\"}"), "spec.authorities[0].key.data", "not a PKIX public key"},
		{"a blank key", with(secretKey, "key: {data: ' '}"), "spec.authorities[0].key.data", "no public key in it"},
		{"more PEM than 64 KiB", with(secretKey, "key: {data: '"+strings.Repeat("x", 64<<10+1)+"'}"), "spec.authorities[0].key.data", "over the bound of 65536"},
		{"a key of a key management service in an ImagePolicy", with(secretKey, "key: {kms: 'awskms:///x'}"), "spec.authorities[0].key.kms", "only in a ClusterImagePolicy"},
		{"a key of a key management service", with(secretKey, "key: {kms: 'awskms:///x'}"), "spec.authorities[0].key.kms", "not supported yet"},

		{"an undefined authority of a requirement that isn't evaluated yet", with("{signature: {by: [release]}}", "{vulnerabilities: {by: [release], vex: {by: [vexer]}}}"), "spec.require.vulnerabilities.vex.by[0]", `"vexer" is not defined; spec.authorities has: release`},
		{"an undefined authority of one of several tests", with("{signature: {by: [release]}}", "{tests: [{name: a, by: [release]}, {name: b, by: [tester]}]}"), "spec.require.tests[1].by[0]", `"tester" is not defined`},
		{"a custom rule by nobody", with("{signature: {by: [release]}}", "{custom: [{predicateType: t, by: [], rules: [{cel: 'true', message: m}]}]}"), "spec.require.custom[0].by", "name at least one authority"},
		{"more than 64 tests", with("{signature: {by: [release]}}", "{tests: ["+strings.Repeat("{name: a, by: [release]}, ", 65)+"]}"), "spec.require.tests", "at most 64"},
		{"a summary by nobody", "acceptSummary: {by: [], verifierID: v, insteadOf: [signature]}\n" + signed, "spec.acceptSummary.by", "name at least one authority"},
		{"an empty name in by", with("by: [release]", "by: ['']"), "spec.require.signature.by[0]", `"" is not defined`},

		{"an empty require", "images: {include: ['**']}\nrequire: {}", "spec.require.signature", "asks for nothing"},
		{"a require of nulls", "images: {include: ['**']}\nrequire: {signature: null, tests: []}", "spec.require.signature", "asks for nothing"},

		{"a signature by an authority that isn't defined", with("by: [release]", "by: [relaese]"), "spec.require.signature.by[0]", `"relaese" is not defined; spec.authorities has: release`},
		{"a signature by an authority, where there are none", "images: {include: ['**']}\nrequire: {signature: {by: [release]}}", "spec.require.signature.by[0]", "spec.authorities has: none"},
		{"an authority twice", with("by: [release]", "by: [release, release]"), "spec.require.signature.by[1]", `Duplicate value: "release"`},
		{"no signers at all", with("{by: [release]}", "{by: [release], atLeast: 0}"), "spec.require.signature.atLeast", "want 1 to 64"},
		{"65 signers", with("{by: [release]}", "{by: [release], atLeast: 65}"), "spec.require.signature.atLeast", "want 1 to 64"},
		{"more signers than keys", strings.Replace(signed, "{by: [release]}", "{by: [release], atLeast: 2}", 1), "spec.require.signature.atLeast", "distinct keys"},
		{"two signers of one key that is there twice", strings.Replace(signedBy(key+key), "{by: [release]}", "{by: [release], atLeast: 2}", 1), "spec.require.signature.atLeast", "distinct keys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for kind, text := range map[string]string{KindImagePolicy: namespaced(tt.spec), KindClusterImagePolicy: clusterWide(tt.spec)} {
				if kind == KindClusterImagePolicy && strings.Contains(tt.want, "only in a ClusterImagePolicy") {
					continue
				}
				wantError(t, mustDecode(t, text), tt.field, tt.want)
			}
		})
	}
}

func TestValidateRefusesInAClusterImagePolicy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, spec, field, want string }{
		{"a selector with an unknown operator", "namespaceSelector: {matchExpressions: [{key: env, operator: in, values: [a]}]}\n" + bySecret, "spec.namespaceSelector", "In, NotIn, Exists or DoesNotExist"},
		{"a selector with a bad label", "namespaceSelector: {matchLabels: {'a b': c}}\n" + bySecret, "spec.namespaceSelector", "want matchLabels"},
		{"a selector that says one label twice", "namespaceSelector: {matchLabels: {env: a}, matchExpressions: [{key: env, operator: In, values: [b, c]}]}\n" + bySecret, "spec.namespaceSelector", "no namespace can match what it says of the label env"},
		{"a selector that wants and excludes", "namespaceSelector: {matchLabels: {env: a}, matchExpressions: [{key: env, operator: NotIn, values: [a]}]}\n" + bySecret, "spec.namespaceSelector", "no namespace can match"},
		{"a selector that wants a label to be there and not", "namespaceSelector: {matchExpressions: [{key: env, operator: Exists}, {key: env, operator: DoesNotExist}]}\n" + bySecret, "spec.namespaceSelector", "no namespace can match"},
		{"a selector of namespaces without a name", "namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]}\n" + bySecret, "spec.namespaceSelector", "no namespace can match"},
		{"a selector of a name that no namespace has", "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: Payments}}\n" + bySecret, "spec.namespaceSelector", "no namespace can match"},
		{"a selector of more than 64 terms", "namespaceSelector:\n  matchLabels:\n" + items(65, "    l%d: a") + bySecret, "spec.namespaceSelector", "at most 64"},
		{"a selector of more than 1024 values", "namespaceSelector:\n  matchExpressions:\n  - key: env\n    operator: NotIn\n    values:\n" + items(1025, "    - v%d") + bySecret, "spec.namespaceSelector.matchExpressions[0].values", "at most 1024"},
		{"exceptions of no severity", "namespaceExceptions: {maxDuration: 720h}\n" + bySecret, "spec.namespaceExceptions.severities", "name the severities"},
		{"exceptions of an unknown severity", "namespaceExceptions: {severities: [Low]}\n" + bySecret, "spec.namespaceExceptions.severities[0]", "supported values"},
		{"exceptions of one severity twice", "namespaceExceptions: {severities: [low, low]}\n" + bySecret, "spec.namespaceExceptions.severities[1]", "Duplicate"},
		{"exceptions for longer than any lasts", "namespaceExceptions: {severities: [low], maxDuration: 2161h}\n" + bySecret, "spec.namespaceExceptions.maxDuration", "at most 2160h"},
		{"exceptions for no time", "namespaceExceptions: {severities: [low], maxDuration: 0s}\n" + bySecret, "spec.namespaceExceptions.maxDuration", "more than 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantError(t, mustDecode(t, clusterWide(tt.spec)), tt.field, tt.want)
		})
	}
}

// wantError wants an error of a field, and each error to be of one line, bounded, and with a cure behind its kind.
func wantError(t *testing.T, obj Object, field, want string) {
	t.Helper()
	errs := Validate(obj)
	found := false
	for _, e := range errs {
		found = found || e.Field == field && strings.Contains(e.Error(), want)
		if strings.ContainsAny(e.Error(), "\n\r") || len(e.Error()) > 2048 {
			t.Errorf("not one short line: %.200q", e.Error())
		}
		if e.Detail == "" && e.Type != "FieldValueDuplicate" {
			t.Errorf("no cure: %v", e)
		}
	}
	if !found {
		t.Errorf("got %v\nwant an error of %s with %s", errs, field, want)
	}
}

// An error must never carry key material: it goes to terminals, logs and statuses.
func TestValidateDoesNotRepeatAPrivateKey(t *testing.T) {
	t.Parallel()
	const secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
	text := namespaced(strings.Replace(bySecret, "{secretRef: {name: cosign-pub, key: cosign.pub}}", `{data: "-----BEGIN PRIVATE KEY-----\n`+secret+`\n-----END PRIVATE KEY-----\n"}`, 1))
	errs := Validate(mustDecode(t, text))
	if len(errs) == 0 {
		t.Fatal("accepted")
	}
	if all := errs.ToAggregate().Error(); strings.Contains(all, secret) {
		t.Errorf("the error repeats the key: %s", all)
	}
}

func TestValidateSaysTheSameEachTime(t *testing.T) {
	t.Parallel()
	obj, err := Decode([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	first := Validate(obj).ToAggregate().Error()
	for range 20 {
		if again := Validate(obj).ToAggregate().Error(); again != first {
			t.Fatalf("first %s\nthen  %s", first, again)
		}
	}
}

func TestValidateRefusesWhatIsNoPolicy(t *testing.T) {
	t.Parallel()
	var none *v1alpha1.ImagePolicy
	for _, obj := range []Object{nil, none} {
		if len(Validate(obj)) == 0 {
			t.Errorf("%T accepted", obj)
		}
	}
}

func TestRow73_AWeakKeyIsRefused(t *testing.T) {
	t.Parallel()
	wantError(t, mustDecode(t, namespaced(signedBy(weakKey(t)))), "spec.authorities[0].key.data", "RSA key of 1024 bits: want 2048")
	wantError(t, mustDecode(t, namespaced(signedBy(newKey(t)+weakKey(t)))), "spec.authorities[0].key.data", "key 2: RSA key of 1024 bits")
}

func TestRow19_AnEmptyAuthorityListIsInvalid(t *testing.T) {
	t.Parallel()
	text := namespaced(strings.Replace(bySecret, "by: [release]", "by: []", 1))
	wantError(t, mustDecode(t, text), "spec.require.signature.by", "name at least one authority; spec.authorities has: release")
	p, _ := Compiler{}.Compile(t.Context(), mustDecode(t, text))
	if !refuses(t, p, "registry.example.com/app") {
		t.Error("and yet it lets an image in")
	}
}

func TestMoreKeysThanAStatusCanHoldAreRefused(t *testing.T) {
	t.Parallel()
	var keys strings.Builder
	for range 60 {
		keys.WriteString(newKey(t))
	}
	var spec strings.Builder
	spec.WriteString("images: {include: ['**']}\nallow: {reason: r}\nauthorities:\n")
	for i := range 5 {
		fmt.Fprintf(&spec, "- name: a%d\n  key:\n    data: |\n%s\n", i, indent(keys.String(), 6))
	}
	wantError(t, mustDecode(t, namespaced(spec.String())), "spec.authorities", "300 keys, at most 256")
}
