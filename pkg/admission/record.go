package admission

import (
	"math"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

const (
	// maxRecord bounds a Record as JSON, in bytes: a line of the decision log, as collectors of logs take them, and some hundred
	// verdicts. A review of a few KiB may have ten thousand.
	maxRecord = 64 << 10
	// maxAnnotation bounds one audit annotation, in bytes: an audit event is one line of a log.
	maxAnnotation = 8 << 10
	// maxOmissions bounds the kinds of results that are counted apart in Omitted: there are seldom more than ten.
	maxOmissions = 32
	// maxDetail bounds one text of a Record, in bytes: a whole refusal.
	maxDetail = maxMessage
	// maxPlace bounds where an image stands, in bytes: names of Kubernetes have up to 63, but at /pin they have not been checked.
	maxPlace = 120
	// maxName bounds a name of the request, in bytes: as Kubernetes bounds names.
	maxName = 256
	// maxUser bounds the name of who asked, in bytes: identity providers' are long.
	maxUser = 1 << 10
)

// Record is one decision for the decision log: it has all that an auditor asks for, and no secret. As JSON it has at most 64 KiB.
type Record struct {
	Time      time.Time     `json:"time"`
	UID       string        `json:"uid"`
	Webhook   string        `json:"webhook"`
	Operation string        `json:"operation"`
	Resource  string        `json:"resource"`
	Namespace string        `json:"namespace"`
	Name      string        `json:"name,omitempty"`
	User      string        `json:"user"`
	DryRun    bool          `json:"dryRun,omitempty"`
	Decision  string        `json:"decision"`
	Reasons   []string      `json:"reasons"`
	Detail    string        `json:"detail,omitempty"`
	Images    []ImageRecord `json:"images,omitempty"`
	// Omitted counts what Images has no room for: what passes is left out first.
	Omitted  []Omission    `json:"omitted,omitempty"`
	Duration time.Duration `json:"durationNanoseconds"`
}

// ImageRecord is what came of one image.
type ImageRecord struct {
	Places   []string        `json:"places"`
	Image    string          `json:"image"`
	Digest   string          `json:"digest,omitempty"`
	Refused  bool            `json:"refused"`
	Stale    bool            `json:"stale,omitempty"`
	Verdicts []VerdictRecord `json:"verdicts"`
}

// VerdictRecord is one verdict.
type VerdictRecord struct {
	Policy       string         `json:"policy,omitempty"`
	PolicyDigest string         `json:"policyDigest,omitempty"`
	Mode         string         `json:"mode"`
	Outcome      string         `json:"outcome"`
	Results      []ResultRecord `json:"results"`
	// Exceptions are the ImageExceptions that the verdict rests on, each once.
	Exceptions []ExceptionRecord `json:"exceptions,omitempty"`
}

// ExceptionRecord is an ImageException that was used, and what it excused.
type ExceptionRecord struct {
	Exception string    `json:"exception"`
	Owner     string    `json:"owner"`
	IDs       []string  `json:"ids"`
	Until     time.Time `json:"until"`
}

// ResultRecord is one requirement's result.
type ResultRecord struct {
	Requirement string `json:"requirement"`
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Detail      string `json:"detail,omitempty"`
}

// Omission is how many results of one kind are left out of a Record, or of /pin how many images. One that has nothing but a
// Count is of all the kinds that are not told apart.
type Omission struct {
	Requirement string `json:"requirement,omitempty"`
	Mode        string `json:"mode,omitempty"`
	Outcome     string `json:"outcome,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Count       int    `json:"count"`
}

// Recorder keeps decisions: the log and the metrics. Record must not block.
type Recorder interface {
	Record(Record)
}

// Describe turns all of a decision's images into records, as `pratique verify -o json` prints them.
func (d Decision) Describe() []ImageRecord {
	out, _ := d.describe(math.MaxInt)
	return out
}

// describe turns a decision's images into records of at most so many bytes of JSON, and counts what that has no room for. What
// refuses goes first, then what fails otherwise, then what passes by an exception, then what passes; they stand in the order of the
// decision all the same. Nothing is built that is then left out.
func (d Decision) describe(most int) ([]ImageRecord, []Omission) {
	var omitted omissions
	chosen := make([][]int, len(d.Images)) // the verdicts, by image; nil where the image is left out
	for rank := range ranks {
		for i, j := range d.Images {
			if len(j.Verdicts) == 0 && rank == 0 { // a panic lost them
				if size := j.size(); size <= most {
					chosen[i], most = []int{}, most-size
				} else {
					omitted.verdict(policy.Verdict{Results: []policy.Result{{Requirement: "image", Reason: policy.InternalError}}})
				}
			}
			for k, v := range j.Verdicts {
				if rankOf(v) != rank {
					continue
				}
				cost := leastSize(v)
				if cost <= most {
					if cost = verdictSize(v); chosen[i] == nil {
						cost += j.size()
					}
				}
				if cost > most {
					omitted.verdict(v)
					continue
				}
				chosen[i], most = append(chosen[i], k), most-cost
			}
		}
	}
	var out []ImageRecord
	for i, j := range d.Images {
		if chosen[i] == nil {
			continue
		}
		slices.Sort(chosen[i])
		out = append(out, j.describe(chosen[i]))
	}
	return out, omitted.list
}

// ranks is how many ranks of verdicts there are, the worst first.
const ranks = 4

func rankOf(v policy.Verdict) int {
	switch {
	case v.Outcome().Passes() && len(v.Used) == 0:
		return 3
	case v.Outcome().Passes():
		return 2
	case v.Mode != policy.Enforce:
		return 1
	}
	return 0
}

// describe turns an image with some of its verdicts into a record.
func (j Judged) describe(verdicts []int) ImageRecord {
	rec := ImageRecord{Image: clip(j.Written, maxLine), Refused: j.Refused(), Stale: j.stale()}
	if j.Digest != (v1.Hash{}) {
		rec.Digest = j.Digest.String()
	}
	for _, img := range j.Images {
		rec.Places = append(rec.Places, img.brief(maxPlace))
	}
	for _, k := range verdicts {
		v := j.Verdicts[k]
		vr := VerdictRecord{Policy: v.Policy.String(), PolicyDigest: v.Digest, Mode: v.Mode.String(), Outcome: v.Outcome().String()}
		for _, r := range v.Results {
			vr.Results = append(vr.Results, ResultRecord{r.Requirement, r.Outcome.String(), string(r.Reason), clip(r.Detail, maxDetail)})
		}
		for _, w := range v.Warnings {
			vr.Results = append(vr.Results, ResultRecord{requirementWarning, policy.Exempt.String(), string(w.Reason), clip(w.Text, maxDetail)})
		}
		vr.Exceptions = exceptionsOf(v)
		rec.Verdicts = append(rec.Verdicts, vr)
	}
	return rec
}

// exceptionsOf are the exceptions that a verdict rests on, each once with all that it excused, in the order of their first use.
func exceptionsOf(v policy.Verdict) (out []ExceptionRecord) {
	at := make(map[string]int, len(v.Used))
	for _, u := range v.Used {
		i, known := at[u.Exception]
		if !known {
			i = len(out)
			at[u.Exception], out = i, append(out, ExceptionRecord{Exception: u.Exception, Owner: clip(u.Owner, maxName), Until: u.Until})
		}
		out[i].IDs = append(out[i].IDs, u.ID)
	}
	return out
}

// requirementWarning is what a warning is called where a requirement is.
const requirementWarning = "warning"

func (j Judged) stale() bool {
	return slices.ContainsFunc(j.Verdicts, func(v policy.Verdict) bool { return v.Stale })
}

// omissions counts results that are left out, by their kinds.
type omissions struct {
	list []Omission
	at   map[Omission]int
}

// add counts one of a kind, which is an Omission without a Count.
func (o *omissions) add(kind Omission) {
	if len(o.list) >= maxOmissions {
		if _, known := o.at[kind]; !known {
			kind = Omission{}
		}
	}
	i, known := o.at[kind]
	if !known {
		if o.at == nil {
			o.at = map[Omission]int{}
		}
		i = len(o.list)
		o.at[kind], o.list = i, append(o.list, kind)
	}
	o.list[i].Count++
}

func (o *omissions) verdict(v policy.Verdict) {
	mode := v.Mode.String()
	for _, r := range v.Results {
		o.add(Omission{Requirement: r.Requirement, Mode: mode, Outcome: r.Outcome.String(), Reason: string(r.Reason)})
	}
	for _, w := range v.Warnings {
		o.add(Omission{Requirement: requirementWarning, Mode: mode, Outcome: policy.Exempt.String(), Reason: string(w.Reason)})
	}
}

// What the JSON of each part has at most besides its strings: field names, fixed words and punctuation, in bytes.
const (
	headerSize   = 512
	omissionSize = 192
	imageSize    = 256
	verdictFixed = 128
	resultSize   = 128
)

// room is how many bytes of JSON a Record has left for its images.
func (r Record) room() int {
	left := maxRecord - headerSize - (maxOmissions+1)*omissionSize
	for _, s := range []string{r.UID, r.Webhook, r.Operation, r.Resource, r.Namespace, r.Name, r.User, r.Decision, r.Detail} {
		left -= jsonSize(s)
	}
	for _, s := range r.Reasons {
		left -= jsonSize(s) + 1
	}
	return left
}

func (j Judged) size() int {
	n := imageSize + jsonSize(clip(j.Written, maxLine))
	for _, img := range j.Images {
		n += jsonSize(img.brief(maxPlace)) + 1
	}
	return n
}

// leastSize is what verdictSize is at least, without looking at every byte.
func leastSize(v policy.Verdict) int {
	n := verdictFixed
	for _, r := range v.Results {
		n += resultSize + min(len(r.Detail), maxDetail)
	}
	for _, w := range v.Warnings {
		n += resultSize + min(len(w.Text), maxDetail)
	}
	for _, u := range v.Used {
		n += len(u.ID)
	}
	return n
}

func verdictSize(v policy.Verdict) int {
	n := verdictFixed + jsonSize(v.Policy.Namespace) + jsonSize(v.Policy.Name) + jsonSize(v.Digest)
	for _, r := range v.Results {
		n += resultSize + jsonSize(r.Requirement) + jsonSize(clip(r.Detail, maxDetail))
	}
	for _, w := range v.Warnings {
		n += resultSize + jsonSize(clip(w.Text, maxDetail))
	}
	for _, e := range exceptionsOf(v) {
		n += resultSize + jsonSize(e.Exception) + jsonSize(e.Owner)
		for _, id := range e.IDs {
			n += jsonSize(id) + 1
		}
	}
	return n
}

// jsonSize is how many bytes a string has at most as JSON, with whatever encoding/json escapes.
func jsonSize(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n++
		case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
			n += 5
		}
	}
	return n
}
