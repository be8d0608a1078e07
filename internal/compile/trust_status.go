package compile

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// ConditionFresh says whether every source of a TrustRoot could be read the last time.
const ConditionFresh = "Fresh"

// The reasons of a TrustRoot's conditions, beside Compiled, InvalidField and InternalError.
const (
	// ReasonSourceUnavailable: a source can't be had. With Ready True another one is in use.
	ReasonSourceUnavailable = "SourceUnavailable"
	ReasonTooManyTrustRoots = "TooManyTrustRoots" // there are more than MaxTrustRoots

	ReasonAllRead      = "AllRead"      // of Fresh: every source was read
	ReasonNotReadAgain = "NotReadAgain" // of Fresh: one could not be read, or not again
)

// RootReport says what became of a TrustRoot.
type RootReport struct {
	// Reason is one of the Reason constants.
	Reason string
	// Message says it to people, in one line.
	Message string
	// Digest identifies what is trusted; empty where nothing is.
	Digest string
	// Sources are the TrustRoot's, in its order; none where it could not be read at all.
	Sources []RootSourceReport
	// TrustedRoots are the texts in force.
	TrustedRoots []string
}

// RootSourceReport says what became of one source.
type RootSourceReport struct {
	Kind   string // public, data, secretRef, configMapRef or tuf
	Digest string // of the text in force; empty where there is none
	// Problem says why the last reading failed; beside a Digest, the text read before is in use.
	Problem string
	// Unfit says that the text was read, but is left out, since it doesn't fit those of the sources before it.
	Unfit bool
	// FetchedAt is when the text was first read, CheckedAt when it last was, Expires until when it is used. Zero: that isn't known.
	FetchedAt, CheckedAt, Expires time.Time
}

// rootReportOf reports on what was read, and what was made of it: err says why nothing was.
func rootReportOf(readings []rootReading, made *verify.Trust, err error) RootReport {
	r := RootReport{}
	for _, one := range readings {
		s := RootSourceReport{Kind: one.kind, Digest: one.digest, Unfit: one.unfit}
		if one.err != nil {
			s.Problem = line(one.err.Error(), maxProblem)
		}
		if one.text != nil {
			s.FetchedAt, s.CheckedAt, s.Expires = one.fetched, one.checked, one.expires
		}
		r.Sources = append(r.Sources, s)
	}
	if err != nil {
		r.Reason, r.Message = ReasonSourceUnavailable, line(err.Error(), maxMessage)
		return r
	}
	texts, _ := textsOf(readings)
	for _, text := range texts {
		r.TrustedRoots = append(r.TrustedRoots, string(text))
	}
	r.Digest, r.Reason, r.Message = trustDigest(made), ReasonCompiled, "in force"
	if n := len(texts); n > 1 {
		r.Message = fmt.Sprintf("in force: %d trusted roots united", n)
	}
	if note := left(readings); note != "" {
		r.Reason, r.Message = ReasonSourceUnavailable, r.Message+"; "+note
	}
	return r
}

