package compile

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// identity warns of an identity that Fulcio confirms to nobody, or to others than were meant.
func (w *warner) identity(in string, id *v1alpha1.Identity) {
	w.exact(in+".issuer", id.Issuer)
	w.exact(in+".subject", id.Subject)
	w.dot(in+".issuerPattern", id.IssuerPattern)
	w.open(in+".subjectPattern", id.SubjectPattern)
	w.dot(in+".subjectPattern", id.SubjectPattern)
	w.issuer(in+".issuer", id.Issuer)
	issuer := id.Issuer + strings.ReplaceAll(id.IssuerPattern, `\`, "")
	w.build(in+".subject", issuer, id.Subject)
	w.build(in+".subjectPattern", issuer, id.SubjectPattern)
}

// issuer warns of an issuer's URL that none, or anybody, may have.
func (w *warner) issuer(at, issuer string) {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "" || err != nil: // of which Validate tells
	case u.Scheme == "http":
		w.say("%s: by http anybody between can issue; write https", at)
	case strings.HasSuffix(issuer, "/") && !endsInSlash(u):
		w.say("%s: ends with /, which most issuers don't, and is compared as it is", at)
	}
}

// endsInSlash tells whether an issuer is of those that are known to end with a slash: Auth0's, Microsoft's of before 2.0, and authentik's.
func endsInSlash(u *url.URL) bool {
	host := u.Hostname()
	return strings.HasSuffix(host, ".auth0.com") || host == "sts.windows.net" || strings.HasPrefix(u.Path, "/application/o/")
}

// What Fulcio confirms of builds is no claim of their token as it is, but the URL of what says how to build.
const (
	issuerGitHub = "https://token.actions.githubusercontent.com"
	issuerGitLab = "https://gitlab.com"
	fileGitLab   = "/.gitlab-ci.yml"
)

// build warns of a subject, or its pattern, that no build of GitHub's or GitLab's has.
func (w *warner) build(at, issuer, subject string) {
	subject = strings.ReplaceAll(subject, `\`, "")
	before, _, found := strings.Cut(subject, fileGitLab)
	switch {
	case strings.HasPrefix(issuer, issuerGitHub) && strings.HasPrefix(strings.TrimPrefix(subject, "^"), "repo:"):
		w.say("%s: is of the token; certificates have the workflow's URL", at)
	case issuer == issuerGitLab && found && before != "" && !strings.ContainsRune("/*+?})", rune(before[len(before)-1])):
		w.say("%s: GitLab writes two slashes here: PROJECT//.gitlab-ci.yml", at)
	}
}

// dot warns of a . that stands for a dot, and matches any character.
func (w *warner) dot(at, pattern string) {
	const text = `%s: "." is any character (%s too): write \.`
	if pattern == "" || len(pattern) > maxSubject {
		return
	}
	if _, err := stepsOf(pattern); err != nil { // of which Validate tells
		return
	}
	if tree, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if as, ok := bareDot(tree); ok {
			room := max(0, maxWarning-len(text)+len("%s%s")-len(at))
			w.say(text, at, as[:min(len(as), room)])
		}
	}
}

// bareDot finds a . that isn't repeated, and returns what else it matches, as far as the pattern writes that out: corp-example.com.
func bareDot(re *syntax.Regexp) (as string, ok bool) {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "-", true
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		if isDot(within(re.Sub[0])) {
			return "", false
		}
	case syntax.OpConcat:
		if i := slices.IndexFunc(re.Sub, isDot); i >= 0 {
			return around(re.Sub, i), true
		}
	}
	for _, sub := range re.Sub {
		if as, ok := bareDot(sub); ok {
			return as, true
		}
	}
	return "", false
}

// within is what a group groups.
func within(re *syntax.Regexp) *syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	return re
}

func isDot(re *syntax.Regexp) bool {
	return re.Op == syntax.OpAnyChar || re.Op == syntax.OpAnyCharNotNL
}

// around returns the name that stands around a dot of a sequence, with a - in its place.
func around(list []*syntax.Regexp, i int) string {
	const ofNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	before, after := "", ""
	if i > 0 && list[i-1].Op == syntax.OpLiteral {
		before = string(list[i-1].Rune)
		before = before[strings.LastIndexFunc(before, func(r rune) bool { return !strings.ContainsRune(ofNames, r) })+1:]
	}
	for _, next := range list[i+1:] {
		switch {
		case next.Op == syntax.OpLiteral:
			after += string(next.Rune)
			continue
		case isDot(next):
			after += "."
			continue
		}
		break
	}
	if end := strings.IndexFunc(after, func(r rune) bool { return !strings.ContainsRune(ofNames+".", r) }); end >= 0 {
		after = after[:end]
	}
	return before + "-" + after
}

// roots warns of an own PKI's roots that are no longer valid.
func (w *warner) roots(at string, a *v1alpha1.Authority) {
	roots, err := verify.ParseRoots([]byte(a.Certificate.Roots))
	if err != nil { // of which Validate tells
		return
	}
	for i, c := range roots {
		if !w.now.After(c.NotAfter) {
			continue
		}
		then := "counts at verified times only"
		if _, timed := trustRootOf(a); !timed {
			then = "nothing below it is valid"
		}
		begin, end := fmt.Sprintf("%s: certificate %d (", at, i+1), ") expired "+c.NotAfter.UTC().Format(time.DateOnly)+": "+then
		w.say("%s%s%s", begin, line(c.Subject.String(), maxWarning-len(begin)-len(end)), end)
	}
}

// issuerURL tells why an exact issuer can be nobody's.
func issuerURL(issuer string) error {
	u, err := url.Parse(issuer)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" {
		return nil
	}
	if isHost.MatchString(issuer) {
		return fmt.Errorf("is no URL: write https://%.200s", issuer)
	}
	return errors.New("is no URL that begins with https://: write it as the token's iss claim has it")
}

var isHost = regexp.MustCompile(`^[A-Za-z0-9.-]+\.[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9./_-]*)?$`)
