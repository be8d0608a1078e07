package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// report tells people about every image, every policy and every requirement, whatever came of them.
func report(d admission.Decision) string {
	var b strings.Builder
	if d.Refusal != nil {
		fmt.Fprintf(&b, "REFUSED  %s: %s\n", d.Refusal.Reason, d.Refusal.Detail)
		return b.String()
	}
	for _, j := range d.Images {
		word := "allowed"
		if j.Refused() {
			word = "REFUSED"
		}
		fmt.Fprintf(&b, "%s  %s\n", word, image(j))
		for _, img := range j.Images {
			if img.List != argument {
				fmt.Fprintf(&b, "  %s\n", img)
			}
		}
		for _, v := range j.Verdicts {
			describe(&b, v)
		}
	}
	return b.String()
}

// image is the image as written, with the digest that was judged.
func image(j admission.Judged) string {
	if j.Digest == (v1.Hash{}) || strings.Contains(j.Written, "@") {
		return written(j)
	}
	return written(j) + "@" + j.Digest.String()
}

// written is what was written, quoted if a terminal could be tricked by it.
func written(j admission.Judged) string {
	if strings.ContainsFunc(j.Written, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("%+q", j.Written)
	}
	return j.Written
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

// What may help where a registry can't be read. Both take its host, twice.
const (
	curePlainHTTP   = "%s is asked by https only, and not at a loopback or link-local address; if it is a registry of yours that speaks plain http: --plain-http %s"
	cureCredentials = "%s wants credentials: docker login %s, or --registry-config FILE"
)

// cures names flags that may help, for what the engine can't know: that it runs in a shell.
func cures(d admission.Decision) []string {
	var out []string
	add := func(format, host string) {
		if text := fmt.Sprintf(format, host, host); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, j := range d.Images {
		ref, err := policy.ParseReference(j.Written)
		if err != nil {
			continue
		}
		host := ref.Repository().RegistryStr()
		for _, v := range j.Verdicts {
			for _, r := range v.Failing() {
				switch {
				case r.Reason == policy.RegistryForbidden, strings.Contains(r.Detail, http.ErrSchemeMismatch.Error()):
					add(curePlainHTTP, host)
				case r.Reason == policy.RegistryUnauthorized:
					add(cureCredentials, host)
				}
			}
		}
	}
	return out
}

// exitCode is the verdict as a number: a violation before what could not be found out.
func exitCode(d admission.Decision) int {
	if d.Allowed() {
		return exitAllowed
	}
	for _, j := range d.Images {
		for _, v := range j.Verdicts {
			if v.Mode == policy.Enforce && v.Outcome() == policy.Violated {
				return exitViolated
			}
		}
	}
	return exitUndetermined
}

// printJSON prints the decision for programs.
func printJSON(out io.Writer, d admission.Decision, warnings []string, explanations []explained) error {
	doc := struct {
		Namespace string                  `json:"namespace"`
		Decision  string                  `json:"decision"`
		Reasons   []policy.Reason         `json:"reasons"`
		Detail    string                  `json:"detail,omitempty"`
		Images    []admission.ImageRecord `json:"images"`
		Warnings  []string                `json:"warnings,omitempty"` // of policies in files
		Explained []explained             `json:"explained,omitempty"`
	}{Namespace: d.Namespace, Decision: d.Word(), Reasons: d.Reasons(), Images: d.Describe(), Warnings: warnings, Explained: explanations}
	if d.Refusal != nil {
		doc.Detail = d.Refusal.Detail
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
