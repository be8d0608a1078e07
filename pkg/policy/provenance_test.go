package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// saying is an in-toto Statement of a predicate about an image.
func saying(image v1.Hash, predicateType, predicate string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`, image.Hex, predicateType, predicate)
}

// sayingBy is the same, by a bare key.
func sayingBy(by verifytest.Signer, image v1.Hash, predicateType, predicate string) verify.Candidate {
	return verifytest.BundleOf(by, saying(image, predicateType, predicate), "0.3")
}

// nowFor is when images are judged here.
func nowFor() time.Time { return verifytest.Then().Add(time.Hour) }

// asked has a policy of one requirement judge an image of registry.example/app, from the papers that are listed with it.
func asked(t testing.TB, r policy.Requirement, image v1.Hash, papers ...verify.Candidate) policy.Result {
	t.Helper()
	w := newWorld(t)
	for _, p := range papers {
		w.Attach(image, p)
	}
	return askedIn(t, w, r, image)
}

func askedIn(t testing.TB, w world, r policy.Requirement, image v1.Hash) policy.Result {
	t.Helper()
	img := pinned(t, image)
	img.Now, img.Namespace = nowFor(), "payments"
	p := policy.Policy{
		Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire,
		Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}, Requirements: []policy.Requirement{r},
	}
	v := p.Judge(img, w.know(img))
	if len(v.Results) != 1 {
		t.Fatalf("%d results: %+v", len(v.Results), v.Results)
	}
	return v.Results[0]
}

// verdictIs holds a result to an outcome, a reason and parts of its detail.
func verdictIs(t *testing.T, got policy.Result, outcome policy.Outcome, reason policy.Reason, says ...string) {
	t.Helper()
	if got.Outcome != outcome || got.Reason != reason {
		t.Errorf("%v %s (%s), want %v %s", got.Outcome, got.Reason, got.Detail, outcome, reason)
	}
	for _, s := range says {
		if !strings.Contains(got.Detail, s) {
			t.Errorf("%q: want %q in it", got.Detail, s)
		}
	}
}

const (
	releaseWorkflow = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main"
	githubType      = "https://actions.github.io/buildtypes/workflow/v1"
)

// provenanceOf is provenance as GitHub's action writes it, with a time.
func provenanceOf(builder, repository, ref, finished string) string {
	return fmt.Sprintf(`{"buildDefinition":{"buildType":%q,"externalParameters":{"workflow":{"ref":%q,"repository":%q,"path":".github/workflows/release.yaml"}},
	 "resolvedDependencies":[{"uri":"git+%s@%s","digest":{"gitCommit":"3f786850e387550fdab836ed7e6dc881de23001b"}}]},
	 "runDetails":{"builder":{"id":%q},"metadata":{"invocationId":"1","finishedOn":%q}}}`, githubType, ref, repository, repository, ref, builder, finished)
}

func provenanceBy(t testing.TB, rules policy.ProvenanceRules, by ...verify.Authority) policy.Requirement {
	t.Helper()
	r, err := policy.NewProvenance(by, rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantedProvenance() policy.ProvenanceRules {
	return policy.ProvenanceRules{
		Builders: []string{releaseWorkflow}, Sources: []string{"git+https://github.com/acme/app"}, Refs: []string{"refs/heads/main"}, BuildTypes: []string{githubType},
	}
}

func TestProvenanceSaysByWhomAndFromWhat(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	key, stranger := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	ci := verifytest.Authority(t, "ci", key)
	const (
		early = "2026-10-01T10:00:00Z"
		late  = "2026-10-01T11:00:00Z"
		ahead = "2026-10-01T13:06:00Z"
		app   = "https://github.com/acme/app"
		main  = "refs/heads/main"
	)
	by := func(text string) verify.Candidate { return sayingBy(key, image, predicate.TypeProvenance1, text) }
	good := by(provenanceOf(releaseWorkflow, app, main, late))
	patterns := policy.ProvenanceRules{
		BuilderPatterns: []string{`https://github\.com/acme/[^/]+/\.github/workflows/release\.yaml@refs/heads/main`}, SourcePatterns: []string{`https://github\.com/acme/[^/]+`},
		RefPatterns: []string{`refs/(heads/main|tags/v.+)`}, BuildTypePatterns: []string{`https://actions\.github\.io/buildtypes/workflow/v1`},
	}
	refs := policy.ProvenanceRules{Refs: []string{main}}
	for what, tc := range map[string]struct {
		rules   policy.ProvenanceRules
		papers  []verify.Candidate
		outcome policy.Outcome
		reason  policy.Reason
		says    string
	}{
		"all as wanted":                         {wantedProvenance(), []verify.Candidate{good}, policy.Satisfied, policy.Verified, "built by " + releaseWorkflow + ", from git+https://github.com/acme/app at refs/heads/main, on the word of ci"},
		"all as patterns want it":               {patterns, []verify.Candidate{good}, policy.Satisfied, policy.Verified, "built by"},
		"anything, where nothing is wanted":     {policy.ProvenanceRules{}, []verify.Candidate{by(provenanceOf("b", "https://h/p", "x", late))}, policy.Satisfied, policy.Verified, "built by b"},
		"none":                                  {wantedProvenance(), nil, policy.Violated, policy.NoProvenance, "no provenance statement found, wanted one by ci"},
		"by a stranger":                         {wantedProvenance(), []verify.Candidate{sayingBy(stranger, image, predicate.TypeProvenance1, provenanceOf(releaseWorkflow, app, main, late))}, policy.Violated, policy.NoProvenance, "none by ci"},
		"another builder":                       {wantedProvenance(), []verify.Candidate{by(provenanceOf("https://github.com/evil/app/.github/workflows/release.yaml@refs/heads/main", app, main, late))}, policy.Violated, policy.WrongBuilder, "built by https://github.com/evil/app/.github/workflows/release.yaml@refs/heads/main, wanted " + releaseWorkflow},
		"the builder at another ref":            {wantedProvenance(), []verify.Candidate{by(provenanceOf(strings.Replace(releaseWorkflow, "main", "next", 1), app, main, late))}, policy.Violated, policy.WrongBuilder, "@refs/heads/next, wanted"},
		"another source":                        {wantedProvenance(), []verify.Candidate{by(provenanceOf(releaseWorkflow, "https://github.com/acme/app2", main, late))}, policy.Violated, policy.WrongSource, "built from git+https://github.com/acme/app2, wanted git+https://github.com/acme/app"},
		"a source that only begins so":          {patterns, []verify.Candidate{by(provenanceOf(releaseWorkflow, "https://github.com/acme/app/evil", main, late))}, policy.Violated, policy.WrongSource, "built from git+https://github.com/acme/app/evil"},
		"another ref":                           {wantedProvenance(), []verify.Candidate{by(provenanceOf(releaseWorkflow, app, "refs/heads/evil", late))}, policy.Violated, policy.WrongRef, "built from ref refs/heads/evil, wanted refs/heads/main"},
		"everything wrong at once":              {wantedProvenance(), []verify.Candidate{by(provenanceOf("b", "https://h/p", "x", late))}, policy.Violated, policy.WrongBuilder, "built by b, wanted " + releaseWorkflow + "; built from git+https://h/p, wanted git+https://github.com/acme/app; built from ref x"},
		"another build type":                    {wantedProvenance(), []verify.Candidate{by(strings.Replace(provenanceOf(releaseWorkflow, app, main, late), githubType, "https://ci.example.com/job", 1))}, policy.Violated, policy.WrongBuildType, "of build type https://ci.example.com/job, wanted " + githubType},
		"a source where the type isn't known":   {policy.ProvenanceRules{Sources: []string{app}}, []verify.Candidate{by(strings.Replace(provenanceOf(releaseWorkflow, app, main, late), githubType, "https://ci.example.com/job", 1))}, policy.Violated, policy.WrongSource, "it doesn't say from which repository, as far as is known of build type https://ci.example.com/job"},
		"no ref":                                {refs, []verify.Candidate{by(strings.ReplaceAll(strings.Replace(provenanceOf(releaseWorkflow, app, "", late), `"ref":"",`, "", 1), "@\"", "\""))}, policy.Violated, policy.WrongRef, "it doesn't say from which ref, wanted refs/heads/main"},
		"another source hidden by an older":     {wantedProvenance(), []verify.Candidate{by(provenanceOf(releaseWorkflow, app, main, early)), by(provenanceOf(releaseWorkflow, "https://github.com/evil/app", main, late))}, policy.Violated, policy.WrongSource, "evil"},
		"the newer is good":                     {wantedProvenance(), []verify.Candidate{good, by(provenanceOf(releaseWorkflow, "https://github.com/evil/app", main, early))}, policy.Satisfied, policy.Verified, ""},
		"one dated ahead":                       {wantedProvenance(), []verify.Candidate{by(provenanceOf(releaseWorkflow, app, main, ahead))}, policy.Violated, policy.DatedAhead, "ahead of this clock"},
		"one that can't be read":                {wantedProvenance(), []verify.Candidate{by(`{}`)}, policy.Violated, policy.PaperMalformed, "runDetails.builder.id: missing"},
		"one about another image":               {wantedProvenance(), []verify.Candidate{sayingBy(key, verifytest.Digest("other"), predicate.TypeProvenance1, provenanceOf(releaseWorkflow, app, main, late))}, policy.Violated, policy.NoProvenance, "another digest"},
		"half of it in one and half in another": {wantedProvenance(), []verify.Candidate{by(provenanceOf(releaseWorkflow, "https://github.com/evil/app", main, late)), by(provenanceOf("b", app, main, late))}, policy.Violated, policy.WrongSource, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			got := asked(t, provenanceBy(t, tc.rules, ci), image, tc.papers...)
			if what == "half of it in one and half in another" {
				if got.Outcome != policy.Violated { // either of the two decides
					t.Errorf("%+v", got)
				}
				return
			}
			verdictIs(t, got, tc.outcome, tc.reason, tc.says)
		})
	}
}

