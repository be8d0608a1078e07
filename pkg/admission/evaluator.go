package admission

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Registry reads registries with the credentials of one Pod.
type Registry interface {
	verify.Fetcher
	// Resolve returns the digest that a tag names now, by reading the manifest and hashing it. Errors are *verify.FetchError.
	Resolve(ctx context.Context, tag name.Tag) (name.Digest, error)
}

// PolicySource knows the policies of a namespace.
type PolicySource interface {
	// Set returns the policies in force in a namespace; an error refuses the request.
	Set(ctx context.Context, namespace string) (policy.Set, error)
}

// Registries reads the pull secrets that a Pod of the namespace names, once for all of its images.
type Registries interface {
	Open(ctx context.Context, namespace string, pullSecrets []string) (Opener, error)
}

// Opener returns the Registry by which to read a repository, with the credentials of one Pod.
type Opener func(repository name.Repository) (Registry, error)

// opener opens the registry of one image.
type opener func() (Registry, error)

// Query asks about the images of a namespace.
type Query struct {
	Namespace   string
	Images      []Image
	PullSecrets []string
	// Ahead says that tags which policies pin are still to be rewritten: the images are those of a template, or a question.
	Ahead bool
}

// Evaluator decides. All its fields are needed; Panicked may be nil. It must not be copied once it has decided.
type Evaluator struct {
	Policies   PolicySource
	Registries Registries
	Verifier   *verify.Verifier
	// Pinning says that the install rewrites tags to digests where policies want it, before Pods are judged.
	Pinning bool
	// Clock tells the time by which ages and exceptions are judged.
	Clock func() time.Time
	// Panicked is given the value and stack of a recovered panic.
	Panicked func(value any, stack []byte)

	turns turns
}

// Validate tells what the Evaluator lacks.
func (e *Evaluator) Validate() error {
	if e.Policies == nil || e.Registries == nil || e.Verifier == nil || e.Clock == nil {
		return errors.New("an evaluator needs policies, registries, a verifier and a clock")
	}
	return nil
}

// Decide judges every image by every policy that matches it. Images are judged side by side, each distinct reference once.
func (e *Evaluator) Decide(ctx context.Context, q Query) (out Decision) {
	e.decideFor(ctx, q, func(d Decision) { out = d })
	return out
}

// decideFor decides and hands the decision to use, which words it. It must not be kept: its turn ends with use, and the next's
// begins.
func (e *Evaluator) decideFor(ctx context.Context, q Query, use func(Decision)) {
	t := turn{in: &e.turns}
	defer t.end()
	use(e.recovered(ctx, q, &t))
}

// recovered decides, and refuses where that panics.
func (e *Evaluator) recovered(ctx context.Context, q Query, t *turn) (d Decision) {
	defer func() {
		if p := recover(); p != nil {
			e.panicked(p)
			d = Refuse(policy.InternalError, "the evaluation panicked; the request is refused")
			d.Namespace = q.Namespace
		}
	}()
	d = e.decide(ctx, q, t)
	d.Namespace = q.Namespace
	return d
}

func (e *Evaluator) decide(ctx context.Context, q Query, t *turn) Decision {
	switch {
	case q.Namespace == "":
		return Refuse(policy.InvalidRequest, "the request names no namespace")
	case len(q.Images) == 0:
		return Refuse(policy.NoImages, "the Pod names no image")
	case len(q.Images) > MaxImages:
		return Refuse(policy.TooManyImages, fmt.Sprintf("%d images: at most %d can be judged in time", len(q.Images), MaxImages))
	}
	set, err := e.Policies.Set(ctx, q.Namespace)
	if err != nil {
		return refuseForSet(err)
	}
	judged := group(q.Images)
	n := judgements(set, judged)
	if n > maxJudgements {
		return Refuse(policy.TooManyImages, fmt.Sprintf("%s by the policies about them are %d judgements: at most %d can be made in time", plural(len(judged), "image"), n, maxJudgements))
	}
	if err := t.begin(ctx, q.Namespace, n); err != nil {
		return Refuse(policy.Overloaded, err.Error()+"; try again")
	}
	credentials := sync.OnceValues(func() (Opener, error) { return e.Registries.Open(ctx, q.Namespace, q.PullSecrets) })
	like := policy.Image{Namespace: q.Namespace, Now: e.Clock(), Done: ctx.Done(), Exceptions: set.Exceptions, Pinning: e.pinning(q)}
	if len(judged) == 1 {
		e.judge(ctx, set, like, credentials, &judged[0])
		return Decision{Images: judged}
	}
	var wg sync.WaitGroup
	for i := range judged {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if p := recover(); p != nil {
					e.panicked(p)
					judged[i].Verdicts, judged[i].Expected = nil, 0 // an image without verdicts is refused
				}
			}()
			e.judge(ctx, set, like, credentials, &judged[i])
		}()
	}
	wg.Wait()
	return Decision{Images: judged}
}

