package policy

import (
	"slices"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Result is what came of one requirement. The zero Result is Undetermined.
type Result struct {
	// Requirement is the name of the requirement, or of the part of the policy that decided.
	Requirement string
	Outcome     Outcome
	Reason      Reason
	// Detail is for people: plain ASCII, one line, with the nearest miss.
	Detail string
	// Until is when what it rests on ends, where it passes: an age, or an exception. Zero: never.
	Until time.Time
	// Warnings are told beside it.
	Warnings []Warning
	// Used are the exceptions of the namespace that it rests on.
	Used []Use
}

// worstOf returns the result that decides, of those of several papers or platforms, with the warnings of all and the earliest end. The zero
// Result comes of none.
func worstOf(all []Result) Result {
	var out Result
	for i, r := range all {
		warnings, used, until := out.Warnings, out.Used, out.Until
		if i == 0 || worse(r.Outcome, out.Outcome) != out.Outcome {
			out = r
		}
		if i > 0 {
			out.Warnings, out.Used, out.Until = mergeWarnings(warnings, r.Warnings), mergeUses(used, r.Used), sooner(until, r.Until)
		}
	}
	return out
}

// sooner is the first of two ends, of which a zero one never comes.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// mergeWarnings leaves out what was said already.
func mergeWarnings(a, b []Warning) []Warning {
	if len(b) == 0 {
		return a
	}
	out := slices.Clone(a)
	for _, w := range b {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// Warning is told beside a verdict that passes.
type Warning struct {
	// Requirement is the one that it is about, by its name; empty where it is about the policy or the image as a whole. A Verdict has it.
	Requirement string
	Reason      Reason
	Text        string
}

// Verdict is one image under one policy.
type Verdict struct {
	Policy Name
	Mode   Mode
	// Digest identifies what the policy asked for.
	Digest   string
	Results  []Result
	Warnings []Warning
	// Stale says that evidence from before was used since the registry fails.
	Stale bool
	// Used are the exceptions of the namespace that the results rest on.
	Used []Use
}

func (v *Verdict) add(r Result) {
	v.Results = append(v.Results, r)
	for _, w := range r.Warnings {
		w.Requirement = r.Requirement
		v.Warnings = mergeWarnings(v.Warnings, []Warning{w})
	}
	v.Used = mergeUses(v.Used, r.Used)
}

func (v *Verdict) stale(f verify.Findings) {
	if v.Stale {
		return
	}
	v.Stale = true
	text := "the registry fails; judged by what was verified at " + f.ListedAt.UTC().Format(time.RFC3339)
	v.Warnings = append(v.Warnings, Warning{Reason: EvidenceIsStale, Text: text})
}

// Outcome returns what decides: the worst of the results, and Undetermined where there are none.
func (v Verdict) Outcome() Outcome {
	if len(v.Results) == 0 {
		return Undetermined
	}
	out := v.Results[0].Outcome
	for _, r := range v.Results[1:] {
		out = worse(out, r.Outcome)
	}
	return out
}

// Failing returns the results that don't pass, the worst first.
func (v Verdict) Failing() []Result {
	var out []Result
	for _, r := range v.Results {
		if !r.Outcome.Passes() {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Result) int {
		switch {
		case a.Outcome == b.Outcome:
			return 0
		case a.Outcome == Violated:
			return -1
		}
		return 1
	})
	return out
}
