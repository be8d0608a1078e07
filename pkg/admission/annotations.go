package admission

import (
	"fmt"
	"strings"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// Annotations returns what the API server's audit log is to carry, by key; the API server puts the webhook's name before each.
//
//	decision  allowed, refused or unchanged
//	images    PLACE/NAME=REFERENCE@DIGEST, separated by spaces
//	policies  NAME=POLICY-DIGEST of each policy that judged, separated by spaces
//	reasons   the distinct reasons, separated by commas
//	exceptions  NAMESPACE/NAME=ID of each ImageException that a verdict rests on and what it excused, separated by spaces
func (d Decision) Annotations() map[string]string {
	out := map[string]string{"decision": d.Word()}
	images, policies, reasons, exceptions := annotation{sep: " "}, annotation{sep: " "}, annotation{sep: ","}, annotation{sep: " "}
	used := map[policy.Use]bool{}
	type judge struct {
		policy policy.Name
		digest string
	}
	told := map[judge]bool{}
	for _, j := range d.Images {
		for _, img := range j.Images {
			images.add(func() string { return fmt.Sprintf("%s/%s=%s", img.List, clip(img.Name, maxPlace), j.name()) })
		}
		for _, v := range j.Verdicts {
			for _, u := range v.Used {
				if !used[u] {
					used[u] = true
					exceptions.add(func() string { return u.Exception + "=" + u.ID })
				}
			}
			by := judge{v.Policy, v.Digest}
			if v.Policy == (policy.Name{}) || told[by] {
				continue
			}
			told[by] = true
			policies.add(func() string {
				if v.Digest == "" {
					return v.Policy.String()
				}
				return v.Policy.String() + "=" + v.Digest
			})
		}
		if j.stale() {
			out["stale"] = "true"
		}
	}
	for _, r := range d.Reasons() {
		reasons.add(func() string { return string(r) })
	}
	images.put(out, "images")
	policies.put(out, "policies")
	reasons.put(out, "reasons")
	exceptions.put(out, "exceptions")
	return out
}

// annotation joins what fits into one audit annotation and counts the rest, which is not even worded.
type annotation struct {
	sep  string
	text strings.Builder
	more int
}

func (a *annotation) add(value func() string) {
	const room = 32 // for the count
	if a.more > 0 {
		a.more++
		return
	}
	v := value()
	if a.text.Len()+len(a.sep)+len(v) > maxAnnotation-room {
		a.more++
		return
	}
	if a.text.Len() > 0 {
		a.text.WriteString(a.sep)
	}
	a.text.WriteString(v)
}

// put puts the annotation under its key, unless it is empty.
func (a *annotation) put(into map[string]string, key string) {
	switch {
	case a.more > 0 && a.text.Len() > 0:
		into[key] = fmt.Sprintf("%s%sand-%d-more", a.text.String(), a.sep, a.more)
	case a.more > 0:
		into[key] = fmt.Sprintf("and-%d-more", a.more)
	case a.text.Len() > 0:
		into[key] = a.text.String()
	}
}

func appendNew(list []string, s string) []string {
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, s)
}
