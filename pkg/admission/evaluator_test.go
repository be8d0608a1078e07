package admission_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func TestTheZeroDecisionRefuses(t *testing.T) {
	t.Parallel()
	if (admission.Decision{}).Allowed() {
		t.Error("the zero Decision allows")
	}
	if (admission.Decision{Images: []admission.Judged{{}}}).Allowed() {
		t.Error("an image that nobody judged is allowed")
	}
	fine := policy.Verdict{Results: []policy.Result{{Outcome: policy.Satisfied}}}
	for what, j := range map[string]admission.Judged{
		"a verdict is missing":       {Expected: 2, Verdicts: []policy.Verdict{fine}},
		"a verdict is one too many":  {Expected: 1, Verdicts: []policy.Verdict{fine, fine}},
		"a verdict has no results":   {Expected: 1, Verdicts: []policy.Verdict{{}}},
		"none were expected":         {Expected: 0},
		"one of two is undetermined": {Expected: 2, Verdicts: []policy.Verdict{fine, {Results: []policy.Result{{}}}}},
	} {
		if (admission.Decision{Images: []admission.Judged{j}}).Allowed() {
			t.Errorf("allowed although %s", what)
		}
	}
	if !(admission.Decision{Images: []admission.Judged{{Expected: 1, Verdicts: []policy.Verdict{fine}}}}).Allowed() {
		t.Error("what is fine is refused")
	}
	if (admission.Decision{Unchanged: true, Refusal: &admission.Refusal{}}).Allowed() {
		t.Error("a refusal is overridden")
	}
}

func TestRequestsThatNoPolicyNeedsToJudge(t *testing.T) {
	t.Parallel()
	s := sets{"payments": {Namespaced: []*policy.Policy{signedBy(t, "**", verifytest.NewSigner(t, 1))}}}
	e := newEvaluator(t, s, newHub())
	many := make([]admission.Image, admission.MaxImages+1)
	for what, tc := range map[string]struct {
		q    admission.Query
		want policy.Reason
	}{
		"no namespace":      {admission.Query{Images: containers("a.example/x")}, policy.InvalidRequest},
		"no image":          {admission.Query{Namespace: "payments"}, policy.NoImages},
		"too many images":   {admission.Query{Namespace: "payments", Images: many}, policy.TooManyImages},
		"unknown namespace": {admission.Query{Namespace: "nowhere", Images: containers("a.example/x")}, policy.NamespaceUnknown},
	} {
		d := e.Decide(t.Context(), tc.q)
		if d.Allowed() || d.Reasons()[0] != tc.want {
			t.Errorf("%s: allowed %t, reasons %v", what, d.Allowed(), d.Reasons())
		}
	}
}

type notReady struct{}

func (notReady) Set(context.Context, string) (policy.Set, error) {
	return policy.Set{}, admission.ErrNotReady
}

func TestRow18_BeforePoliciesAreSyncedEverythingIsRefused(t *testing.T) {
	t.Parallel()
	d := newEvaluator(t, notReady{}, newHub()).Decide(t.Context(), admission.Query{Namespace: "ns", Images: containers("a.example/x")})
	if d.Allowed() || d.Reasons()[0] != policy.NotReady {
		t.Errorf("allowed %t, reasons %v", d.Allowed(), d.Reasons())
	}
}

type panicking struct{}

func (panicking) Set(context.Context, string) (policy.Set, error) { panic("set") }

// broken panics where a registry is opened.
type broken struct{ *hub }

func (broken) Resolve(context.Context, name.Tag) (name.Digest, error) { panic("resolve") }

func (b broken) Open(context.Context, string, []string) (admission.Opener, error) {
	return always(b), nil
}

func TestRow96_APanicWhileDecidingIsARefusal(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	good := sets{"ns": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}
	for what, e := range map[string]*admission.Evaluator{
		"in the policies": newEvaluator(t, panicking{}, newHub()),
		"in the registry": newEvaluator(t, good, broken{newHub()}),
	} {
		for _, images := range [][]admission.Image{containers("a.example/x:1"), containers("a.example/x:1", "a.example/y:1")} {
			told := make(chan any, 4)
			e.Panicked = func(v any, _ []byte) { told <- v }
			d := e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: images})
			if d.Allowed() {
				t.Errorf("%s, %d images: allowed", what, len(images))
			}
			if len(told) == 0 {
				t.Errorf("%s: nobody was told", what)
			}
		}
	}
}

func TestRow88_AMovedTagIsJudgedByWhatItNamesNow(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	good, bad := verifytest.Digest("good"), verifytest.Digest("bad")
	h.Sign(s, good)
	h.tag("r.example/app:v1", good)
	e := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}, h)
	q := admission.Query{Namespace: "ns", Images: containers("r.example/app:v1")}
	if d := e.Decide(t.Context(), q); !d.Allowed() {
		t.Fatal(d.Message())
	}
	h.tag("r.example/app:v1", bad)
	d := e.Decide(t.Context(), q)
	if d.Allowed() || d.Images[0].Digest != bad {
		t.Errorf("allowed %t, judged by %s", d.Allowed(), d.Images[0].Digest)
	}
}

