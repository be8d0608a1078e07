package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// maxTypes bounds the predicate types of one question: a requirement asks for a handful.
const maxTypes = 16

// Question is what a requirement wants to know of a digest: what one authority said, of some predicate types. The zero Question has no answer.
type Question struct {
	authority   Authority
	types       []string
	whole       bool // predicates are kept whole
	fingerprint Fingerprint
}

// Signatures asks for the authority's signatures.
func Signatures(a Authority) Question {
	return Question{authority: a, types: []string{CosignSign}, fingerprint: a.fingerprint}
}

// SignaturesBy asks for the signatures of each of the authorities.
func SignaturesBy(authorities ...Authority) []Question {
	out := make([]Question, 0, len(authorities))
	for _, a := range authorities {
		out = append(out, Signatures(a))
	}
	return out
}

// Papers asks for what the authority stated of one kind. Its Evidence has Facts of that kind.
func Papers(a Authority, kind predicate.Kind) (Question, error) {
	return Statements(a, kind.Types()...)
}

// WholePapers asks for what the authority stated of one predicate type, whatever that is. Facts are *predicate.Whole.
func WholePapers(a Authority, predicateType string) (Question, error) {
	if strings.HasSuffix(predicateType, "*") {
		return Question{}, errors.New("one predicate type is wanted, without a star")
	}
	q, err := Statements(a, predicateType)
	q.whole = true
	q.fingerprint = digestOf(q.fingerprint[:], []byte("whole"))
	return q, err
}

// SeeksSBOM tells whether bills of materials are among the predicate types that are sought.
func SeeksSBOM(types []string) bool {
	return slices.ContainsFunc(predicate.KindSBOM.Types(), func(t string) bool { return slices.Contains(types, t) })
}

// Statements asks for what the authority stated, by predicate type: the full URI, or what it begins with, followed by a star. Its Evidence has
// Facts where a reader knows the type.
func Statements(a Authority, types ...string) (Question, error) {
	if len(types) == 0 || len(types) > maxTypes {
		return Question{}, fmt.Errorf("%d predicate types: want 1 to %d", len(types), maxTypes)
	}
	types = slices.Clone(types)
	slices.Sort(types)
	types = slices.Compact(types)
	parts := [][]byte{a.fingerprint[:]}
	for _, t := range types {
		if strings.TrimSuffix(t, "*") == "" {
			return Question{}, errors.New("a predicate type that says nothing")
		}
		parts = append(parts, []byte(t))
	}
	q := Question{authority: a, types: types, fingerprint: digestOf(parts...)}
	if len(types) == 1 && types[0] == CosignSign {
		q.fingerprint = a.fingerprint
	}
	return q, nil
}

// Authority is whom the question is about.
func (q Question) Authority() Authority { return q.authority }

// Types are the predicate types that are asked for.
func (q Question) Types() []string { return slices.Clone(q.types) }

// Fingerprint identifies the question: the authority's resolved material, and the types.
func (q Question) Fingerprint() Fingerprint { return q.fingerprint }

// wants tells whether the question is about a predicate type.
func (q Question) wants(predicateType string) bool { return anyType(q.types, predicateType) }

func anyType(types []string, predicateType string) bool {
	for _, t := range types {
		if begin, open := strings.CutSuffix(t, "*"); predicateType == t || open && strings.HasPrefix(predicateType, begin) {
			return true
		}
	}
	return false
}

// typesOf are all the types of some questions, each once and sorted.
func typesOf(questions []Question) []string {
	var all []string
	for _, q := range questions {
		all = append(all, q.types...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
