package compile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// A . that isn't escaped let eve@corp-example.com in, and nobody said so.
func TestAPatternsBareDotIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, pattern, as string }{
		{"in a mail domain", `.*@corp.example.com`, "corp-example.com"},
		{"in a host", `https://github.com/acme/.*`, "github-com"},
		{"in a file's name", `https://github\.com/acme/\.github/workflows/build.yaml@refs/tags/v[0-9]+`, "build-yaml"},
		{"in one of two", `[a-z]+@(?:corp\.example|corp.example)`, "-"},
		{"in what is repeated", `[a-z]+@(?:a.b/)+corp\.example`, "a-b"},
		{"that matches line ends", `(?s)[a-z]+@corp.example`, "corp-example"},
		{"escaped", `.*@corp\.example\.com`, ""},
		{"in a class", `[a-z]+@corp[.]example`, ""},
		{"quoted", `[a-z]+@\Qcorp.example\E`, ""},
		{"repeated", `.+@corp\.example`, ""},
		{"repeated a few times", `.{1,8}@corp\.example`, ""},
		{"a repeated group", `(.)*@corp\.example`, ""},
		{"one that may be", `a.?@corp\.example`, ""},
		{"no pattern", `(corp.example`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := ""
			if tt.as != "" {
				want = fmt.Sprintf(`identities[0].subjectPattern: "." is any character (%s`, tt.as)
			}
			keyless := fmt.Sprintf("{name: ci, keyless: {identities: [{issuer: 'https://a.example', subjectPattern: '%s'}]}}", tt.pattern)
			certificate := fmt.Sprintf("{name: ci, certificate: {roots: x, identities: [{subjectPattern: '%s'}]}}", tt.pattern)
			for _, authority := range []string{keyless, certificate} {
				got := Warnings(mustDecode(t, namespaced("images: {include: ['**']}\nauthorities: ["+authority+"]\nrequire: {signature: {by: [ci]}}")))
				wantWarning(t, got, want)
				if want != "" && !strings.HasSuffix(got[0], ` too): write \.`) {
					t.Errorf("%q", got)
				}
			}
		})
	}
	got := Warnings(mustDecode(t, namespaced(keylessBy(`{issuerPattern: 'https://gitlab.corp\.example', subject: s}`))))
	wantWarning(t, got, `spec.authorities[0].keyless.identities[0].issuerPattern: "." is any character (gitlab-corp.example too): write \.`)
}

func TestIssuersThatCannotBe(t *testing.T) {
	t.Parallel()
	const at = "spec.authorities[0].keyless.identities[0].issuer"
	for _, tt := range []struct{ name, issuer, refused, warned string }{
		{"https", "https://token.actions.githubusercontent.com", "", ""},
		{"https with a port and a path", "https://keycloak.corp.example:8443/realms/ci", "", ""},
		{"a host alone", "token.actions.githubusercontent.com", "is no URL: write https://token.actions.githubusercontent.com", ""},
		{"a word", "github", "is no URL that begins with https://: write it as the token's iss claim has it", ""},
		{"another scheme", "ftp://a.example", "is no URL that begins with https://", ""},
		{"no host", "https://", "is no URL that begins with https://", ""},
		{"a host and a port", "localhost:8080", "is no URL that begins with https://", ""},
		{"http", "http://127.0.0.1:8080", "", at + ": by http anybody between can issue; write https"},
		{"a slash at its end", "https://accounts.google.com/", "", at + ": ends with /, which most issuers don't, and is compared as it is"},
		{"Auth0's slash", "https://acme.eu.auth0.com/", "", ""},
		{"Microsoft's slash", "https://sts.windows.net/00000000-0000-0000-0000-000000000000/", "", ""},
		{"authentik's slash", "https://login.corp.example/application/o/ci/", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems, warnings := Install{}.Check(toJSON(t, namespaced(keylessBy("{issuer: '"+tt.issuer+"', subject: lead@corp.example}"))))
			if got := strings.Join(problems, "\n"); tt.refused != "" && !strings.HasPrefix(got, at+": Invalid value: "+tt.refused) || tt.refused == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.refused)
			}
			if tt.refused == "" {
				wantWarning(t, warnings, tt.warned)
			}
		})
	}
}

func TestSubjectsThatNoBuildHasAreWarnedOf(t *testing.T) {
	t.Parallel()
	const (
		github, gitlab = "https://token.actions.githubusercontent.com", "https://gitlab.com"
		token          = ": is of the token; certificates have the workflow's URL"
		slashes        = ": GitLab writes two slashes here: PROJECT//.gitlab-ci.yml"
	)
	for _, tt := range []struct{ name, issuer, field, subject, want string }{
		{"GitHub's sub", github, "subject", "repo:acme/app:ref:refs/heads/main", "subject" + token},
		{"a pattern of it", github, "subjectPattern", `^repo:acme/app:.*`, "subjectPattern" + token},
		{"of an enterprise's issuer", github + "/acme", "subject", "repo:acme/app:ref:refs/heads/main", "subject" + token},
		{"of another issuer", "https://ci.acme.example", "subject", "repo:acme/app", ""},
		{"GitHub's workflow", github, "subjectPattern", `https://github\.com/acme/app/\.github/workflows/release\.yaml@refs/tags/.*`, ""},
		{"GitLab's file behind one slash", gitlab, "subject", "https://gitlab.com/acme/app/.gitlab-ci.yml@refs/heads/main", "subject" + slashes},
		{"a pattern of it", gitlab, "subjectPattern", `https://gitlab\.com/acme/app/\.gitlab-ci\.yml@refs/heads/.*`, "subjectPattern" + slashes},
		{"behind two", gitlab, "subject", "https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main", ""},
		{"a pattern behind two", gitlab, "subjectPattern", `https://gitlab\.com/acme/app//\.gitlab-ci\.yml@refs/heads/.*`, ""},
		{"a pattern that goes on", gitlab, "subjectPattern", `https://gitlab\.com/acme/.*/\.gitlab-ci\.yml@refs/heads/.*`, ""},
	} {
		t.Run(tt.name+", "+tt.field, func(t *testing.T) {
			t.Parallel()
			got := Warnings(mustDecode(t, namespaced(keylessBy("{issuer: '"+tt.issuer+"', "+tt.field+": '"+tt.subject+"'}"))))
			wantWarning(t, got, tt.want)
		})
	}
}

