package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// ofEach is a requirement about each platform of an image, as those on SBOMs are.
type ofEach struct{ policy.Requirement }

func (ofEach) Name() string            { return "each" }
func (ofEach) Subject() policy.Subject { return policy.EachPlatform }

// shelf is a registry in memory, by which tags are never read.
type shelf struct{ *verifytest.Registry }

func (shelf) Resolve(context.Context, name.Tag) (name.Digest, error) {
	return name.Digest{}, errors.New("no tags here")
}

// Open implements admission.Registries.
func (s shelf) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(name.Repository) (admission.Registry, error) { return s, nil }, nil
}

func explainImage(t *testing.T, r *verifytest.Registry, image v1.Hash, require ...policy.Requirement) []explained {
	t.Helper()
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := policy.ParsePattern("**")
	if err != nil {
		t.Fatal(err)
	}
	set := policy.Set{Namespaced: []*policy.Policy{{
		Name: policy.Name{Namespace: "default", Name: "signed"}, Action: policy.ActionRequire,
		Images: policy.Matcher{Include: []policy.Pattern{pattern}}, Requirements: require,
	}}}
	e := &admission.Evaluator{Policies: fixed{set}, Registries: shelf{r}, Verifier: verifier, Clock: time.Now}
	d := decide(t.Context(), e, "default", []admission.Image{{List: argument, Name: "1", Reference: "registry.example/app@" + image.String()}})
	return explainer{e, inForce{set: set, objects: newObjects("default")}, "default", "pratique", nil}.all(t.Context(), d)
}

func mustSignature(t *testing.T, by ...verify.Authority) policy.Requirement {
	t.Helper()
	r, err := policy.NewSignature(by, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOfAnIndexThePlatformsAreExplainedWhosePapersAreWanted(t *testing.T) {
	t.Parallel()
	s, index := verifytest.NewSigner(t, 1), verifytest.Digest("index")
	amd, arm := verifytest.Digest("amd64"), verifytest.Digest("arm64")
	r := verifytest.NewRegistry()
	r.Index(index, verify.Child{Digest: amd}, verify.Child{Digest: arm})
	r.Sign(s, index)
	r.Sign(s, arm)
	release := verifytest.Authority(t, "release", s)
	signature := mustSignature(t, release)
	type line struct {
		About    string
		AskedBy  string
		Accepted int
	}
	told := func(image v1.Hash, require ...policy.Requirement) (out []line) {
		for _, e := range explainImage(t, r, image, require...) {
			for _, a := range e.Authorities {
				out = append(out, line{strings.TrimPrefix(e.About, "registry.example/app@"), strings.Join(a.AskedBy, ", "), a.Accepted})
			}
		}
		return out
	}
	const whole, each = "policy default/signed (signature)", "policy default/signed (each)"
	for what, tc := range map[string]struct {
		got, want []line
	}{
		"the image alone":     {told(index, signature), []line{{index.String(), whole, 1}}},
		"its platforms alone": {told(index, ofEach{signature}), []line{{amd.String(), each, 0}, {arm.String(), each, 1}}},
		"both":                {told(index, signature, ofEach{signature}), []line{{index.String(), whole, 1}, {amd.String(), each, 0}, {arm.String(), each, 1}}},
		"no index is its own only platform, and the same question is told once": {told(arm, signature, ofEach{signature}), []line{{arm.String(), whole + ", " + each, 1}}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestAnExplanationIsPlainTextWhateverStrangersWrote(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2Jevil\u202e\n"
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	r := verifytest.NewRegistry()
	typed := verifytest.Bundle(s, image, verify.CosignSign, "0.3")
	typed.Paper.ArtifactType = evil
	r.Attach(image, typed)
	r.Attach(image, verifytest.Bundle(s, image, evil, "0.3"))
	r.Attach(image, verifytest.SignPayload(s, []byte(`{"critical":{"type":"`+evil+`"}}`)))
	r.FailPlace(&verify.FetchError{Place: verify.PlaceAttestation, Host: evil, Err: errors.New(evil)})
	text := explainText(explainImage(t, r, image, mustSignature(t, verifytest.Authority(t, "release", s))))
	if !strings.Contains(text, "?[2Jevil??") {
		t.Errorf("what strangers wrote isn't told:\n%s", text)
	}
	for _, c := range text {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("%q is in the text", c)
		}
	}
}

func TestTheCertificateThatEndedIsNamedWithItsCure(t *testing.T) {
	t.Parallel()
	image, s := verifytest.Digest("image"), verifytest.NewSigstore(t)
	leaf := verifytest.Leaf{DNS: []string{"release.example.com"}}
	old, good := verifytest.NewPKI(t, verifytest.Before()), verifytest.NewPKI(t, verifytest.Always())
	ended := good.Intermediate(t, verifytest.Before())
	const until = " is valid from 2021-10-01T12:00:00Z to 2026-10-01T11:00:00Z, and is judged by "
	for what, tc := range map[string]struct {
		pki, from        *verifytest.PKI
		why, whose, cure string
	}{
		"the root": {old, old, "the root that it leads to has ended: ", old.Certificate().Subject.String(),
			"put the PKI's new root into the roots of authority corporate, and have it signed again by a certificate below that"},
		"one between": {good, ended, "a certificate of its chain has ended: ", ended.Certificate().Subject.String(),
			"have it signed again with a new certificate; with a timestamp, a signature outlives its certificate"},
	} {
		r := verifytest.NewRegistry()
		holder := tc.from.Issue(t, leaf)
		r.Attach(image, s.Sign(t, verifytest.Signing{Holder: &holder, Chain: true, Version: "0.2"}, image))
		p := explainImage(t, r, image, mustSignature(t, tc.pki.Authority(t, "corporate", verify.Terms{}, "release.example.com")))[0].Authorities[0].Papers[0]
		if p.Why != tc.why+tc.whose || !strings.HasPrefix(p.Detail, tc.whose+until) || p.Cure != tc.cure {
			t.Errorf("%s: why %q, detail %q, cure %q", what, p.Why, p.Detail, p.Cure)
		}
	}
}

func TestALongTextIsCutInTheMiddle(t *testing.T) {
	t.Parallel()
	if got := middle("short", 20); got != "short" {
		t.Errorf("%q", got)
	}
	if got := middle("mirror https://tuf.example could not be read: many words: see to it", 25); got != "mirror htt ...  see to it" {
		t.Errorf("%q", got)
	}
}

func TestTextIsWrappedAtSpaces(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":               {"", []string{""}},
		"what fits":             {"one two", []string{"one two"}},
		"what doesn't":          {"one two three", []string{"one two", "three"}},
		"two fewer on the rest": {"1234567890 12345678 1", []string{"1234567890", "12345678", "1"}},
		"a word that is longer": {"a 12345678901234567890 b", []string{"a", "12345678901234567890", "b"}},
		"several spaces":        {"a   b", []string{"a b"}},
	} {
		if diff := cmp.Diff(tc.want, wrap(tc.text, 10)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestEveryLackHasACure(t *testing.T) {
	t.Parallel()
	for l := verify.LackOther + 1; l <= verify.LackUse; l++ {
		if cureOf(l, explainedVoucher{Name: "ci"}) == "" {
			t.Errorf("no cure for %q", l)
		}
	}
}
