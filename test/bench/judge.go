package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// judged is a policy with every requirement, an image with all the papers that it wants, and an engine that holds them.
type judged struct {
	registry *memoryRegistry
	engine   *admission.Evaluator
	policy   *policy.Policy
	image    policy.Image
	facts    policy.Knowledge
	leave    string // a predicate type to leave out
}

// memoryRegistry is a registry in memory that counts.
type memoryRegistry struct{ *verifytest.Registry }

// Resolve implements admission.Registry. Every image here is named by its digest.
func (memoryRegistry) Resolve(context.Context, name.Tag) (name.Digest, error) {
	return name.Digest{}, errors.New("no tag was asked for")
}

// requests is how often it was asked, for whatever.
func (r memoryRegistry) requests() int {
	lists, fetches := r.Counts()
	return lists + fetches + r.Shown()
}

// Open implements admission.Registries.
func (r *memoryRegistry) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(name.Repository) (admission.Registry, error) { return r, nil }, nil
}

// newJudged makes the papers, compiles the policy, and has every paper verified once.
func newJudged(ctx context.Context) (*judged, error) {
	ref, err := policy.ParseReference(repository + "@" + verifytest.Digest("image").String())
	if err != nil {
		return nil, err
	}
	j := &judged{image: policy.Image{Reference: ref, Digest: verifytest.Digest("image"), Namespace: namespace, Now: judgedAt()}}
	return j, j.renew(ctx)
}

// renew is newJudged, for an image without the papers of the kind to leave out.
func (j *judged) renew(ctx context.Context) error {
	keys, err := newSigners(authorities())
	if err != nil {
		return err
	}
	j.registry = &memoryRegistry{verifytest.NewRegistry()}
	if err := j.attach(keys); err != nil {
		return err
	}
	if j.engine, err = engineOf(ctx, everything(keys), j.registry); err != nil {
		return err
	}
	set, err := j.engine.Policies.Set(ctx, namespace)
	if err != nil || len(set.Namespaced) != 1 {
		return fmt.Errorf("%d policies: %w", len(set.Namespaced), err)
	}
	j.policy = set.Namespaced[0]
	j.hold(ctx)
	return nil
}

// engineOf is the webhook's engine over a document of policies and a registry in memory, at the time at which papers are judged.
func engineOf(ctx context.Context, document string, registry *memoryRegistry) (*admission.Evaluator, error) {
	bundle, err := compile.LoadFiles(compile.File{Name: "policy", Reader: strings.NewReader(document)})
	if err != nil {
		return nil, err
	}
	set, unresolved := bundle.Set(ctx, namespace, policy.UnmatchedDeny)
	if len(unresolved) > 0 {
		return nil, fmt.Errorf("policy: %v", unresolved)
	}
	verifier, err := verify.NewVerifier(verify.Options{Clock: judgedAt})
	if err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: only{set}, Registries: registry, Verifier: verifier, Clock: judgedAt}, nil
}

func newSigners(names []string) (map[string]signer, error) {
	out := map[string]signer{}
	for _, name := range names {
		s, err := newSigner()
		if err != nil {
			return nil, err
		}
		out[name] = s
	}
	return out, nil
}

// attach signs every paper of the image, and the image.
func (j *judged) attach(keys map[string]signer) error {
	image := j.image.Digest
	papers, err := papersOf(image)
	if err != nil {
		return err
	}
	for _, p := range append(papers, paper{"release", verify.CosignSign, []byte("{}")}) {
		if p.kind == j.leave {
			continue
		}
		c, err := keys[p.by].bundle(verifytest.StatementOf(p.kind, p.predicate, image))
		if err != nil {
			return err
		}
		j.registry.Attach(image, c)
	}
	return nil
}

// hold has the papers verified, and keeps what was found for who asks the policy alone.
func (j *judged) hold(ctx context.Context) {
	found := map[verify.Fingerprint]verify.Findings{}
	questions := j.policy.Questions()
	for i, f := range j.engine.Verifier.Findings(ctx, j.registry, j.image.Reference.Repository().Digest(j.image.Digest.String()), questions, verify.Held) {
		found[questions[i].Fingerprint()] = f
	}
	j.facts = func(_ v1.Hash, q verify.Question) verify.Findings { return found[q.Fingerprint()] }
}