// The longest that a field's name can be leaves room for what is said of it.
func TestWarningsOfTheLastIdentityAreWhole(t *testing.T) {
	t.Parallel()
	const at = "spec.authorities[63].certificate.identities[63]"
	w := warner{now: verifytest.Always().Until.Add(time.Hour)}
	w.dot(at+".subjectPattern", `.*@a-name-that-is-long.corporation.example.com`)
	w.issuer(at+".issuer", "http://a.example")
	w.issuer(at+".issuer", "https://a.example/")
	w.build(at+".subjectPattern", issuerGitHub, "repo:a")
	w.build(at+".subjectPattern", issuerGitLab, "https://gitlab.com/a/.gitlab-ci.yml")
	if len(w.out) != 5 {
		t.Errorf("%d warnings: %q", len(w.out), w.out)
	}
	wantWarning(t, w.out, at)
}

func TestExpiredRootsAreWarnedOf(t *testing.T) {
	t.Parallel()
	until := verifytest.Then()
	pki := verifytest.NewPKI(t, verifytest.Window{From: until.Add(-time.Hour), Until: until})
	root := pki.Roots()[0]
	spec := func(terms string) []byte {
		return toJSON(t, namespaced("images: {include: ['**']}\nauthorities:\n- name: lead\n"+terms+"  certificate:\n    identities: [{subject: lead@corp.example}]\n    roots: |\n"+indent(string(pki.RootsPEM()), 6)+"\nrequire: {signature: {by: [lead]}}"))
	}
	for _, tt := range []struct {
		name, terms string
		now         time.Time
		want        string
	}{
		{"that is valid", "", root.NotAfter, ""},
		{"that is no longer", "", root.NotAfter.Add(time.Second), ") expired " + root.NotAfter.Format(time.DateOnly) + ": nothing below it is valid"},
		{"where times are verified", "  timestamp: Required\n", root.NotAfter.Add(time.Second), ") expired " + root.NotAfter.Format(time.DateOnly) + ": counts at verified times only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems, warnings := Install{Now: func() time.Time { return tt.now }}.Check(spec(tt.terms))
			if len(problems) > 0 {
				t.Errorf("refused: %q", problems)
			}
			wantWarning(t, warnings, tt.want)
			if tt.want != "" && !strings.HasPrefix(warnings[0], "spec.authorities[0].certificate.roots: certificate 1 (CN=") {
				t.Errorf("%q", warnings)
			}
		})
	}
}

func TestATrustRootWithoutACTLogIsWarnedOf(t *testing.T) {
	t.Parallel()
	s, always := verifytest.NewSigstore(t), verifytest.Always()
	without := "sources: [{data: " + quoted(string(s.TrustedRootOf(t, verifytest.Parts{Fulcio: &always, RekorV1: &always}))) + "}"
	const want = "spec.thresholds.signedCertificateTimestamps: no CT log in the root, so keyless can't use it: add one, or set 0"
	for _, tt := range []struct{ name, spec, want string }{
		{"by default", without + "]", want},
		{"by its author's wish", without + "]\nthresholds: {signedCertificateTimestamps: 2}", want},
		{"where none is asked for", without + "]\nthresholds: {signedCertificateTimestamps: 0}", ""},
		{"where another source has one", without + ", {public: {}}]", ""},
		{"where another source may have one", without + ", {secretRef: {name: s, key: k}}]", ""},
		{"without a Fulcio either", "sources: [{data: " + quoted(string(s.TrustedRootOf(t, verifytest.Parts{RekorV1: &always}))) + "}]", ""},
		{"the public good instance", "sources: [{public: {}}]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems, warnings := Install{}.Check(toJSON(t, trustRoot("corp", tt.spec)))
			if len(problems) > 0 {
				t.Errorf("refused: %q", problems)
			}
			wantWarning(t, warnings, tt.want)
		})
	}
}

func TestFailureOfAMirrorIsAKind(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"":            trust.ErrNotFetched,
		"unreachable": &trust.MirrorError{Result: trust.ResultUnreachable, Err: errors.New("refused")},
		"refused":     fmt.Errorf("more: %w", &trust.MirrorError{Result: trust.ResultRefused, Err: errors.New("unsigned")}),
		"expired":     fmt.Errorf("%w: the last: %w", trust.ErrExpired, &trust.MirrorError{Result: trust.ResultRefused, Err: errors.New("x")}),
		"replaced":    fmt.Errorf("%w: the last", trust.ErrReplaced),
		"other":       errors.New("anything"),
	} {
		if got := failureOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
	if got := failureOf(nil); got != "" {
		t.Errorf("none is %q", got)
	}
}
