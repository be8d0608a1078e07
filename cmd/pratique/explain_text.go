package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// explainText tells people how the answers came about.
func explainText(all []explained) string {
	var b strings.Builder
	for _, e := range all {
		e.write(&b)
	}
	return b.String()
}

func (e explained) write(b *strings.Builder) {
	if e.Problem != "" {
		fmt.Fprintf(b, "\nexplained  %s\n  %s\n", e.Image, ascii(e.Problem))
		return
	}
	fmt.Fprintf(b, "\nexplained  %s\n", e.About)
	repository, before := "", 0
	for _, p := range e.Places {
		if p.Repository != repository {
			repository, before = p.Repository, 0
			fmt.Fprintf(b, "  looked in %s\n", repository)
		}
		if p.Place == "" {
			fmt.Fprintf(b, "    %s\n", p.found(before))
			continue
		}
		fmt.Fprintf(b, "    %-14s %s\n", p.Place, p.found(before))
		if p.Name != "" {
			fmt.Fprintf(b, "      %s\n", p.Name)
		}
		for _, n := range p.Found {
			before += n
		}
	}
	for _, a := range e.Authorities {
		a.write(b)
	}
}

// found says what one place has, besides what those before it have.
func (p explainedPlace) found(before int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(p.Found)) {
		parts = append(parts, plural(p.Found[kind], kind))
	}
	text := strings.Join(parts, ", ")
	switch {
	case p.Error != "" && text != "":
		return text + "; not all of it could be read: " + p.Error
	case p.Error != "":
		return "could not be read: " + p.Error
	case text != "":
		return text
	case p.Place == placeFallback && before > 0:
		return "nothing more"
	}
	return "nothing"
}

const placeFallback = "fallback tag"

// plural counts things whose kinds are a noun, with or without more behind it.
func plural(n int, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	noun, rest, _ := strings.Cut(kind, " ")
	if rest != "" {
		rest = " " + rest
	}
	return fmt.Sprintf("%d %ss%s", n, noun, rest)
}

func (a explainedVoucher) write(b *strings.Builder) {
	fmt.Fprintf(b, "  authority %s, for %s\n", a.Name, strings.Join(a.AskedBy, ", "))
	t := table{b, 4, 8}
	is, names := a.is()
	t.row("is", is)
	for _, n := range names {
		t.row("", "- "+n)
	}
	t.rows("roots", a.Roots)
	if a.TrustRoot != "" {
		t.rows("trusts", slices.Concat([]string{"TrustRoot " + a.TrustRoot}, a.Trusts))
	}
	t.rows("demands", a.Demands)
	if len(a.Demands) == 0 {
		t.row("demands", "nothing beside the signature")
	}
	t.row("papers", a.Repository)
	for _, u := range a.Unanswered {
		t.row("problem", u)
	}
	if len(a.Papers) == 0 {
		if len(a.Unanswered) == 0 {
			t.row("found", "nothing")
		}
		t.row("cure", a.Cure)
		t.command(a.Run)
		return
	}
	t.row("found", plural(len(a.Papers), "paper")+", "+a.counted())
	for i, p := range a.Papers {
		p.write(b, i+1, a.Wants != "")
	}
	t.rows("verdict", a.Verdicts)
}

// counted says how many papers were accepted. Of what is more than a signature that isn't the last word: what it says is judged after.
func (a explainedVoucher) counted() string {
	switch {
	case a.Wants == "":
		return noneOr(a.Accepted) + " accepted"
	case a.Accepted > 1:
		return fmt.Sprintf("%d of them each %s, rightly signed", a.Accepted, a.Wants)
	}
	return noneOr(a.Accepted) + " of them " + a.Wants + ", rightly signed"
}

// table writes rows of a name and a text.
type table struct {
	b      *strings.Builder
	indent int
	names  int // how wide they are
}

// row writes a text; none if it is empty. What is too long for a line goes on below, two columns further right.
func (t table) row(name, text string) {
	if text == "" {
		return
	}
	const columns = 100
	room := columns - t.indent - t.names - 1
	for i, line := range wrap(text, room) {
		if i > 0 {
			name, line = "", "  "+line
		}
		fmt.Fprintf(t.b, "%*s%-*s %s\n", t.indent, "", t.names, name, line)
	}
}

// command writes one in a line, however long, so that it can be copied.
func (t table) command(text string) {
	if text != "" {
		fmt.Fprintf(t.b, "%*s%-*s %s\n", t.indent, "", t.names, "run", text)
	}
}

// rows writes texts under one name.
func (t table) rows(name string, texts []string) {
	for _, text := range texts {
		t.row(name, text)
		name = ""
	}
}

// wrap breaks a text at spaces, so that a line has at most so many bytes; two fewer from the second on. A word that is longer has a line
// of its own.
func wrap(text string, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case line == "-" || len(line)+1+len(word) <= most: // a dash is nothing without what it is for
			line += " " + word
		default:
			if len(lines) == 0 {
				most -= 2
			}
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

func noneOr(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// is says who the authority is, and whom it names.
func (a explainedVoucher) is() (string, []string) {
	switch a.Kind {
	case "key":
		return "whoever holds one of these keys", a.Keys
	case "keyless":
		return "whoever a Fulcio confirmed to be one of", a.Identities
	case "certificate":
		return "whoever holds a certificate of the own PKI with one of these names", a.Identities
	}
	return "nobody", nil
}

func (p paper) write(b *strings.Builder, n int, statement bool) {
	what := p.Form
	switch {
	case what == "":
		what = "paper"
	case p.Place == placeName(verify.PlaceSignatures):
		what += " signature"
	case p.Place == placeName(verify.PlaceAttestation):
		what += " attestation"
	}
	if _, hex, ok := strings.Cut(p.Source, ":"); ok && len(hex) > 12 {
		what += " sha256:" + hex[:12] + "..."
	}
	verdict := "not accepted"
	switch {
	case p.Accepted && p.Unread != "":
		verdict = "rightly signed, but can't be read"
	case p.Accepted && statement:
		verdict = "rightly signed"
	case p.Accepted:
		verdict = "accepted"
	}
	fmt.Fprintf(b, "    %3d. %s, from the %s: %s\n", n, what, p.Place, verdict)
	t := table{b, 9, 7}
	t.row("by", p.Signer)
	t.rows("wanted", p.Wanted)
	t.rows("says", p.Says)
	t.rows("seen", p.SeenBy)
	t.row("dated", p.Dated)
	t.row("why", p.Unread)
	t.row("why", p.Why)
	t.row("detail", p.Detail)
	t.row("cure", p.Cure)
	t.command(p.Run)
}