// StatusOfTrustRoot returns the status of a TrustRoot that was read. previous is the status it has, from which conditions of others, the
// time of the last transition, and when a text was first read are kept; now is the time of a transition.
func StatusOfTrustRoot(obj metav1.Object, r RootReport, previous v1alpha1.TrustRootStatus, now time.Time) v1alpha1.TrustRootStatus {
	status := v1alpha1.TrustRootStatus{
		ObservedGeneration: obj.GetGeneration(), Conditions: previous.DeepCopy().Conditions, Digest: r.Digest, TrustedRoots: r.TrustedRoots,
	}
	set := func(kind string, holds bool, reason, message string) {
		c := metav1.Condition{
			Type: kind, Status: metav1.ConditionFalse, ObservedGeneration: obj.GetGeneration(),
			LastTransitionTime: metav1.NewTime(seconds(now)), Reason: reason, Message: message,
		}
		if holds {
			c.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
	set(ConditionReady, r.Digest != "", r.Reason, r.Message)
	var stale []string
	for i, s := range r.Sources {
		one := v1alpha1.TrustRootSourceStatus{Kind: s.Kind, Digest: s.Digest, Error: s.Problem, FetchedAt: timeOf(s.FetchedAt), Expires: timeOf(s.Expires)}
		if i < len(previous.Sources) && s.Digest != "" && previous.Sources[i].Digest == s.Digest && previous.Sources[i].FetchedAt != nil {
			one.FetchedAt = previous.Sources[i].FetchedAt.DeepCopy() // by the replica that wrote before us
		}
		status.Sources = append(status.Sources, one)
		if s.Problem != "" {
			stale = append(stale, s.staleness(i))
		}
	}
	switch {
	case len(r.Sources) == 0:
		set(ConditionFresh, false, r.Reason, "no source was read")
	case len(stale) > 0:
		set(ConditionFresh, false, ReasonNotReadAgain, line(strings.Join(stale, "; "), maxMessage))
	default:
		set(ConditionFresh, true, ReasonAllRead, "every source could be read the last time")
	}
	return status
}

// staleness says since when a source couldn't be read, and until when what it had is used.
func (s RootSourceReport) staleness(i int) string {
	text := fmt.Sprintf("sources[%d] (%s) ", i, s.Kind)
	switch {
	case s.Unfit:
		return text + "was read, but doesn't fit the sources before it"
	case s.Digest == "":
		return text + "could not be read"
	case s.Expires.IsZero():
		return text + "could not be read since " + seconds(s.CheckedAt).Format(time.RFC3339)
	}
	return text + fmt.Sprintf("could not be read since %s, and is used until %s", seconds(s.CheckedAt).Format(time.RFC3339), seconds(s.Expires).Format(time.RFC3339))
}

// seconds is what of a time survives being stored.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	out := metav1.NewTime(seconds(t))
	return &out
}

// rootStatusPause is how seldom a TrustRoot's status is written where nothing has changed but times and the words of errors: a mirror
// may be asked, and may fail, each minute.
const rootStatusPause = time.Hour

// withRootStatus returns a copy of a TrustRoot with the status that it should have, whether that differs, and whether only in what can
// wait.
func withRootStatus(object *unstructured.Unstructured, r RootReport, now time.Time) (patched *unstructured.Unstructured, differs, minor bool, err error) {
	var previous v1alpha1.TrustRootStatus
	was, _ := object.Object["status"].(map[string]any)
	if runtime.DefaultUnstructuredConverter.FromUnstructured(was, &previous) != nil {
		previous = v1alpha1.TrustRootStatus{} // not as we write it: write it anew
	}
	for {
		status := StatusOfTrustRoot(object, r, previous, now)
		if equality.Semantic.DeepEqual(previous, status) {
			return nil, false, false, nil
		}
		wanted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
		if err != nil {
			return nil, false, false, err
		}
		patched = object.DeepCopy()
		patched.Object["status"] = wanted
		text, err := json.Marshal(patched.Object)
		if err != nil {
			return nil, false, false, err
		}
		if len(text) <= maxRootObject || len(r.TrustedRoots) == 0 {
			minor := !firstAnswered(previous, status) && equality.Semantic.DeepEqual(timeless(previous), timeless(status))
			return patched, true, minor, nil
		}
		r.TrustedRoots, r.Message = nil, r.Message+noRoom
	}
}

// maxRootObject bounds a TrustRoot with its status, in bytes of JSON: etcd takes 1.5 MiB, and a quarter of a MiB is for what others
// write into its metadata and for what is around it.
const maxRootObject = 1280 << 10

// noRoom is said behind what is in force.
const noRoom = "; status.trustedRoots is left out, since the object would be too large for etcd: pratique verify reads the sources"

// firstAnswered tells whether a mirror, of which nothing was known, was asked meanwhile: whoever waits for it sees the outcome at once.
func firstAnswered(previous, status v1alpha1.TrustRootStatus) bool {
	before := trust.ErrNotFetched.Error()
	for i := range min(len(previous.Sources), len(status.Sources)) {
		if previous.Sources[i].Error == before && status.Sources[i].Error != before {
			return true
		}
	}
	return false
}

// timeless is a status without times and without the words of errors.
func timeless(s v1alpha1.TrustRootStatus) v1alpha1.TrustRootStatus {
	out := *s.DeepCopy()
	for i := range out.Conditions {
		out.Conditions[i].Message, out.Conditions[i].LastTransitionTime = "", metav1.Time{}
	}
	for i := range out.Sources {
		out.Sources[i].Expires = nil
		if out.Sources[i].Error != "" {
			out.Sources[i].Error = "some"
		}
	}
	return out
}
