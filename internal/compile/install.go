package compile

import (
	"errors"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// Install is what of an install its policies' authors should know.
type Install struct {
	// Pinning says that the install rewrites tags to digests where policies want it.
	Pinning bool
	// PlainHTTP are the hosts that a TrustRoot's mirror may be asked by plain http, as HOST or HOST:PORT.
	PlainHTTP []string
	// Now tells the time that certificates and exceptions may have expired by; nil is time.Now.
	Now func() time.Time
}

// Check reads one of our objects, in JSON, as the Store will. Of an ImageException it asks more than the Store: that it is to end, within
// policy.MaxExceptionAge of when it was made.
//
// It returns what is wrong with it, each problem with its field and
// the cure, and what its author should know, as Warnings does. It is what /validate-policy answers.
func (i Install) Check(raw []byte) (problems, warnings []string) {
	obj, err := Decode(raw)
	if de, ok := errors.AsType[*DecodeError](err); ok {
		return de.Problems, nil
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	for _, e := range Validate(obj, i.PlainHTTP...) {
		problems = append(problems, e.Error())
	}
	clock := i.Now
	if clock == nil {
		clock = time.Now
	}
	now := clock()
	if e, ok := obj.(*v1alpha1.ImageException); ok {
		for _, err := range append(exceptionEnded(e, now), exceptionTooLong(e, now)...) {
			problems = append(problems, err.Error())
		}
	}
	return problems, append(i.warnings(obj), warningsAt(obj, now)...)
}

// warnings are those that not every install gives.
func (i Install) warnings(obj Object) []string {
	v, err := viewOf(obj)
	if err != nil || i.Pinning || v.spec.References == nil || v.spec.References.Tags != v1alpha1.TagsPin || v.spec.Deny != nil {
		return nil
	}
	return []string{"spec.references.tags: Pin, but this install doesn't pin: tags are refused with the digest to use"}
}