func TestRow90_WhatOneCredentialWasShownIsNotToldToAnother(t *testing.T) {
	t.Parallel()
	s, with, without := verifytest.NewSigner(t, 1), newHub(), newHub()
	image := verifytest.Digest("private")
	with.Creds = verify.Access{1}
	with.Sign(s, image)
	without.Fail(&verify.FetchError{Kind: verify.Unauthorized, Host: "r.example", Err: errors.New("401")})
	p := signedBy(t, "**", s)
	policies := sets{"a": {Namespaced: []*policy.Policy{p}}, "b": {Namespaced: []*policy.Policy{p}}}
	e := newEvaluator(t, policies, byNamespace{"a": with, "b": without})
	images := containers("r.example/app@" + image.String())
	if d := e.Decide(t.Context(), admission.Query{Namespace: "a", Images: images}); !d.Allowed() {
		t.Fatal(d.Message())
	}
	d := e.Decide(t.Context(), admission.Query{Namespace: "b", Images: images})
	if d.Allowed() || d.Reasons()[0] != policy.RegistryUnauthorized {
		t.Errorf("allowed %t, reasons %v", d.Allowed(), d.Reasons())
	}
}

// byNamespace gives each namespace a registry of its own.
type byNamespace map[string]*hub

func (b byNamespace) Open(_ context.Context, ns string, _ []string) (admission.Opener, error) {
	return always(b[ns]), nil
}

func TestARefusalRestsOnAFreshListing(t *testing.T) {
	t.Parallel()
	s1, s2, h := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), newHub()
	image := verifytest.Digest("image")
	h.Sign(s1, image)
	r, err := policy.NewSignature([]verify.Authority{verifytest.Authority(t, "both", s1, s2)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	p := signedBy(t, "**", s1)
	p.Requirements = []policy.Requirement{r}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	v, err := verify.NewVerifier(verify.Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	e := &admission.Evaluator{Policies: sets{"ns": {Namespaced: []*policy.Policy{p}}}, Registries: h, Verifier: v, Clock: time.Now}
	q := admission.Query{Namespace: "ns", Images: containers("r.example/app@" + image.String())}
	if e.Decide(t.Context(), q).Allowed() {
		t.Fatal("one signer of two was enough")
	}
	h.Sign(s2, image)
	now = now.Add(verify.NothingFor + time.Second) // what is held has evidence, and would be served for ten minutes
	if d := e.Decide(t.Context(), q); !d.Allowed() {
		t.Errorf("refused by an old listing: %s", d.Message())
	}
}

func TestAnImageThatNoPolicyMatchesCostsTheRegistryNothing(t *testing.T) {
	t.Parallel()
	h := newHub()
	p := signedBy(t, "other.example/**", verifytest.NewSigner(t, 1))
	p.Mode = policy.Audit
	e := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{p}, Unmatched: policy.UnmatchedAllow}}, h)
	d := e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: containers("r.example/app:v1"), PullSecrets: []string{"s"}})
	if !d.Allowed() {
		t.Fatal(d.Message())
	}
	if lists, _ := h.Counts(); lists+h.resolves+len(h.asked) != 0 {
		t.Errorf("%d listings, %d tags resolved, secrets %v", lists, h.resolves, h.asked)
	}
}

func TestPullSecretsAreReadOnceForAllImages(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	e := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}, h)
	d := e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: containers("r.example/a:1", "r.example/b:1", "r.example/c:1"), PullSecrets: []string{"pull"}})
	if d.Allowed() || len(h.asked) != 1 {
		t.Errorf("allowed %t, the secret was read %d times", d.Allowed(), len(h.asked))
	}
}

func TestEachDistinctImageIsJudgedOnce(t *testing.T) {
	t.Parallel()
	s, h := verifytest.NewSigner(t, 1), newHub()
	image := verifytest.Digest("image")
	h.Sign(s, image)
	e := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{signedBy(t, "**", s)}}}, h)
	ref := "r.example/app@" + image.String()
	d := e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: containers(ref, ref, ref, ref, ref, ref, ref, ref)})
	if !d.Allowed() || len(d.Images) != 1 || len(d.Images[0].Images) != 8 {
		t.Fatalf("%+v", d)
	}
	if lists, fetches := h.Counts(); lists != 1 || fetches != 1 {
		t.Errorf("%d listings, %d fetches for eight containers of one image", lists, fetches)
	}
}

func TestWarnAndAuditPoliciesNeverRefuse(t *testing.T) {
	t.Parallel()
	for mode, warns := range map[policy.Mode]bool{policy.Warn: true, policy.Audit: false} {
		p := signedBy(t, "**", verifytest.NewSigner(t, 1))
		p.Mode = mode
		e := newEvaluator(t, sets{"ns": {Namespaced: []*policy.Policy{p}, Unmatched: policy.UnmatchedAllow}}, newHub())
		d := e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: containers("r.example/app@" + verifytest.Digest("x").String())})
		if !d.Allowed() || (len(d.Warnings()) > 0) != warns {
			t.Errorf("%s: allowed %t, warnings %q", mode, d.Allowed(), d.Warnings())
		}
		if got := d.Annotations()["reasons"]; !strings.Contains(got, "NoTrustedSignature") {
			t.Errorf("%s: the audit trail has reasons %q", mode, got)
		}
	}
}