// ErrNotReady and ErrNamespaceUnknown are what a PolicySource answers with when it can't tell the policies.
var (
	ErrNotReady         = errors.New("policies are not synced yet")
	ErrNamespaceUnknown = errors.New("the namespace's labels could not be read")
)

func refuseForSet(err error) Decision {
	switch {
	case errors.Is(err, ErrNotReady):
		return Refuse(policy.NotReady, "the policies have not been read yet; try again in a moment")
	case errors.Is(err, ErrNamespaceUnknown):
		return Refuse(policy.NamespaceUnknown, err.Error())
	}
	return Refuse(policy.NotReady, "the policies could not be read: "+err.Error())
}

// group gathers the images that are written alike, in order of first mention.
func group(images []Image) []Judged {
	at := make(map[string]int, len(images))
	var out []Judged
	for _, img := range images {
		i, ok := at[img.Reference]
		if !ok {
			i = len(out)
			at[img.Reference] = i
			out = append(out, Judged{Written: img.Reference})
		}
		out[i].Images = append(out[i].Images, img)
	}
	return out
}

// judge fills in what came of one image, which is like another but for its name.
func (e *Evaluator) judge(ctx context.Context, set policy.Set, img policy.Image, credentials func() (Opener, error), j *Judged) {
	ref, err := policy.ParseReference(j.Written)
	if err != nil {
		sel := set.SelectInvalid()
		j.take(sel)
		for _, p := range sel.Policies {
			j.Verdicts = append(j.Verdicts, p.Refuse(policy.Violated, policy.InvalidReference, err.Error()))
		}
		return
	}
	img.Reference = ref
	if h, ok := ref.Digest(); ok {
		img.Digest = h
	}
	open := opening(credentials, ref)
	sel := set.Select(ref, img.Digest)
	if needsDigest(sel, ref) {
		e.resolve(ctx, open, &img)
		sel = set.Select(ref, img.Digest)
	}
	j.Digest = img.Digest
	j.take(sel)
	j.Verdicts = append(j.Verdicts, e.verdicts(ctx, open, sel.Policies, img)...)
}

// opening opens the registry of one image.
func opening(credentials func() (Opener, error), ref policy.Reference) opener {
	return func() (Registry, error) {
		open, err := credentials()
		if err != nil {
			return nil, err
		}
		return open(ref.Repository())
	}
}

// pinning says what becomes of tags that policies want pinned.
func (e *Evaluator) pinning(q Query) policy.Pinning {
	switch {
	case !e.Pinning:
		return policy.PinningOff
	case q.Ahead:
		return policy.PinningAhead
	}
	return policy.PinningDone
}

// take notes how many verdicts there have to be, and the one that needs no policy.
func (j *Judged) take(sel policy.Selection) {
	j.Expected = sel.Verdicts()
	if sel.Unmatched != nil {
		j.Verdicts = append(j.Verdicts, *sel.Unmatched)
	}
}

func needsDigest(sel policy.Selection, ref policy.Reference) bool {
	if !ref.ByTag() {
		return false
	}
	if sel.NeedsDigest {
		return true
	}
	for _, p := range sel.Policies {
		if p.NeedsDigest(ref) {
			return true
		}
	}
	return false
}

func (e *Evaluator) resolve(ctx context.Context, open opener, img *policy.Image) {
	failed := func(err error) {
		var fe *verify.FetchError
		if !errors.As(err, &fe) {
			fe = &verify.FetchError{Kind: verify.Unavailable, Place: verify.PlaceManifest, Host: img.Reference.Host(), Err: err}
		}
		img.Unresolved = fe
	}
	registry, err := open()
	if err != nil {
		failed(err)
		return
	}
	digest, err := registry.Resolve(ctx, img.Reference.Repository().Tag(img.Reference.Tag()))
	if err != nil {
		failed(err)
		return
	}
	h, err := v1.NewHash(digest.DigestStr())
	if err != nil {
		failed(err)
		return
	}
	img.Digest = h
}

// verdicts judges the image by each policy: first by what is known, and, before anyone is refused, by what was listed anew.
func (e *Evaluator) verdicts(ctx context.Context, open opener, policies []*policy.Policy, img policy.Image) []policy.Verdict {
	out := make([]policy.Verdict, len(policies))
	know := e.know(ctx, open, policies, img, verify.Held)
	var again []*policy.Policy
	var at []int
	for i, p := range policies {
		out[i] = p.Judge(img, know)
		if !out[i].Outcome().Passes() && len(p.Questions()) > 0 {
			again, at = append(again, p), append(at, i)
		}
	}
	if len(again) == 0 || img.Digest == (v1.Hash{}) {
		return out
	}
	know = e.know(ctx, open, again, img, verify.Anew)
	for n, i := range at {
		out[i] = again[n].Judge(img, know)
	}
	return out
}

func (e *Evaluator) panicked(value any) {
	if e.Panicked != nil {
		e.Panicked(value, debug.Stack())
	}
}
