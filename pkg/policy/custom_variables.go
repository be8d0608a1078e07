package policy

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// variables are what a rule sees of one statement: all of it comes of Evidence, which only a Verifier makes, and of the request. They are looked up
// by name, and made when a rule asks for them. They are for one goroutine.
type variables struct {
	c      Case
	p      paper[*predicate.Whole]
	noTime bool // verifiedTime was asked for, and isn't known

	spent  uint64    // what the rules did cost until now
	values []ref.Val // what came of each step of the rule that is evaluated

	subject map[string]map[string]string
	signer  map[string]string
	image   map[string]string
	request map[string]string
}

var _ cel.Activation = (*variables)(nil)

func newVariables(c Case, p paper[*predicate.Whole]) *variables { return &variables{c: c, p: p} }

// Parent implements cel.Activation.
func (v *variables) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case meterName:
		return v, true
	case varPredicate:
		return v.p.facts.Value(), true
	case varSubject:
		if v.subject == nil {
			v.subject = map[string]map[string]string{"digest": {v.c.Digest.Algorithm: v.c.Digest.Hex}}
		}
		return v.subject, true
	case varSigner:
		if v.signer == nil {
			by := v.p.evidence.SignedBy()
			v.signer = map[string]string{
				"name": v.p.by, "text": by.Text, "key": v.p.evidence.Key().String(), "issuer": by.Issuer, "subject": by.Subject,
			}
		}
		return v.signer, true
	case varVerifiedTime:
		at := v.p.evidence.Time()
		v.noTime = at.IsZero()
		return at, !v.noTime
	case varImage:
		if v.image == nil {
			v.image = imageVariable(v.c.Image)
		}
		return v.image, true
	case varRequest:
		if v.request == nil {
			v.request = map[string]string{"namespace": v.c.Image.Namespace}
		}
		return v.request, true
	}
	return nil, false
}

// imageVariable is the image that runs, as it was named; its digest is the one that will run.
func imageVariable(img Image) map[string]string {
	digest := ""
	if img.resolved() {
		digest = img.Digest.String()
	}
	return map[string]string{
		"reference": img.Reference.String(), "registry": img.Reference.Host(), "repository": img.Reference.Path(),
		"tag": img.Reference.Tag(), "digest": digest,
	}
}