// alone judges by the policy alone.
func (j *judged) alone(context.Context) (policy.Verdict, error) {
	return j.policy.Judge(j.image, j.facts), nil
}

// decided has the engine decide, by what the verifier holds.
func (j *judged) decided(ctx context.Context) (policy.Verdict, error) {
	d := j.engine.Decide(ctx, admission.Query{Namespace: namespace, Images: []admission.Image{
		{List: admission.Containers, Name: "app", Reference: j.image.Reference.String()},
	}})
	if len(d.Images) != 1 || len(d.Images[0].Verdicts) != 1 {
		return policy.Verdict{}, fmt.Errorf("not one verdict: %s", d.Message())
	}
	return d.Images[0].Verdicts[0], nil
}

// judging is a way to judge the image.
type judging func(context.Context) (policy.Verdict, error)

// passes judges once, and wants the image to pass.
func (judge judging) passes(ctx context.Context) error {
	v, err := judge(ctx)
	if err == nil && v.Outcome() != policy.Satisfied {
		err = fmt.Errorf("%s: %+v", v.Outcome(), v.Failing())
	}
	return err
}

// all judges once, and wants the image to pass every requirement that there is.
func (judge judging) all(ctx context.Context) error {
	v, err := judge(ctx)
	if err != nil {
		return err
	}
	for _, name := range append([]string{"signature", "approvals"}, policy.Summarizable()...) {
		if !slices.ContainsFunc(v.Results, func(r policy.Result) bool { return r.Requirement == name }) {
			return fmt.Errorf("%s wasn't judged", name)
		}
	}
	return judge.passes(ctx)
}

// perRound is how many judgements are timed at once.
const perRound = 2_000

// cost is what one judgement costs.
type cost struct {
	wall, cpu time.Duration
	allocs    uint64
	bytes     uint64
}

// costOf times a round.
func costOf(ctx context.Context, judge judging) (c cost, err error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, err := processorTimeOf()
	if err != nil {
		return c, err
	}
	begin := time.Now()
	for range perRound {
		if err := judge.passes(ctx); err != nil {
			return c, err
		}
	}
	c.wall = time.Since(begin) / perRound
	used, err := processorTimeOf()
	if err != nil {
		return c, err
	}
	runtime.ReadMemStats(&after)
	c.cpu = (used - cpu) / perRound
	c.allocs, c.bytes = (after.Mallocs-before.Mallocs)/perRound, (after.TotalAlloc-before.TotalAlloc)/perRound
	return c, nil
}

// judgements tells what a policy with every requirement costs on facts that are held.
func judgements(ctx context.Context, s settings, out io.Writer) error {
	j, err := newJudged(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, "\npolicy: every requirement, on facts that are held: 400 packages, 40 licences, 200 findings, 3 exceptions, VEX, CEL\n")
	fmt.Fprintf(out, "  %-28s %9s %9s %9s %9s %9s\n", "judged by", "time", "CPU", "allocs", "bytes", "requests")
	for _, way := range []struct {
		name  string
		judge judging
	}{{"the policy", j.alone}, {"the engine, cache and all", j.decided}} {
		if err := way.judge.all(ctx); err != nil {
			return err
		}
		before := j.registry.requests()
		var walls, cpus []time.Duration
		var allocs, bytes []int64
		for range s.rounds {
			c, err := costOf(ctx, way.judge)
			if err != nil {
				return err
			}
			walls, cpus = append(walls, c.wall), append(cpus, c.cpu)
			allocs, bytes = append(allocs, int64(c.allocs)), append(bytes, int64(c.bytes))
		}
		fmt.Fprintf(out, "  %-28s %9s %9s %9d %9d %9d\n", way.name, round(median(walls)), round(median(cpus)), median(allocs), median(bytes), j.registry.requests()-before)
	}
	fmt.Fprintln(out, "  time: at most 50 us by the policy, facts in hand; requests: to the registry, none")
	return nil
}
