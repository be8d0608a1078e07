package admission

import (
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// Judged is one distinct image reference with what came of it.
type Judged struct {
	// Images are the places of the Pod that name it.
	Images []Image
	// Written is the reference as written.
	Written string
	// Digest is the one that was judged; the zero Hash where none was resolved.
	Digest v1.Hash
	// Verdicts: one for each policy that had to judge it.
	Verdicts []policy.Verdict
	// Expected is how many verdicts there had to be.
	Expected int
}

// Refused tells whether the image is refused: an enforced verdict doesn't pass, or one is missing.
func (j Judged) Refused() bool {
	if j.Expected < 1 || len(j.Verdicts) != j.Expected {
		return true
	}
	for _, v := range j.Verdicts {
		if v.Mode == policy.Enforce && !v.Outcome().Passes() {
			return true
		}
	}
	return false
}

// Refusal refuses a request as a whole.
type Refusal struct {
	Reason policy.Reason
	Detail string
}

// Decision is the answer to one request. The zero Decision refuses.
type Decision struct {
	// Namespace is the request's: policies and Secrets come from there and nowhere else.
	Namespace string
	// Refusal, if set, refuses whatever the images are.
	Refusal *Refusal
	// Unchanged says that an update changes no image: it passes.
	Unchanged bool
	// Images are those that were judged.
	Images []Judged
}

// Refuse returns a decision that refuses a request as a whole.
func Refuse(reason policy.Reason, detail string) Decision {
	return Decision{Refusal: &Refusal{Reason: reason, Detail: detail}}
}

// Allowed tells whether the request passes: nothing refuses it as a whole, and either no image changed or there are images
// and none of them is refused.
func (d Decision) Allowed() bool {
	if d.Refusal != nil {
		return false
	}
	if d.Unchanged {
		return len(d.Images) == 0
	}
	return len(d.Images) > 0 && !slices.ContainsFunc(d.Images, Judged.Refused)
}

// Word returns the decision in one word, for the audit trail and metrics: allowed, refused, or unchanged.
func (d Decision) Word() string {
	switch {
	case !d.Allowed():
		return "refused"
	case d.Unchanged:
		return "unchanged"
	}
	return "allowed"
}

// Reasons returns the distinct reasons of the decision, in order: of what refuses, where it is refused; else of all results.
func (d Decision) Reasons() []policy.Reason {
	if d.Refusal != nil {
		return []policy.Reason{d.Refusal.Reason}
	}
	if d.Unchanged && d.Allowed() {
		return []policy.Reason{policy.ImagesUnchanged}
	}
	refused := !d.Allowed()
	var out []policy.Reason
	add := func(r policy.Reason) {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	for _, j := range d.Images {
		if refused && len(j.Verdicts) != j.Expected {
			add(policy.InternalError)
		}
		for _, v := range j.Verdicts {
			for _, r := range v.Results {
				if !refused || v.Mode == policy.Enforce && !r.Outcome.Passes() {
					add(r.Reason)
				}
			}
			for _, w := range v.Warnings {
				if !refused {
					add(w.Reason)
				}
			}
		}
	}
	if len(out) == 0 {
		out = append(out, policy.NoImages)
	}
	return out
}
