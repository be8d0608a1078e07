package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
)

const (
	// maxMessage bounds a refusal, in bytes: what a terminal and an Event can bear.
	maxMessage = 4 << 10
	// maxLine bounds one line of a refusal, so that the first 1 KiB has the worst of it.
	maxLine = 400
	// maxWarning bounds one warning, in bytes: the API server cuts longer ones and drops those of several lines.
	maxWarning = 120
	// maxWarnings bounds all warnings of one answer, in bytes: above, the API server drops them.
	maxWarnings = 4 << 10
)

// Message explains a refusal to people: ASCII, the worst first, every failing requirement named, and the next command to run. It is
// empty where the request is allowed.
func (d Decision) Message() string {
	if d.Allowed() {
		return ""
	}
	if d.Refusal != nil {
		return bound(fmt.Sprintf("%s: %s", d.Refusal.Reason, clip(d.Refusal.Detail, maxLine)), maxLine)
	}
	refused := d.refused()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %s refused: %s", len(refused), plural(len(d.Images), "image"), d.headline())
	last := d.explain(refused)
	for n, j := range refused {
		text := j.explain()
		more := fmt.Sprintf("\n  and %s more refused", plural(len(refused)-n, "image"))
		if b.Len()+len(text)+len(more)+len(last) > maxMessage {
			if n == 0 {
				b.WriteString(bound(text, maxMessage-b.Len()-len(last)-8))
			} else {
				b.WriteString(more)
			}
			break
		}
		b.WriteString(text)
	}
	b.WriteString(last)
	return b.String()
}

// headline names the first few reasons: of an Event, kubectl shows the first line alone.
func (d Decision) headline() string {
	const most = 3
	all := d.Reasons()
	var out []string
	for _, r := range all[:min(len(all), most)] {
		out = append(out, string(r))
	}
	if len(all) > most {
		out = append(out, "...")
	}
	return strings.Join(out, ", ")
}

// refused returns the refused images, those with a violation before those that could not be judged.
func (d Decision) refused() []Judged {
	var out []Judged
	for _, j := range d.Images {
		if j.Refused() {
			out = append(out, j)
		}
	}
	slices.SortStableFunc(out, func(a, b Judged) int { return cmp.Compare(a.rank(), b.rank()) })
	return out
}

func (j Judged) rank() int {
	for _, v := range j.Verdicts {
		if v.Mode == policy.Enforce && v.Outcome() == policy.Violated {
			return 0
		}
	}
	return 1
}

// explain tells about one refused image: each policy that refuses it, with all of its requirements.
func (j Judged) explain() string {
	var b strings.Builder
	const places = 3
	for i, img := range j.Images {
		if i == places {
			fmt.Fprintf(&b, "\n  and %s more with this image", plural(len(j.Images)-places, "container"))
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", img.brief(maxPlace), j.name())
	}
	if len(j.Verdicts) != j.Expected {
		fmt.Fprintf(&b, "\n    %s: it was not judged by every policy", policy.InternalError)
	}
	verdicts := slices.Clone(j.Verdicts)
	slices.SortStableFunc(verdicts, func(a, b policy.Verdict) int { return cmp.Compare(outcomeRank(a.Outcome()), outcomeRank(b.Outcome())) })
	for _, v := range verdicts {
		if v.Mode != policy.Enforce || v.Outcome().Passes() {
			continue
		}
		fmt.Fprintf(&b, "\n    %s", label(v))
		for _, r := range v.Failing() {
			fmt.Fprintf(&b, "\n      %s", bound(fmt.Sprintf("%-16s %s: %s", r.Requirement, r.Reason, clip(r.Detail, maxLine)), maxLine))
		}
		for _, r := range v.Results {
			if r.Outcome.Passes() {
				fmt.Fprintf(&b, "\n      %-16s ok", r.Requirement)
			}
		}
	}
	return b.String()
}

func outcomeRank(o policy.Outcome) int {
	if o == policy.Violated {
		return 0
	}
	return 1
}

// name returns the image as written, with the digest that was judged where it doesn't say it itself.
func (j Judged) name() string {
	s := clip(j.Written, maxLine)
	if j.Digest == (v1.Hash{}) || strings.Contains(j.Written, "@") {
		return s
	}
	return s + "@" + j.Digest.String()
}

// byDigest returns the image as a command should name it.
func (j Judged) byDigest() string {
	ref, err := policy.ParseReference(j.Written)
	if err != nil {
		return ""
	}
	if j.Digest == (v1.Hash{}) {
		return j.Written
	}
	return ref.Host() + "/" + ref.Path() + "@" + j.Digest.String()
}

// explain names the next command to run.
func (d Decision) explain(refused []Judged) string {
	for _, j := range refused {
		if image := j.byDigest(); image != "" && d.Namespace != "" {
			return fmt.Sprintf("\n  explain: kubectl pratique verify -n %s --explain %s", d.Namespace, image)
		}
	}
	return ""
}

// Warnings returns what the author of an allowed request should see, one line for each image and requirement.
func (d Decision) Warnings() []string {
	var lines warnings
	for _, j := range d.Images {
		where := ""
		if len(j.Images) > 0 {
			where = j.Images[0].brief(48)
		}
		for _, v := range j.Verdicts {
			if v.Mode == policy.Warn {
				for _, r := range v.Failing() {
					lines.add(func() string { return warningLine(where, v, r.Requirement, r.Reason, r.Detail) })
				}
			}
			if v.Mode == policy.Audit || j.Refused() {
				continue // who is refused has the message
			}
			for _, w := range v.Warnings {
				lines.add(func() string { return warningLine(where, v, w.Requirement, w.Reason, w.Text) })
			}
		}
	}
	return lines.all()
}

// warningLine words a warning about a requirement, or, where it names none, about the image. Where the line is too long, first the names of place
// and policy are cut, visibly, until the text has room enough.
func warningLine(where string, v policy.Verdict, requirement string, reason policy.Reason, text string) string {
	const (
		enough      = 52 // bytes of a text that say what is wrong
		leastPlace  = 16 // bytes that tell a place from most others
		leastPolicy = 24 // of a policy, whose namespace comes first
	)
	text = clip(text, maxWarning)
	if requirement == "" {
		return fmt.Sprintf("%s: %s: %s", where, reason, text)
	}
	by, about := label(v), fmt.Sprintf("%s %s", requirement, reason)
	over := func() int {
		return len(where) + len(by) + len(about) + 3*len(": ") + min(len(text), enough) - maxWarning
	}
	if n := over(); n > 0 {
		where = bound(where, max(len(where)-n, leastPlace))
	}
	if n := over(); n > 0 {
		by = bound(by, max(len(by)-n, leastPolicy))
	}
	return fmt.Sprintf("%s: %s: %s: %s", where, by, about, text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bound shortens a text of ours visibly.
func bound(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-3] + "..."
}

// clip shortens a text of others visibly before anything is made of it, and makes it ASCII.
func clip(s string, most int) string { return ascii(bound(s, most)) }

// ascii replaces what a terminal could be tricked by (CVE-2021-25743): all but printable ASCII.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// label names the policy of a verdict, or what stands in for one.
func label(v policy.Verdict) string {
	if v.Policy == (policy.Name{}) {
		return "no policy"
	}
	return "policy " + v.Policy.String()
}
