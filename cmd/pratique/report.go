package main

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// report tells people about every image, every policy and every requirement, whatever came of them.
func report(d admission.Decision) string {
	var b strings.Builder
	if d.Refusal != nil {
		fmt.Fprintf(&b, "refused: %s: %s\n", d.Refusal.Reason, d.Refusal.Detail)
		return b.String()
	}
	for _, j := range d.Images {
		word := "allowed"
		if j.Refused() {
			word = "REFUSED"
		}
		fmt.Fprintf(&b, "%s  %s\n", word, image(j))
		for _, img := range j.Images {
			if img.Name != "" {
				fmt.Fprintf(&b, "  %s\n", img)
			}
		}
		for _, v := range j.Verdicts {
			describe(&b, v)
		}
	}
	return b.String()
}

func image(j admission.Judged) string {
	if j.Digest == (v1.Hash{}) || strings.Contains(j.Written, "@") {
		return j.Written
	}
	return j.Written + "@" + j.Digest.String()
}

func describe(b *strings.Builder, v policy.Verdict) {
	name := "no policy"
	if v.Policy != (policy.Name{}) {
		name = "policy " + v.Policy.String()
	}
	if v.Mode != policy.Enforce {
		name += " (" + v.Mode.String() + ")"
	}
	fmt.Fprintf(b, "  %s\n", name)
	for _, r := range v.Results {
		word := string(r.Reason) + ": "
		if r.Outcome == policy.Satisfied {
			word = "ok: "
		}
		fmt.Fprintf(b, "    %-16s %s%s\n", r.Requirement, word, r.Detail)
	}
	for _, w := range v.Warnings {
		fmt.Fprintf(b, "    %-16s %s: %s\n", "warning", w.Reason, w.Text)
	}
}
