package admission

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// maxAnnotation bounds one audit annotation, in bytes: an audit event is one line of a log.
const maxAnnotation = 8 << 10

// Annotations returns what the API server's audit log is to carry, by key; the API server puts the webhook's name before each.
//
//	decision  allowed, refused or unchanged
//	images    PLACE/NAME=REFERENCE@DIGEST, separated by spaces
//	policies  NAME=POLICY-DIGEST of each policy that judged, separated by spaces
//	reasons   the distinct reasons, separated by commas
func (d Decision) Annotations() map[string]string {
	out := map[string]string{"decision": d.Word()}
	var images, policies, reasons []string
	for _, j := range d.Images {
		for _, img := range j.Images {
			images = append(images, fmt.Sprintf("%s/%s=%s", img.List, ascii(img.Name), j.name()))
		}
		for _, v := range j.Verdicts {
			if v.Policy == (policy.Name{}) {
				continue
			}
			p := v.Policy.String()
			if v.Digest != "" {
				p += "=" + v.Digest
			}
			policies = appendNew(policies, p)
		}
		if j.stale() {
			out["stale"] = "true"
		}
	}
	for _, r := range d.Reasons() {
		reasons = append(reasons, string(r))
	}
	put := func(key string, values []string, sep string) {
		if len(values) > 0 {
			out[key] = joinWithin(values, sep, maxAnnotation)
		}
	}
	put("images", images, " ")
	put("policies", policies, " ")
	put("reasons", reasons, ",")
	return out
}

func (j Judged) stale() bool {
	for _, v := range j.Verdicts {
		if v.Stale {
			return true
		}
	}
	return false
}

func appendNew(list []string, s string) []string {
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, s)
}

// joinWithin joins what fits and counts the rest.
func joinWithin(values []string, sep string, most int) string {
	const room = 32
	var b strings.Builder
	for i, v := range values {
		if b.Len()+len(sep)+len(v) > most-room {
			fmt.Fprintf(&b, "%sand-%d-more", sep, len(values)-i)
			break
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(v)
	}
	return b.String()
}

// Record is one decision for the decision log: it has all that an auditor asks for, and no secret.
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
	Duration  time.Duration `json:"durationNanoseconds"`
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
}

// ResultRecord is one requirement's result.
type ResultRecord struct {
	Requirement string `json:"requirement"`
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Detail      string `json:"detail,omitempty"`
}

// Describe turns a decision's images into records, for the decision log and for `pratique verify -o json`.
func (d Decision) Describe() []ImageRecord {
	out := make([]ImageRecord, 0, len(d.Images))
	for _, j := range d.Images {
		rec := ImageRecord{Image: ascii(j.Written), Refused: j.Refused(), Stale: j.stale()}
		if j.Digest != (v1.Hash{}) {
			rec.Digest = j.Digest.String()
		}
		for _, img := range j.Images {
			rec.Places = append(rec.Places, ascii(img.String()))
		}
		for _, v := range j.Verdicts {
			vr := VerdictRecord{Policy: v.Policy.String(), PolicyDigest: v.Digest, Mode: v.Mode.String(), Outcome: v.Outcome().String()}
			for _, r := range v.Results {
				vr.Results = append(vr.Results, ResultRecord{r.Requirement, r.Outcome.String(), string(r.Reason), ascii(r.Detail)})
			}
			for _, w := range v.Warnings {
				vr.Results = append(vr.Results, ResultRecord{"warning", policy.Exempt.String(), string(w.Reason), ascii(w.Text)})
			}
			rec.Verdicts = append(rec.Verdicts, vr)
		}
		out = append(out, rec)
	}
	return out
}

// Recorder keeps decisions: the log and the metrics. Record must not block.
type Recorder interface {
	Record(Record)
}
