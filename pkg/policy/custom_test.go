package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

const reviewType = "https://acme.example/review/v1"

// require returns a policy with one requirement.
func require(t testing.TB, r policy.Requirement, err error) *policy.Policy {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Policy{
		Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r},
	}
}

// review attaches a review of an image.
func (w world) review(by verifytest.Signer, image v1.Hash, predicate string) {
	w.Attach(image, verifytest.BundleOf(by, verifytest.StatementOf(reviewType, []byte(predicate), image), "0.3"))
}

func TestCustomRules(t *testing.T) {
	t.Parallel()
	ci, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image, other := verifytest.Digest("image"), verifytest.Digest("other")
	approved := policy.Rule{CEL: `predicate.approved == true`, Message: "not reviewed"}
	byTwo := policy.Rule{CEL: `size(predicate.reviewers) >= 2`, Message: "fewer than two reviewers"}
	for name, tt := range map[string]struct {
		papers  func(w world)
		rules   []policy.Rule
		outcome policy.Outcome
		reason  policy.Reason
		detail  string
	}{
		"every rule is true": {func(w world) { w.review(ci, image, `{"approved": true, "reviewers": ["a", "b"]}`) }, []policy.Rule{approved, byTwo},
			policy.Satisfied, policy.Verified, reviewType + ": 2 rules are true, in the statement by ci"},
		"one is false: its message is told": {func(w world) { w.review(ci, image, `{"approved": false, "reviewers": ["a", "b"]}`) }, []policy.Rule{approved, byTwo},
			policy.Violated, policy.RuleViolated, reviewType + ": not reviewed"},
		"both are false": {func(w world) { w.review(ci, image, `{"approved": false, "reviewers": []}`) }, []policy.Rule{approved, byTwo},
			policy.Violated, policy.RuleViolated, "not reviewed; fewer than two reviewers"},
		"of many messages the first few": {func(w world) { w.review(ci, image, `{"approved": false}`) }, []policy.Rule{approved, approved, approved, approved, approved},
			policy.Violated, policy.RuleViolated, "not reviewed; not reviewed; not reviewed; and 2 more"},
		"a field that isn't there refuses": {func(w world) { w.review(ci, image, `{"approved": true}`) }, []policy.Rule{approved, byTwo},
			policy.Violated, policy.RuleFailed, "rule 2 (fewer than two reviewers) can't be evaluated: no such key: reviewers"},
		"what is no truth value refuses": {func(w world) { w.review(ci, image, `{"approved": "yes"}`) }, []policy.Rule{{CEL: "predicate.approved", Message: "not reviewed"}},
			policy.Violated, policy.RuleFailed, "rule 1 (not reviewed) can't be evaluated: it is neither true nor false"},
		"an empty predicate refuses": {func(w world) { w.review(ci, image, `{}`) }, []policy.Rule{approved}, policy.Violated, policy.RuleFailed, "no such key"},
		"rules that cost too much together": {func(w world) { w.review(ci, image, `{"n": [`+strings.Repeat("1,", 30000)+`1]}`) },
			[]policy.Rule{{CEL: "predicate.n.all(x, x == 1)", Message: "a"}, {CEL: "predicate.n.all(x, x < 2)", Message: "b"}, {CEL: "predicate.n.all(x, x > 0)", Message: "c"}, {CEL: "predicate.n.all(x, x != 0)", Message: "d"}},
			policy.Violated, policy.RuleFailed, "cost too much on this statement"},
		"nobody stated it": {func(world) {}, []policy.Rule{approved}, policy.Violated, policy.NoStatement, reviewType + ": no statement found, wanted one by ci"},
		"of another type": {func(w world) {
			w.Attach(image, verifytest.BundleOf(ci, verifytest.StatementOf("https://acme.example/review/v2", []byte(`{"approved": true}`), image), "0.3"))
		}, []policy.Rule{approved}, policy.Violated, policy.NoStatement, "no statement found"},
		"about another image": {func(w world) {
			w.Attach(image, verifytest.BundleOf(ci, verifytest.StatementOf(reviewType, []byte(`{"approved": true}`), other), "0.3"))
		}, []policy.Rule{approved}, policy.Violated, policy.NoStatement, "no statement by ci; nearest: one for another digest"},
		"a name that is there twice": {func(w world) { w.review(ci, image, `{"approved": false, "approved": true}`) }, []policy.Rule{approved},
			policy.Violated, policy.PaperMalformed, "a name occurs twice"},
		"too large to be kept": {func(w world) { w.review(ci, image, `{"approved": true, "x": "`+strings.Repeat("x", 300<<10)+`"}`) }, []policy.Rule{approved},
			policy.Violated, policy.PaperMalformed, "bytes"},
		"of two without a time both count": {func(w world) {
			w.review(ci, image, `{"approved": true}`)
			w.review(ci, image, `{"approved": false}`)
		}, []policy.Rule{approved}, policy.Violated, policy.RuleViolated, "not reviewed"},
		"when it was seen is asked for, and nobody saw it": {func(w world) { w.review(ci, image, `{"approved": true}`) },
			[]policy.Rule{{CEL: `verifiedTime > timestamp("2026-01-01T00:00:00Z")`, Message: "too old"}},
			policy.Violated, policy.RuleFailed, "verifiedTime isn't known"},
		"who signed is told": {func(w world) { w.review(ci, image, `{"approved": true}`) },
			[]policy.Rule{{CEL: fmt.Sprintf(`signer.name == "ci" && signer.key == %q && signer.subject == ""`, ci.Key().Fingerprint()), Message: "other"}},
			policy.Satisfied, policy.Verified, "1 rule is true"},
		"what is judged is told": {func(w world) { w.review(ci, image, `{"digest": "sha256:`+image.Hex+`"}`) },
			[]policy.Rule{{CEL: `image.digest == predicate.digest`, Message: "other"},
				{CEL: `predicate.digest.endsWith(subject.digest.sha256) && request.namespace == "payments" && image.repository == "app"`, Message: "other"}},
			policy.Satisfied, policy.Verified, "2 rules are true"},
		"by a stranger": {func(w world) { w.review(stranger, image, `{"approved": true}`) }, []policy.Rule{approved}, policy.Violated, policy.NoStatement, "none by ci"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.papers(w)
			r, err := policy.NewCustom([]verify.Authority{verifytest.Authority(t, "ci", ci)}, reviewType, tt.rules)
			p := require(t, r, err)
			img := pinned(t, image)
			img.Namespace, img.Now = "payments", time.Now()
			got := p.Judge(img, w.know(img)).Results[0]
			if got.Outcome != tt.outcome || got.Reason != tt.reason || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("%v %s: %s\nwant %v %s: ...%s...", got.Outcome, got.Reason, got.Detail, tt.outcome, tt.reason, tt.detail)
			}
			if got.Requirement != "custom" {
				t.Errorf("it is called %q", got.Requirement)
			}
		})
	}
}

