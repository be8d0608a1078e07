package policy

import (
	"errors"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// variables are what a rule sees of one statement: all of it comes of Evidence, which only a Verifier makes, and of the request. They are looked up
// by name, and made when a rule asks for them. They are for one goroutine.
type variables struct {
	c Case
	p paper[*predicate.Whole]

	spent uint64 // what the rules did cost until now, on this statement
	ended error  // why the evaluation was ended; no step makes up for that
	turns []any  // what the loops of the rule that is evaluated are at

	subject map[string]any
	signer  map[string]any
	image   map[string]any
	request map[string]any
}

func newVariables(c Case, p paper[*predicate.Whole]) *variables {
	if c.rules == nil {
		c.rules = &allowance{}
	}
	return &variables{c: c, p: p}
}

var errNotSeen = errors.New("verifiedTime isn't known: no log and no timestamp authority saw the signature")

// given is the value of a variable.
func (v *variables) given(name string) (any, error) {
	switch name {
	case varPredicate:
		return v.p.facts.Value(), nil
	case varSubject:
		if v.subject == nil {
			v.subject = map[string]any{"digest": map[string]any{v.c.Digest.Algorithm: v.c.Digest.Hex}}
		}
		return v.subject, nil
	case varSigner:
		if v.signer == nil {
			by := v.p.evidence.SignedBy()
			v.signer = map[string]any{
				"name": v.p.by, "text": by.Text, "key": v.p.evidence.Key().String(), "issuer": by.Issuer, "subject": by.Subject,
			}
		}
		return v.signer, nil
	case varVerifiedTime:
		at := v.p.evidence.Time()
		if at.IsZero() {
			return nil, errNotSeen
		}
		return at, nil
	case varImage:
		if v.image == nil {
			v.image = imageVariable(v.c.Image)
		}
		return v.image, nil
	case varRequest:
		if v.request == nil {
			v.request = map[string]any{"namespace": v.c.Image.Namespace}
		}
		return v.request, nil
	}
	return nil, errors.New("there is no variable of this name")
}

// imageVariable is the image that runs, as it was named; its digest is the one that will run.
func imageVariable(img Image) map[string]any {
	digest := ""
	if img.resolved() {
		digest = img.Digest.String()
	}
	return map[string]any{
		"reference": img.Reference.String(), "registry": img.Reference.Host(), "repository": img.Reference.Path(),
		"tag": img.Reference.Tag(), "digest": digest,
	}
}