func TestRow83_TheRightRepositoryBuiltByAnotherBuilderIsRefused(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	key := verifytest.NewSigner(t, 1)
	const other = "https://github.com/acme/app/.github/workflows/anything.yaml@refs/heads/main"
	paper := sayingBy(key, image, predicate.TypeProvenance1, provenanceOf(other, "https://github.com/acme/app", "refs/heads/main", "2026-10-01T11:00:00Z"))
	got := asked(t, provenanceBy(t, wantedProvenance(), verifytest.Authority(t, "ci", key)), image, paper)
	verdictIs(t, got, policy.Violated, policy.WrongBuilder, "built by "+other+", wanted "+releaseWorkflow)
}

// TestRow83_ASignerVouchesOnlyForTheBuilderThatItIs has workflows sign provenance that names builders.
func TestRow83_ASignerVouchesOnlyForTheBuilderThatItIs(t *testing.T) {
	t.Parallel()
	image, s := verifytest.Digest("image"), verifytest.NewSigstore(t)
	const (
		generator = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0"
		job       = "https://gitlab.com/acme/web/app//.gitlab-ci.yml@refs/heads/main"
	)
	github := func(subject string, extensions map[int]string) verifytest.Person {
		return verifytest.Person{Subject: subject, Issuer: "https://token.actions.githubusercontent.com", Extensions: extensions}
	}
	own := github(releaseWorkflow, map[int]string{9: releaseWorkflow, 11: "github-hosted", 18: releaseWorkflow})
	reused := github(generator, map[int]string{9: generator, 11: "github-hosted", 18: releaseWorkflow})
	old := github(releaseWorkflow, nil)
	gitlab := verifytest.Person{Subject: job, Issuer: "https://gitlab.com", Extensions: map[int]string{9: job, 11: "gitlab-hosted", 18: job}}
	person := verifytest.Person{Subject: "dev@example.com", Issuer: "https://accounts.example.com"}
	tekton := verifytest.Person{Subject: "https://kubernetes.io/namespaces/tekton-chains/serviceaccounts/tekton-chains-controller", Issuer: "https://kubernetes.default.svc"}
	for what, tc := range map[string]struct {
		signer  verifytest.Person
		builder string
		may     bool
	}{
		"a workflow of itself":                                  {own, releaseWorkflow, true},
		"a workflow of another of its repository":               {own, strings.Replace(releaseWorkflow, "release", "other", 1), false},
		"a workflow of itself at another ref":                   {own, strings.Replace(releaseWorkflow, "main", "next", 1), false},
		"a workflow of the trusted generator":                   {own, generator, false},
		"a workflow of GitHub's runners":                        {own, "https://github.com/actions/runner/github-hosted", true},
		"a workflow of runners that it didn't run on":           {own, "https://github.com/actions/runner/self-hosted", false},
		"a workflow of runners of no kind":                      {own, "https://github.com/actions/runner", false},
		"a workflow of a run in its repository":                 {own, "https://github.com/acme/app/actions/runs/4711", true},
		"a workflow of an attempt of a run in its repository":   {own, "https://github.com/acme/app/actions/runs/4711/attempts/2", true},
		"a workflow of a run in another repository":             {own, "https://github.com/acme/app2/actions/runs/4711", false},
		"a workflow of something else in its repository":        {own, "https://github.com/acme/app/actions/runs/4711/evil", false},
		"a reused workflow of itself":                           {reused, generator, true},
		"a reused workflow of the one that called it":           {reused, releaseWorkflow, true},
		"a reused workflow of a run in the caller's repository": {reused, "https://github.com/acme/app/actions/runs/4711", true},
		"a reused workflow of a run in its own repository":      {reused, "https://github.com/slsa-framework/slsa-github-generator/actions/runs/4711", false},
		"a certificate from before the extensions, of itself":   {old, releaseWorkflow, true},
		"a certificate from before the extensions, of another":  {old, generator, false},
		"a certificate from before the extensions, of runners":  {old, "https://github.com/actions/runner/github-hosted", false},
		"a job of GitLab of itself":                             {gitlab, job, true},
		"a job of GitLab of a runner of its project":            {gitlab, "https://gitlab.com/acme/web/app/-/runners/17", true},
		"a job of GitLab of a runner of its group":              {gitlab, "https://gitlab.com/groups/acme/web/-/runners/17", true},
		"a job of GitLab of a runner of the group above":        {gitlab, "https://gitlab.com/groups/acme/-/runners/17", true},
		"a job of GitLab of a runner of the instance":           {gitlab, "https://gitlab.com/-/runners/17", true},
		"a job of GitLab of a runner of another project":        {gitlab, "https://gitlab.com/acme/other/-/runners/17", false},
		"a job of GitLab of a runner of another group":          {gitlab, "https://gitlab.com/groups/evil/-/runners/17", false},
		"a job of GitLab of a runner of a group that begins so": {gitlab, "https://gitlab.com/groups/acm/-/runners/17", false},
		"a job of GitLab of a runner of another instance":       {gitlab, "https://gitlab.evil.example/acme/web/app/-/runners/17", false},
		"a job of GitLab of no runner's number":                 {gitlab, "https://gitlab.com/acme/web/app/-/runners/17/x", false},
		"a job of GitLab of GitHub's runners":                   {gitlab, "https://github.com/actions/runner/gitlab-hosted", false},
		"a person, whose pair with builders the policy makes":   {person, generator, true},
		"a service, whose pair with builders the policy makes":  {tekton, "https://tekton.dev/chains/v2", true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ci := s.Authority(t, "ci", tc.signer.Issuer, tc.signer.Subject)
			text := provenanceOf(tc.builder, "https://github.com/acme/app", "refs/heads/main", "2026-10-01T11:00:00Z")
			by := verifytest.Signing{Person: &tc.signer, Logs: []verifytest.Log{verifytest.RekorV1}}
			paper := verifytest.Pack(s.Envelope(t, by, saying(image, predicate.TypeProvenance1, text)))
			got := asked(t, provenanceBy(t, policy.ProvenanceRules{Builders: []string{tc.builder}}, ci), image, paper)
			if tc.may {
				verdictIs(t, got, policy.Satisfied, policy.Verified, "built by "+tc.builder)
				return
			}
			verdictIs(t, got, policy.Violated, policy.BuilderNotSigner, "it names "+tc.builder+" as the builder, but was signed by https://", "who may vouch only for itself")
			wanted := strings.Replace(releaseWorkflow, "acme", "acme2", 1)
			got = asked(t, provenanceBy(t, policy.ProvenanceRules{Builders: []string{wanted}}, ci), image, paper)
			if want := "built by " + tc.builder + ", wanted " + wanted; got.Outcome != policy.Violated || got.Reason != policy.WrongBuilder || got.Detail != want {
				t.Errorf("%s %s: %s\nwant %s, for that is enough", got.Outcome, got.Reason, got.Detail, want)
			}
		})
	}
}

