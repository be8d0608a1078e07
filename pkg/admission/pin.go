package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// WebhookPin is the name of the webhook that rewrites tags to digests.
const WebhookPin = "pin.pratique.dev"

// Pinned is one distinct reference by tag that policies want pinned.
type Pinned struct {
	Written string
	// Digest is what the tag stands for now; the zero Hash where that could not be found out.
	Digest v1.Hash
	// Unresolved says why not.
	Unresolved *verify.FetchError
}

// Pin resolves the tags that policies want pinned, whatever Pinning says: it is asked where the webhook object is installed, and
// around a change of that the one is there before or after the other. It asks no registry about an image that no such policy
// matches. What can't be told is left out: nothing rests on it, for whatever is a tag still is judged as a tag.
func (e *Evaluator) Pin(ctx context.Context, q Query) (out []Pinned) {
	defer func() {
		if p := recover(); p != nil {
			e.panicked(p)
			out = nil
		}
	}()
	if q.Namespace == "" || len(q.Images) > MaxImages {
		return nil
	}
	set, err := e.Policies.Set(ctx, q.Namespace)
	if err != nil {
		return nil
	}
	credentials := sync.OnceValues(func() (Opener, error) { return e.Registries.Open(ctx, q.Namespace, q.PullSecrets) })
	judged := group(q.Images)
	pins := make([]*Pinned, len(judged))
	var wg sync.WaitGroup
	for i, j := range judged {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if p := recover(); p != nil {
					e.panicked(p)
					pins[i] = nil
				}
			}()
			pins[i] = e.pin(ctx, set, credentials, j.Written)
		}()
	}
	wg.Wait()
	for _, p := range pins {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// pin resolves one reference, if it is to be pinned.
func (e *Evaluator) pin(ctx context.Context, set policy.Set, credentials func() (Opener, error), written string) *Pinned {
	ref, err := policy.ParseReference(written)
	if err != nil || !ref.ByTag() {
		return nil
	}
	if !set.Select(ref, v1.Hash{}).Pins() {
		return nil
	}
	img := policy.Image{Reference: ref}
	e.resolve(ctx, opening(credentials, ref), &img)
	if img.Digest == (v1.Hash{}) {
		return &Pinned{Written: written, Unresolved: img.Unresolved}
	}
	if !set.Select(ref, img.Digest).Pins() { // a policy that wants it pinned, or refused, by its digest
		return nil
	}
	return &Pinned{Written: written, Digest: img.Digest}
}

// Reference returns the reference with its digest: the tag stays, for people.
func (p Pinned) Reference() (string, error) {
	ref, err := policy.ParseReference(p.Written)
	if err != nil {
		return "", err
	}
	if p.Digest == (v1.Hash{}) {
		return "", errors.New("its digest isn't known")
	}
	return ref.WithDigest(p.Digest), nil
}

// Pins answers AdmissionReviews of Pods and their ephemeral containers by rewriting tags to digests: it is the handler of /pin. It
// never refuses: what it leaves a tag is judged as one by /validate. It rewrites what an update doesn't change just as little as
// templates, so that nobody who compares objects finds a difference that he didn't make.
type Pins struct {
	Evaluator *Evaluator
	Recorder  Recorder
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// Validate tells what the handler lacks.
func (h *Pins) Validate() error {
	if h.Evaluator == nil || h.Recorder == nil {
		return errors.New("the handler of pins needs an evaluator and a recorder")
	}
	return h.Evaluator.Validate()
}

// Handle implements admission.Handler.
func (h *Pins) Handle(ctx context.Context, req admission.Request) admission.Response {
	clock := h.Clock
	if clock == nil {
		clock = time.Now
	}
	start := clock()
	resp := admission.Allowed("")
	at, q, ok := pinnable(req)
	if !ok || len(at) == 0 {
		return resp
	}
	pins := h.Evaluator.Pin(ctx, q)
	if len(pins) == 0 {
		return resp
	}
	resp.Patches = patches(at, pins)
	resp.AuditAnnotations = pinAnnotations(at, pins)
	rec := recordOf(req, WebhookPin, start, clock().Sub(start))
	describePins(&rec, at, pins)
	h.Recorder.Record(rec)
	return resp
}

// pinnable reads which images of a request may be pinned: those that are new in it.
func pinnable(req admission.Request) ([]place, Query, bool) {
	q, d := query(req)
	if d != nil {
		return nil, Query{}, false // it can't be read, or changes no image
	}
	pod, err := decodePod(req.Object.Raw)
	if err != nil {
		return nil, Query{}, false
	}
	fresh := make(map[Image]bool, len(q.Images))
	for _, i := range q.Images {
		fresh[i] = true
	}
	var at []place
	for p := range places(&pod.Spec) {
		if fresh[p.Image] {
			at = append(at, p)
		}
	}
	return at, q, true
}

// patches returns the JSON Patch (RFC 6902) that puts digests in.
func patches(places []place, pins []Pinned) []jsonpatch.JsonPatchOperation {
	var out []jsonpatch.JsonPatchOperation
	for _, p := range pins {
		to, err := p.Reference()
		if err != nil {
			continue
		}
		for _, at := range places {
			if at.Reference == p.Written {
				out = append(out, jsonpatch.NewOperation("replace", at.pointer(), to))
			}
		}
	}
	return out
}

// pinAnnotations tells the API server's audit log what was pinned, and what could not be.
func pinAnnotations(places []place, pins []Pinned) map[string]string {
	out := map[string]string{}
	pinned, unresolved := annotation{sep: " "}, annotation{sep: " "}
	for _, p := range pins {
		for _, at := range places {
			if at.Reference != p.Written {
				continue
			}
			if to, err := p.Reference(); err == nil {
				pinned.add(func() string { return fmt.Sprintf("%s/%s=%s", at.List, clip(at.Name, maxPlace), ascii(to)) })
			} else {
				unresolved.add(func() string { return fmt.Sprintf("%s/%s=%s", at.List, clip(at.Name, maxPlace), ascii(p.Written)) })
			}
		}
	}
	put := func(key string, a *annotation) { a.put(out, key) }
	put("pinned", &pinned)
	put("unresolved", &unresolved)
	return out
}

// What a /pin answer is called in the log: everything was pinned, or something could not be.
const (
	wordPinned     = "pinned"
	wordUnresolved = "unresolved"
)

// describePins tells the log what was pinned, and what could not be, which goes first where there isn't room for both.
func describePins(rec *Record, places []place, pins []Pinned) {
	rec.Decision, rec.Reasons = wordPinned, []string{}
	for _, p := range pins {
		if p.Unresolved != nil {
			rec.Decision, rec.Detail = wordUnresolved, clip(p.Unresolved.Error(), maxLine)
			rec.Reasons = appendNew(rec.Reasons, string(policy.ReasonOf(p.Unresolved)))
		}
	}
	left := rec.room()
	var omitted omissions
	images := make([]*ImageRecord, len(pins))
	for _, word := range []string{wordUnresolved, wordPinned} {
		for i, p := range pins {
			if p.word() != word {
				continue
			}
			j := Judged{Written: p.Written, Digest: p.Digest}
			for _, at := range places {
				if at.Reference == p.Written {
					j.Images = append(j.Images, at.Image)
				}
			}
			if cost := j.size(); cost > left {
				omitted.add(Omission{Outcome: word})
			} else {
				left -= cost
				img := j.describe(nil)
				img.Refused = false // nor allowed: nothing is decided here
				images[i] = &img
			}
		}
	}
	for _, img := range images {
		if img != nil {
			rec.Images = append(rec.Images, *img)
		}
	}
	rec.Omitted = omitted.list
}

// word is what came of it.
func (p Pinned) word() string {
	if p.Digest == (v1.Hash{}) {
		return wordUnresolved
	}
	return wordPinned
}