// Security.md row 86: what the rules of a policy cost on an image is bounded over all its requirements and statements.
func TestRow86_TheRulesOfAPolicyShareWhatTheyMayCost(t *testing.T) {
	t.Parallel()
	ci, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	w := newWorld(t)
	for i := range 3 { // without a time, so that each may be the newest
		w.review(ci, image, "["+strings.Repeat("1,", 40000+i)+"1]")
	}
	r, err := policy.NewCustom([]verify.Authority{verifytest.Authority(t, "ci", ci)}, reviewType, []policy.Rule{{CEL: "predicate.all(x, x == 1)", Message: "m"}})
	p := require(t, r, err)
	img := pinned(t, image)
	img.Now = time.Now()
	known := w.know(img)(image, r.Questions()[0])
	know := func(v1.Hash, verify.Question) verify.Findings { return known }
	for range 2 { // an image that is judged again has it all again
		if got := p.Judge(img, know); got.Outcome() != policy.Satisfied {
			t.Fatalf("one requirement: %v", got.Results)
		}
	}
	p.Requirements = slices.Repeat(p.Requirements, 6)
	got := p.Judge(img, know)
	if first := got.Results[0]; first.Outcome != policy.Satisfied {
		t.Errorf("the first of six: %v %s: %s", first.Outcome, first.Reason, first.Detail)
	}
	if last := got.Results[5]; last.Outcome != policy.Violated || last.Reason != policy.RuleFailed || !strings.Contains(last.Detail, "cost too much together on this image") {
		t.Errorf("the last of six: %v %s: %s, want that it costs too much", last.Outcome, last.Reason, last.Detail)
	}
}

// Security.md row 87: what a rule sees is what the authority signed. Whatever else lies beside it isn't reached, also not once the answer is held.
func TestRow87_RulesSeeVerifiedStatementsOnly(t *testing.T) {
	t.Parallel()
	ci, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image := verifytest.Digest("image")
	w := newWorld(t)
	w.review(stranger, image, `{"approved": true}`)
	unsigned := verifytest.BundleOf(ci, verifytest.StatementOf(reviewType, []byte(`{"approved": true}`), image), "0.3")
	unsigned.Payload = []byte(strings.Replace(string(unsigned.Payload), `"sig":"`, `"sig":"AAAA`, 1))
	w.Attach(image, unsigned)
	r, err := policy.NewCustom([]verify.Authority{verifytest.Authority(t, "ci", ci)}, reviewType, []policy.Rule{{CEL: "predicate.approved", Message: "not reviewed"}})
	p := require(t, r, err)
	img := pinned(t, image)
	img.Namespace, img.Now = "payments", time.Now()
	held := func(digest v1.Hash, q verify.Question) verify.Findings {
		d := img.Reference.Repository().Digest(digest.String())
		return w.v.Findings(t.Context(), w, d, []verify.Question{q}, verify.Held)[0]
	}
	for _, when := range []string{"cold", "held"} {
		if got := p.Judge(img, held).Results[0]; got.Outcome != policy.Violated || got.Reason != policy.NoStatement {
			t.Errorf("%s: %v %s: %s", when, got.Outcome, got.Reason, got.Detail)
		}
	}
	w.review(ci, image, `{"approved": false}`)
	again := newWorld(t)
	again.Registry = w.Registry
	if got := p.Judge(img, again.know(img)).Results[0]; got.Reason != policy.RuleViolated {
		t.Errorf("%v %s: %s, want that the signed one alone is read, which says no", got.Outcome, got.Reason, got.Detail)
	}
}

func TestCustomRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	by := []verify.Authority{verifytest.Authority(t, "ci", verifytest.NewSigner(t, 1))}
	good := []policy.Rule{{CEL: "predicate.approved", Message: "m"}}
	for name, tt := range map[string]struct {
		by   []verify.Authority
		kind string
		rule []policy.Rule
		want string
	}{
		"nobody":               {nil, reviewType, good, "by: names no authority"},
		"no type":              {by, "", good, "predicateType: empty"},
		"half a type":          {by, "review/v1", good, "predicateType: \"review/v1\" is no full URI"},
		"a scheme alone":       {by, "https://", good, "no full URI"},
		"many types":           {by, "https://acme.example/*", good, "without *"},
		"a signature":          {by, verify.CosignSign, good, "require signature"},
		"a type that is long":  {by, "https://acme.example/" + strings.Repeat("x", 512), good, "at most 512"},
		"no rules":             {by, reviewType, nil, "rules: 0, want 1 to 32"},
		"too many rules":       {by, reviewType, make([]policy.Rule, policy.MaxRules+1), "rules: 33"},
		"a rule without words": {by, reviewType, []policy.Rule{{CEL: "true"}}, "rules[0].message: empty"},
		"a rule that is wrong": {by, reviewType, []policy.Rule{good[0], {CEL: "predicate.a +", Message: "m"}}, "rules[1].cel: line 1, column 14"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := policy.NewCustom(tt.by, tt.kind, tt.rule); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestRulesAreNotEvaluatedForNobody(t *testing.T) {
	t.Parallel()
	ci, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	w := newWorld(t)
	w.review(ci, image, `{"n": [`+strings.Repeat("1,", 2000)+`1]}`)
	r, err := policy.NewCustom([]verify.Authority{verifytest.Authority(t, "ci", ci)}, reviewType, []policy.Rule{{CEL: "predicate.n.all(x, x == 1)", Message: "m"}})
	p := require(t, r, err)
	gone := make(chan struct{})
	img := pinned(t, image)
	img.Now, img.Done = time.Now(), gone
	if got := p.Judge(img, w.know(img)).Results[0]; got.Outcome != policy.Satisfied {
		t.Errorf("while somebody waits: %v %s: %s", got.Outcome, got.Reason, got.Detail)
	}
	close(gone)
	if got := p.Judge(img, w.know(img)).Results[0]; got.Outcome != policy.Undetermined || got.Reason != policy.Overtime {
		t.Errorf("when nobody waits any more: %v %s: %s, want undetermined Overtime", got.Outcome, got.Reason, got.Detail)
	}
}

// A policy is shared: its rules are evaluated by many at once, on different statements.
func TestRulesAreSharedByMany(t *testing.T) {
	t.Parallel()
	ci := verifytest.NewSigner(t, 1)
	w := newWorld(t)
	r, err := policy.NewCustom([]verify.Authority{verifytest.Authority(t, "ci", ci)}, reviewType, []policy.Rule{
		{CEL: `predicate.items.all(i, i.id.matches("^CVE-[0-9]+$"))`, Message: "m"}, {CEL: `image.digest == "sha256:" + subject.digest.sha256`, Message: "m"}, {CEL: `predicate.good`, Message: "m"}})
	p := require(t, r, err)
	var wg sync.WaitGroup
	for n := range 8 {
		image, good := verifytest.Digest(fmt.Sprint(n)), n%2 == 0
		w.review(ci, image, fmt.Sprintf(`{"good": %v, "items": [{"id": "CVE-%d"}]}`, good, n))
		wg.Go(func() {
			img := pinned(t, image)
			img.Namespace, img.Now = "payments", time.Now()
			for range 20 {
				if got := p.Judge(img, w.know(img)); got.Outcome().Passes() != good {
					t.Errorf("image %d: %v, want passing %v", n, got.Results, good)
				}
			}
		})
	}
	wg.Wait()
}

func ExampleNewCustom() {
	compiler, err := policy.NewRuleCompiler()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(compiler.Check(`predicate.approved == true && size(predicate.reviewers) >= 2`))
	fmt.Println(compiler.Check(`predicate.approvedAt > now`))
	// Output:
	// <nil>
	// line 1, column 24: undeclared reference to 'now' (in container '')
}
