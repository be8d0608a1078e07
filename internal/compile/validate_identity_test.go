package compile

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// keylessBy returns a spec with a keyless authority of one identity, in YAML.
func keylessBy(identity string) string {
	return "images: {include: [registry.example.com/**]}\nauthorities: [{name: ci, keyless: {trustRoot: sigstore-public, identities: [" + identity + "]}}]\nrequire: {signature: {by: [ci]}}"
}

func TestRow65_AnIdentityWithoutIssuerOrSubjectIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, identities, field, want string }{
		{"no identities", "[]", "", "name at least one identity: without any, every certificate of the trust root would do"},
		{"an empty identity", "[{}]", "[0].issuer", "set it, or issuerPattern"},
		{"no issuer", "[{subject: s}]", "[0].issuer", "set it, or issuerPattern"},
		{"no subject", "[{issuer: 'https://i.example'}]", "[0].subject", "set it, or subjectPattern"},
		{"an empty subject", "[{issuer: 'https://i.example', subject: ''}]", "[0].subject", "neither may be anybody"},
		{"no subject in the second", "[{issuer: 'https://i.example', subject: s}, {issuer: 'https://i.example'}]", "[1].subject", "set it, or subjectPattern"},
		{"an issuer in both ways", "[{issuer: 'https://i.example', issuerPattern: i, subject: s}]", "[0].issuerPattern", "set it or issuer, not both"},
		{"a subject in both ways", "[{issuer: 'https://i.example', subject: s, subjectPattern: s}]", "[0].subjectPattern", "set it or subject, not both"},
		{"an issuer of more than 512 bytes", "[{issuer: " + strings.Repeat("i", 513) + ", subject: s}]", "[0].issuer", "at most 512"},
		{"a subject of more than 1024 bytes", "[{issuer: 'https://i.example', subject: " + strings.Repeat("s", 1025) + "}]", "[0].subject", "at most 1024"},
		{"more than 64 identities", "[" + strings.Repeat("{issuer: 'https://i.example', subject: s}, ", 65) + "]", "", "at most 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := namespaced("images: {include: [registry.example.com/**]}\nauthorities: [{name: ci, keyless: {identities: " + tt.identities + "}}]\nrequire: {signature: {by: [ci]}}")
			wantError(t, mustDecode(t, text), "spec.authorities[0].keyless.identities"+tt.field, tt.want)
			p, r := Compiler{}.Compile(t.Context(), mustDecode(t, text))
			if !refuses(t, p, "registry.example.com/app") || r.Reason != ReasonInvalidField {
				t.Errorf("%s: and yet it lets an image in, or seems only too new", r.Reason)
			}
		})
	}
}

func TestRow64_APatternThatCannotBeAnchoredOrIsAboutEverybodyIsRefused(t *testing.T) {
	t.Parallel()
	const anybody = "matches anybody, such as "
	for _, tt := range []struct{ name, field, pattern, want string }{
		{"a ) that ends our own group", "subject", `a)|(?:b`, `is no RE2: unexpected ) in "a)|(?:b"`},
		{"a ( that isn't ended", "subject", `https://github\.com/(acme/.*`, "missing closing )"},
		{"a class that isn't ended", "subject", `[a-z`, "missing closing ]"},
		{"a backslash at the end", "subject", `acme\`, "trailing backslash at end of expression"},
		{"what Perl has and RE2 has not", "subject", `(?=acme).*`, "is no RE2"},
		{"a glob", "subject", `*@corp.example`, "a pattern is no glob: write [^/]* for what one segment may be"},
		{"the glob of the Sigstore documentation", "subject", `https://github.com/mycompany/*/.github/workflows/*@*`, `"/*" repeats the character before the *, as globs don't`},
		{"the glob of Kyverno's", "subject", `https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/*`, `"/*" repeats the character before the *`},
		{"a quotation that swallows our anchor", "subject", `\Qhttps://github.com/acme/app`, `can't be anchored: it leaves a quotation open; end \Q with \E`},
		{"anchors of lines", "subject", `(?m)^https://github\.com/acme/app$`, "(?m) lets ^ and $ match inside of a name"},
		{"anchors of lines in a group", "subject", `https://github\.com/acme/(?m:app$)`, "(?m) lets ^ and $ match inside of a name"},
		{"repetitions that cost more than they say", "subject", `https://github\.com/acme/(?:[a-z]{1000}[0-9]{1000}x{1000}y{1000}z{1000})`, "repeats too much: about 5024 steps, at most 2048"},

		{"everything", "subject", `.*`, anybody},
		{"everything but nothing", "subject", `.+`, anybody},
		{"everything, anchored by its author", "subject", `^.*$`, anybody},
		{"everything in a group", "subject", `(.*)`, anybody},
		{"everything, line ends included", "subject", `(?s).*`, anybody},
		{"everything by a class", "subject", `[\s\S]*`, anybody},
		{"everything beside something", "subject", `https://github\.com/acme/.*|.*`, anybody},
		{"every mail address", "subject", `[^/]+@[^/]+`, anybody + `"stranger@stranger.invalid"`},
		{"every mail address of a public provider", "subject", `.*@gmail\.com`, anybody + `"stranger@gmail.com"`},
		{"everybody at GitHub", "subject", `https://github\.com/.*`, anybody + `"https://github.com/stranger/any/.github/workflows/any.yaml@refs/heads/any"`},
		{"everybody at GitHub with a workflow", "subject", `https://github\.com/[^/]+/[^/]+/\.github/workflows/[^@]+@refs/heads/.*`, anybody},
		{"every URL", "subject", `https?://.*`, anybody},
		{"every SPIFFE ID", "subject", `spiffe://[^/]+/.*`, anybody + `"spiffe://stranger.invalid/ns/any/sa/any"`},
		{"no name at all", "subject", `(https://github\.com/acme/app)?`, anybody + `""`},
		{"a host that only begins so", "subject", `https://ci\.example\.com.*`, anybody + `"https://ci.example.com.stranger.invalid"`},
		{"a mail domain that only ends so", "subject", `.*corp\.example`, anybody + `"stranger@stranger-corp.example"`},

		{"every issuer", "issuer", `.*`, anybody + `"https://stranger.invalid"`},
		{"every issuer of https", "issuer", `https://.*`, anybody},
		{"every issuer with a path", "issuer", `https://[a-z.-]+/realms/[a-z]+`, anybody + `"https://stranger.invalid/realms/any"`},
		{"an issuer's host that only begins so", "issuer", `https://token\.actions\.githubusercontent\.com[^/]*`, anybody + `"https://token.actions.githubusercontent.com.stranger.invalid"`},
		{"a pattern of more than 512 bytes", "issuer", strings.Repeat("i", 513), "513 bytes, at most 512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			other := map[string]string{"subject": "issuer", "issuer": "subject"}[tt.field]
			obj := mustDecode(t, namespaced(keylessBy(fmt.Sprintf("{%s: x, %sPattern: '%s'}", other, tt.field, tt.pattern))))
			wantError(t, obj, "spec.authorities[0].keyless.identities[0]."+tt.field+"Pattern", tt.want)
		})
	}
}

func TestRow64_PatternsOfOnesOwnAreTakenAndMustMatchTheWholeName(t *testing.T) {
	t.Parallel()
	for pattern, names := range map[string]struct{ in, out []string }{
		`https://github\.com/acme/app/\.github/workflows/release\.yaml@refs/tags/v[0-9.]+`: {
			in: []string{"https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3"},
			out: []string{
				"https://evil.example/?https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3",
				"https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3-attacker",
				"https://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3\n",
				"\nhttps://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3",
				"x\nhttps://github.com/acme/app/.github/workflows/release.yaml@refs/tags/v1.2.3\ny",
			},
		},
		`https://github\.com/acme/.*|https://github\.com/acme-labs/.*`: {
			in:  []string{"https://github.com/acme/x", "https://github.com/acme-labs/x"},
			out: []string{"https://github.com/acme-evil/x", "x https://github.com/acme/x", "https://evil.example/https://github.com/acme-labs/x"},
		},
		`^https://github\.com/acme/app$`: {
			in:  []string{"https://github.com/acme/app"},
			out: []string{"https://github.com/acme/app\n", "https://github.com/acme/app2"},
		},
		`[^@]+@([a-z]+\.)?corp\.example`: {
			in:  []string{"lead@corp.example", "lead@eu.corp.example"},
			out: []string{"lead@evilcorp.example", "lead@corp.example.evil", "lead@evil@corp.example"},
		},
		`(?i)lead@corp\.example`:                 {in: []string{"Lead@Corp.example"}, out: []string{"mislead@corp.example"}},
		`spiffe://corp\.example/ns/ci/sa/[a-z]+`: {in: []string{"spiffe://corp.example/ns/ci/sa/build"}, out: []string{"spiffe://corp.example/ns/ci/sa/build/x"}},
		`\Qhttps://github.com/acme/app\E`:        {in: []string{"https://github.com/acme/app"}, out: []string{"https://githubxcom/acme/app"}},
	} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			obj := mustDecode(t, namespaced(keylessBy("{issuerPattern: 'https://oidc\\.(eu|us)\\.corp\\.example/id/[A-F0-9]+', subjectPattern: '"+pattern+"'}")))
			for _, e := range Validate(obj) {
				t.Errorf("refused: %v", e)
			}
			whole, err := anchored(pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names.in {
				if !whole.MatchString(name) {
					t.Errorf("doesn't match %q", name)
				}
			}
			for _, name := range names.out {
				if whole.MatchString(name) {
					t.Errorf("matches %q", name)
				}
			}
		})
	}
}

// However a pattern is written, once it is anchored nothing before or after a name that it matches slips in: what matches
// with something around it is what the pattern itself matches from end to end.
func FuzzRow64_NothingSlipsInBesideAnAnchoredPattern(f *testing.F) {
	for _, pattern := range []string{`a`, `a|b`, `(?m)^a$`, `a)|(?:b`, `\Qa`, `(?s).`, `(?i)a`, `a\z|b`, `^a|b$`, `(?U)a*`, `[^a]`, `\x{61}`, `a{2,3}`, `a\b`} {
		f.Add(pattern, "a", "x")
		f.Add(pattern, "b", "\n")
	}
	f.Fuzz(func(t *testing.T, pattern, name, more string) {
		if len(pattern) > maxSubject || more == "" {
			return
		}
		whole, err := anchored(pattern)
		if err != nil {
			return
		}
		alone, err := regexp.Compile(pattern)
		if err != nil {
			t.Fatalf("anchored, and by itself no pattern: %v", err)
		}
		alone.Longest()
		for _, text := range []string{name, more + name, name + more} {
			if at := alone.FindStringIndex(text); whole.MatchString(text) && at == nil {
				t.Errorf("%q matches %q, and by itself nowhere in it", pattern, text)
			}
			if whole.MatchString(text) && !spans(alone, text) {
				t.Errorf("%q matches %q, and by itself only a part of it", pattern, text)
			}
		}
	})
}

// spans tells whether a pattern, leftmost and longest, matches a text from end to end.
func spans(longest *regexp.Regexp, text string) bool {
	at := longest.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}

func TestACertificateAuthorityIsChecked(t *testing.T) {
	t.Parallel()
	const roots = `"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"`
	for _, tt := range []struct{ name, certificate, field, want string }{
		{"no roots", "{roots: '', identities: [{subject: s}]}", "roots", "write your own PKI's roots as PEM"},
		{"roots that are no certificates", "{roots: nonsense, identities: [{subject: s}]}", "roots", "no certificate in it: write your own PKI's roots as PEM (-----BEGIN CERTIFICATE-----)"},
		{"a private key in place of roots", `{roots: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", identities: [{subject: s}]}`, "roots", "this is a private key"},
		{"a private key beside the roots", strings.Replace(`{roots: ROOTS, identities: [{subject: s}]}`, "ROOTS", strings.TrimSuffix(roots, `"`)+`-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"`, 1), "roots", "this is a private key"},
		{"more than 64 KiB", "{roots: '" + strings.Repeat("x", 64<<10+1) + "', identities: [{subject: s}]}", "roots", "at most 65536"},
		{"no identities", "{roots: " + roots + ", identities: []}", "identities", "without any, every certificate below the roots would do"},
		{"nobody", "{roots: " + roots + ", identities: [{}]}", "identities[0].subject", "set it, or subjectPattern"},
		{"anybody", "{roots: " + roots + ", identities: [{subjectPattern: '.*'}]}", "identities[0].subjectPattern", "matches anybody"},
		{"a pattern that is none", "{roots: " + roots + ", identities: [{subjectPattern: 'lead@('}]}", "identities[0].subjectPattern", "is no RE2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			obj := mustDecode(t, namespaced("images: {include: ['**']}\nauthorities: [{name: lead, certificate: "+tt.certificate+"}]\nrequire: {signature: {by: [lead]}}"))
			wantError(t, obj, "spec.authorities[0].certificate."+tt.field, tt.want)
			if all := Validate(obj).ToAggregate().Error(); strings.Contains(all, "AAAA") {
				t.Errorf("the key is repeated: %s", all)
			}
		})
	}
}

func TestMoreIdentitiesThanAPolicyMayHaveAreRefused(t *testing.T) {
	t.Parallel()
	var spec strings.Builder
	spec.WriteString("images: {include: ['**']}\nallow: {reason: r}\nauthorities:\n")
	for i := range 5 {
		fmt.Fprintf(&spec, "- {name: a%d, keyless: {identities: [%s]}}\n", i, strings.Repeat("{issuer: 'https://i.example', subject: s}, ", 60))
	}
	wantError(t, mustDecode(t, namespaced(spec.String())), "spec.authorities", "300 identities, at most 256")
}

// Of the policies within the bounds, the one that costs most to check costs little: anybody who may write a policy may write it.
func TestManyCostlyPatternsAreCheckedWithinTheDeadline(t *testing.T) {
	t.Parallel()
	spec := func(pattern string, n int) string {
		var b strings.Builder
		b.WriteString("images: {include: ['**']}\nallow: {reason: r}\nauthorities:\n")
		for i := range n / 64 {
			fmt.Fprintf(&b, "- {name: a%d, keyless: {identities: [%s]}}\n", i, strings.Repeat("{issuer: 'https://i.example', subjectPattern: '"+pattern+"'}, ", 64))
		}
		return b.String()
	}
	start := time.Now()
	for _, pattern := range []string{`(?:[^/]{1,30}x){1,2}` + strings.Repeat(`[[:alpha:]_!-/]`, 60), strings.Repeat(`(?:a|b|)*`, 12) + `!`} { // 128 steps, or some less
		obj := mustDecode(t, namespaced(spec(pattern, 256)))
		for _, e := range Validate(obj) {
			t.Fatalf("isn't within the bounds, and so costs nothing: %v", e)
		}
		Warnings(obj)
	}
	if took := time.Since(start); took > 10*time.Second { // the deadline of an admission, and many times what it takes
		t.Errorf("it took %v", took)
	}
	costly := strings.Repeat(`[a-z]{1,90}`, 20)
	wantError(t, mustDecode(t, namespaced(spec(costly, 256))), "spec.authorities", "the patterns of identities make more than 32768 steps together")
}

// A class of thousands of characters is held by each pattern that has it: what they hold together is bounded as their steps are.
func TestPatternsOfLargeClassesAreRefused(t *testing.T) {
	t.Parallel()
	for pattern, fits := range map[string]bool{`https://a\.example/[^/]+/\pL+`: true, strings.Repeat(`\pL`, 66): false} {
		steps, err := stepsOf(pattern)
		if (err == nil) != fits || fits && steps > 200 {
			t.Errorf("%s: %d steps, %v", pattern, steps, err)
		}
	}
}