func TestProvenanceOfAnIndexIsOfEachPlatform(t *testing.T) {
	t.Parallel()
	index, amd, arm := verifytest.Digest("index"), verifytest.Digest("amd64"), verifytest.Digest("arm64")
	key := verifytest.NewSigner(t, 1)
	r := provenanceBy(t, wantedProvenance(), verifytest.Authority(t, "ci", key))
	good := provenanceOf(releaseWorkflow, "https://github.com/acme/app", "refs/heads/main", "2026-10-01T11:00:00Z")
	w := newWorld(t)
	w.Index(index, verify.Child{Digest: amd, Platform: verify.NewPlatform("linux", "amd64", "")}, verify.Child{Digest: arm, Platform: verify.NewPlatform("linux", "arm64", "")})
	w.Attach(amd, sayingBy(key, amd, predicate.TypeProvenance1, good))
	w.Attach(index, sayingBy(key, index, predicate.TypeProvenance1, good))
	verdictIs(t, askedIn(t, w, r, index), policy.Violated, policy.NoProvenance, "linux/arm64")
	w = newWorld(t)
	w.Index(index, verify.Child{Digest: amd, Platform: verify.NewPlatform("linux", "amd64", "")}, verify.Child{Digest: arm, Platform: verify.NewPlatform("linux", "arm64", "")})
	w.Attach(amd, sayingBy(key, amd, predicate.TypeProvenance1, good))
	w.Attach(arm, sayingBy(key, arm, predicate.TypeProvenance1, good))
	verdictIs(t, askedIn(t, w, r, index), policy.Satisfied, policy.Verified, "for 2 platforms")
}

