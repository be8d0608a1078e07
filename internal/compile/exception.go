package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// MaxExceptions bounds the ImageExceptions that are in force in one namespace. Each image is compared with the patterns of each,
// so that there are at most 4,096 patterns to try, and 4,096 ids to find. The oldest count: an exception only loosens, so that
// leaving one out refuses more and never less.
const MaxExceptions = 64

// The reasons of the condition Ready of an ImageException, beside InvalidField and InternalError.
const (
	ReasonInForce           = "InForce"           // it excuses what it says
	ReasonExpired           = "Expired"           // it has ended
	ReasonTooManyExceptions = "TooManyExceptions" // there are MaxExceptions older ones in its namespace
	ReasonTerminating       = "Terminating"       // it is being deleted, and only a finalizer keeps it
)

// ExceptionReport says what became of an ImageException at some time. Two of the same state are alike.
type ExceptionReport struct {
	// Reason is one of the Reason constants.
	Reason string
	// Message says it to people, in one line.
	Message string
	// Until is when it ends; zero where that can't be told.
	Until time.Time
}

// compiledException is what was made of an ImageException. One that can't be used has no exception, and excuses nothing.
type compiledException struct {
	exception *policy.Exception
	note      string // what is to be known while it is in force
	report    ExceptionReport
}

var errNotException = errors.New("no ImageException")

// compileException makes of an ImageException, as it was stored, what policies are judged with. created is when it was made. It never
// fails: one that can't be read, or says what no exception may, excuses nothing and tells why; so does one that makes this panic.
func compileException(ctx context.Context, raw []byte, name policy.Name, created time.Time) (out compiledException) {
	defer func() {
		if v := recover(); v != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", v), "compiling an exception", "exception", name.String(), "stack", string(debug.Stack()))
			out = uselessException(ReasonInternalError, fmt.Sprintf("compiling it failed: panic: %v", v))
		}
	}()
	e, err := decodeException(raw)
	if err != nil {
		return uselessException(ReasonInvalidField, err.Error())
	}
	if created.IsZero() {
		return uselessException(ReasonInvalidField, "metadata.creationTimestamp: missing, so that nobody can tell when it ends")
	}
	return exceptionOf(e, name, created)
}

// uselessException is one that excuses nothing.
func uselessException(reason, why string) compiledException {
	return compiledException{report: ExceptionReport{Reason: reason, Message: line("it excuses nothing: "+why, maxMessage)}}
}

// decodeException reads an ImageException as strictly as policies are read.
func decodeException(raw []byte) (*v1alpha1.ImageException, error) {
	obj, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	e, ok := obj.(*v1alpha1.ImageException)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNotException, obj)
	}
	if errs := Validate(e); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return e, nil
}

// exceptionOf makes the exception of one that Validate has nothing against. What it says of its end is judged again: whatever that is,
// it ends policy.MaxExceptionAge after it was made.
func exceptionOf(e *v1alpha1.ImageException, name policy.Name, created time.Time) compiledException {
	x, err := readExpiry(e.Spec.Expires)
	if err != nil {
		return uselessException(ReasonInvalidField, "spec.expires: "+err.Error())
	}
	images, good := patterns(e.Spec.Images)
	if !good || len(images) == 0 {
		return uselessException(ReasonInvalidField, "spec.images: not all are patterns")
	}
	c := compiledException{report: ExceptionReport{Until: x.until}}
	if latest := created.Add(policy.MaxExceptionAge); latest.Before(x.until) {
		c.report.Until, c.note = latest, ", 90 days after it was made, which is before the end of spec.expires"
	}
	c.exception = &policy.Exception{
		Name: name, Owner: line(e.Spec.Owner, maxOwner), Reason: line(e.Spec.Reason, maxReason),
		Images: policy.Matcher{Include: images}, IDs: slices.Clone(e.Spec.IDs), Created: created, Until: c.report.Until,
	}
	return c
}

// at is what is to be told of an exception at some time.
func (c compiledException) at(now time.Time) ExceptionReport {
	r := c.report
	switch {
	case c.exception == nil:
	case now.Before(r.Until):
		r.Reason, r.Message = ReasonInForce, "in force until "+seconds(r.Until).Format(time.RFC3339)+c.note
	default:
		r.Reason, r.Message = ReasonExpired, "it ended "+seconds(r.Until).Format(time.RFC3339)+c.note+", and excuses nothing any more: delete it"
	}
	return r
}

// exceptionsInForce gathers those of one namespace that are in force at some time. They are given to it in the order of exceptionBefore.
type exceptionsInForce struct {
	now  time.Time
	list []*policy.Exception
	next time.Time // when one of them ends; zero: never
}

// take takes in one more, if it is in force and there is room, and says what became of it. One without room isn't even compiled. Nor is one that
// is being deleted: whoever deletes it doesn't want it to excuse anything, and whoever may set a finalizer must not keep it.
func (f *exceptionsInForce) take(terminating bool, compile func() compiledException) ExceptionReport {
	switch {
	case terminating:
		return ExceptionReport{Reason: ReasonTerminating, Message: "it excuses nothing: it is being deleted, and goes once its finalizers are removed"}
	case len(f.list) >= MaxExceptions:
		return ExceptionReport{Reason: ReasonTooManyExceptions, Message: fmt.Sprintf(
			"it excuses nothing: %d older ImageExceptions are in force in this namespace, and no more count: delete or merge some", MaxExceptions)}
	}
	c := compile()
	r := c.at(f.now)
	if r.Reason != ReasonInForce {
		return r
	}
	f.list = append(f.list, c.exception)
	if f.next.IsZero() || r.Until.Before(f.next) {
		f.next = r.Until
	}
	return r
}

// exceptionBefore orders exceptions by their age, the oldest first.
func exceptionBefore(aMade, bMade time.Time, a, b string) int {
	return cmp.Or(aMade.Compare(bMade), strings.Compare(a, b))
}

// namespaceExceptions reads how far exceptions of a namespace may loosen the policy. Validate has checked it.
func (b *build) namespaceExceptions(n *v1alpha1.NamespaceExceptions) {
	if n == nil {
		return
	}
	b.policy.NamespaceExceptions = &policy.NamespaceExceptions{Severities: slices.Clone(n.Severities)}
	if n.MaxDuration != nil {
		b.policy.NamespaceExceptions.MaxDuration = n.MaxDuration.Duration
	}
}
