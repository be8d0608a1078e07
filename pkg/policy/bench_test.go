package policy_test

import (
	"fmt"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// held answers from what was found once, so that the Verifier has no part in what is measured.
func held(know policy.Knowledge) policy.Knowledge {
	type about struct {
		digest   v1.Hash
		question verify.Fingerprint
	}
	found := map[about]verify.Findings{}
	return func(digest v1.Hash, q verify.Question) verify.Findings {
		at := about{digest, q.Fingerprint()}
		f, ok := found[at]
		if !ok {
			f = know(digest, q)
			found[at] = f
		}
		return f
	}
}

// BenchmarkEachPlatform judges an index, whose SBOM names each of its children: that is to cost what the children cost one by one. A policy with every
// requirement over one image is in test/bench.
func BenchmarkEachPlatform(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, index, s := newWorld(b), verifytest.Digest("index"), verifytest.NewSigner(b, 1)
			var children []verify.Child
			var digests []v1.Hash
			for i := range n {
				c := verify.Child{Digest: verifytest.Digest(fmt.Sprint("child", i)), Platform: verify.NewPlatform("linux", "amd64", "")}
				children, digests = append(children, c), append(digests, c.Digest)
			}
			w.Index(index, children...)
			w.Attach(index, verifytest.Attest(s, predicate.TypeSPDX, []byte(spdx(time.Hour, [2]string{"zlib", "Zlib"}, [2]string{"bash", "GPL-3.0-or-later"})), digests...))
			p := requireSBOM(b, policy.SBOMRules{Licenses: &policy.LicenseRules{Deny: []string{"AGPL-*"}}}, verifytest.Authority(b, "release", s))
			img := pinned(b, index)
			img.Now = sbomDay()
			know := held(w.know(img))
			b.ReportAllocs()
			for b.Loop() {
				if v := p.Judge(img, know); v.Outcome() != policy.Satisfied {
					b.Fatalf("%+v", v)
				}
			}
		})
	}
}

// A policy is shared by all who judge by it, at once; the questions that it hands out are gathered into lists, which must not be each other's. Three
// authorities leave room for another question in a list that was made by appending.
func TestTheQuestionsOfAPolicyAreHandedOutAnewEachTime(t *testing.T) {
	t.Parallel()
	var by []verify.Authority
	for i := range byte(3) {
		by = append(by, verifytest.Authority(t, fmt.Sprint("promoter", i), verifytest.NewSigner(t, i+1)))
	}
	summary, err := policy.NewSummary(by, policy.SummaryRules{VerifierID: promoterID, InsteadOf: []string{"sbom"}, MaxAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	signed := requireSignature(t, 1, by[0])
	summed := *signed
	summed.AcceptSummary = summary
	for what, ask := range map[string]func() []verify.Question{
		"all": signed.Questions, "first": signed.First, "all with a summary": summed.Questions, "first with a summary": summed.First,
	} {
		a, b := ask(), ask()
		if len(a) == 0 || len(a) != len(b) {
			t.Fatalf("%s: %d and %d questions", what, len(a), len(b))
		}
		for _, list := range [][]verify.Question{a, b} {
			if &list[0] == &summary.Questions()[0] || &list[0] == &signed.Requirements[0].Questions()[0] {
				t.Errorf("%s: the list is the policy's own", what)
			}
		}
		if &a[0] == &b[0] {
			t.Errorf("%s: two callers have one list", what)
		}
	}
}