func TestProvenanceIsNotKnownWhileAPlaceDoesNotAnswer(t *testing.T) {
	t.Parallel()
	image, key := verifytest.Digest("image"), verifytest.NewSigner(t, 1)
	w := newWorld(t)
	w.Attach(image, sayingBy(key, image, predicate.TypeProvenance1, provenanceOf(releaseWorkflow, "https://github.com/acme/app", "refs/heads/main", "2026-10-01T11:00:00Z")))
	w.FailPlace(&verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceAttestation, Err: fmt.Errorf("503")})
	verdictIs(t, askedIn(t, w, provenanceBy(t, wantedProvenance(), verifytest.Authority(t, "ci", key)), image), policy.Undetermined, policy.RegistryUnavailable)
}

func TestProvenanceRulesThatCanNotBeMeantAreErrorsThatNameTheField(t *testing.T) {
	t.Parallel()
	ci := verifytest.Authority(t, "ci", verifytest.NewSigner(t, 1))
	for want, rules := range map[string]policy.ProvenanceRules{
		"builders[1]: empty":             {Builders: []string{"b", ""}},
		"sources[0]: empty":              {Sources: []string{""}},
		"refs: more than 64":             {Refs: make65("refs/heads/x")},
		"builderPatterns[0]: is no RE2":  {BuilderPatterns: []string{"a("}},
		"sourcePatterns[0]: is no RE2":   {SourcePatterns: []string{"a)|(b"}},
		"refPatterns[0]: empty":          {RefPatterns: []string{""}},
		"refPatterns[0]: matches any":    {RefPatterns: []string{".*"}},
		"sourcePatterns[0]: matches any": {SourcePatterns: []string{"git.*|"}},
		"buildTypePatterns: more than":   {BuildTypePatterns: make65("x")},
		"builderPatterns[0]: 1025 bytes": {BuilderPatterns: []string{strings.Repeat("a", 1025)}},
		`builderPatterns[0]: can't be`:   {BuilderPatterns: []string{`\Qabc`}},
	} {
		if r, err := policy.NewProvenance([]verify.Authority{ci}, rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v: want an error with %q", r, err, want)
		}
	}
	if _, err := policy.NewProvenance(nil, policy.ProvenanceRules{}); err == nil || !strings.Contains(err.Error(), "by: names no authority") {
		t.Error(err)
	}
}

func make65(s string) (out []string) {
	for range 65 {
		out = append(out, s)
	}
	return out
}
