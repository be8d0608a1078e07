package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// saysExit is how commands end that tell what verified papers say.
const saysExit = `Exit status: 0 it is told; 1 a paper is missing, or is not what the policy wants of it, or nothing is left to tell; 2 something could not be found out;
3 used wrongly, or no policy asks for such a paper.`

// bindSays binds the flags of what tells what papers say.
func (f *verifyFlags) bindSays(flags *pflag.FlagSet) {
	f.unmatched, f.pin = "Allow", true // which nobody asks here
	f.bindPolicies(flags)
	f.bindRegistries(flags)
}

// saysCommand is a command about one image.
func (f *verifyFlags) saysCommand(cmd *cobra.Command, run func(ctx context.Context, out, notes io.Writer, image string) error) *cobra.Command {
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = func(cmd *cobra.Command, images []string) error {
		if len(images) != 1 {
			return wrong("%d images: want one", len(images))
		}
		f.namespaced = cmd.Flags().Changed("namespace")
		ctx, cancel := context.WithTimeout(cmd.Context(), verifyTimeout)
		defer cancel()
		return run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), images[0])
	}
	f.bindSays(cmd.Flags())
	return cmd
}

// said is what the policies of a namespace are judged by, of one requirement of one image.
type said struct {
	Image     string    `json:"image"` // as written
	Digest    string    `json:"digest"`
	Namespace string    `json:"namespace"`
	Asked     []chapter `json:"asked"`
}

// chapter is what one policy is judged by, of one digest.
type chapter struct {
	Policy   string `json:"policy"`
	Platform string `json:"platform,omitempty"`
	Digest   string `json:"digest"` // the image's, or a child's
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
	// Papers are sboms or scans.
	Papers []any `json:"papers"`

	of policy.Chosen
}

// paperHead is what both kinds of papers have in common.
type paperHead struct {
	By     string     `json:"by"`
	Signer string     `json:"signer"`
	Source string     `json:"source"`
	Time   *time.Time `json:"time,omitempty"` // that counts for its age
}

func headOf(p policy.ChosenPaper) paperHead {
	h := paperHead{By: p.By, Signer: p.Signer, Source: p.Source.String()}
	if !p.At.IsZero() {
		h.Time = &p.At
	}
	return h
}

func (h paperHead) String() string {
	at := "of no time that anybody tells"
	if h.Time != nil {
		at = "of " + h.Time.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("by %s (%s), %s, in %s", h.By, ascii(h.Signer), at, h.Source)
}

// say finds what the policies that match an image are judged by, of a requirement, and what kind of paper that is in words.
func (f *verifyFlags) say(ctx context.Context, notes io.Writer, written, requirement, what string) (said, inForce, error) {
	var none said
	rule, err := f.check()
	if err != nil {
		return none, inForce{}, err
	}
	ref, err := policy.ParseReference(written)
	if err != nil {
		return none, inForce{}, wrong("%.160q: %w", written, err)
	}
	in, err := f.policies(ctx, rule, notes)
	if err != nil {
		return none, in, err
	}
	for _, w := range in.objects.warnings {
		fmt.Fprintln(notes, "warning:", w)
	}
	a := asks{in: in, img: policy.Image{Reference: ref, Namespace: f.namespace, Now: time.Now(), Exceptions: in.set.Exceptions}, requirement: requirement}
	if err := a.open(ctx, f); err != nil {
		return none, in, err
	}
	out := said{Image: written, Digest: a.img.Digest.String(), Namespace: f.namespace, Asked: []chapter{}}
	policies := in.set.Select(ref, a.img.Digest).Policies
	for _, p := range policies {
		out.Asked = append(out.Asked, a.chapters(ctx, p)...)
	}
	if len(out.Asked) == 0 {
		return out, in, wrong("no policy of namespace %s that is about %s asks for %s, so that nobody is trusted to say: give -n NAMESPACE or -f FILE, or write %s: {by: [...]} into a policy",
			f.namespace, written, what, requirement)
	}
	return out, in, nil
}

// asks asks about one requirement of one image.
type asks struct {
	in          inForce
	img         policy.Image
	requirement string
	verifier    *verify.Verifier
	registry    verify.Fetcher
}

// open opens the image's repository, and resolves its tag.
func (a *asks) open(ctx context.Context, f *verifyFlags) error {
	e, err := f.evaluator(a.in.set)
	if err != nil {
		return err
	}
	open, err := e.Registries.Open(ctx, f.namespace, nil)
	if err != nil {
		return unreached(err)
	}
	ref := a.img.Reference
	registry, err := open(ref.Repository())
	if err != nil {
		return unreached(err)
	}
	a.verifier, a.registry = e.Verifier, registry
	if h, ok := ref.Digest(); ok {
		a.img.Digest = h
		return nil
	}
	digest, err := registry.Resolve(ctx, ref.Repository().Tag(ref.Tag()))
	if err != nil {
		return unreached(fmt.Errorf("which digest the tag stands for: %w", err))
	}
	a.img.Digest, err = v1.NewHash(digest.DigestStr())
	return err
}

// chapters asks what one policy is judged by. Of one that can't be used it isn't known whom it trusts.
func (a *asks) chapters(ctx context.Context, p *policy.Policy) (out []chapter) {
	if p.Unusable != "" {
		r := policy.Result{Requirement: a.requirement, Reason: policy.PolicyUnusable, Detail: p.Unusable}
		return []chapter{chapterOf(p, policy.Chosen{Digest: a.img.Digest, Result: r})}
	}
	questions := p.Chooses(a.requirement)
	if len(questions) == 0 {
		return nil
	}
	found := map[v1.Hash][]verify.Findings{}
	ask := func(digest v1.Hash) []verify.Findings {
		if _, done := found[digest]; !done {
			found[digest] = a.verifier.Findings(ctx, a.registry, a.img.Reference.Repository().Digest(digest.String()), questions, verify.Anew)
		}
		return found[digest]
	}
	know := func(digest v1.Hash, q verify.Question) verify.Findings {
		i := slices.IndexFunc(questions, func(other verify.Question) bool { return other.Fingerprint() == q.Fingerprint() })
		return ask(digest)[i]
	}
	for _, c := range p.Chosen(a.img, know, a.requirement) {
		out = append(out, chapterOf(p, c))
	}
	return out
}

func chapterOf(p *policy.Policy, c policy.Chosen) chapter {
	out := chapter{
		Policy: p.Name.String(), Digest: c.Digest.String(), Outcome: c.Result.Outcome.String(), Reason: string(c.Result.Reason),
		Detail: c.Result.Detail, Papers: []any{}, of: c,
	}
	if c.Platform.Told() {
		out.Platform = c.Platform.String()
	}
	return out
}

// exit ends the program with what came of it. Told says that something was left to tell.
func (s said) exit(in inForce, told bool) error {
	lines := func(all []string) string { return strings.Join(all, "\n  ") }
	code := exitAllowed
	for _, c := range s.Asked {
		switch c.of.Result.Outcome {
		case policy.Violated:
			code = exitViolated
		case policy.Undetermined:
			code = cmp.Or(code, exitUndetermined)
		case policy.Satisfied, policy.Exempt:
		}
	}
	switch {
	case len(in.unusable) > 0:
		return wrong("policies can't be used, for what they refer to isn't there or isn't fit:\n  %s", lines(append(in.unusable, in.unknown...)))
	case len(in.unknown) > 0:
		return &exitError{code: cmp.Or(code, exitUndetermined), err: fmt.Errorf("policies can't be used now, for what they refer to could not be reached:\n  %s", lines(in.unknown))}
	case code == exitAllowed && !told:
		return &exitError{code: exitViolated}
	case code != exitAllowed:
		return &exitError{code: code}
	}
	return nil
}

// head writes what a chapter is about, and what came of the requirement.
func (c chapter) head(b *strings.Builder, s said) {
	name := ascii(s.Image)
	if !strings.Contains(name, "@") {
		name += "@" + s.Digest
	}
	if c.Digest != s.Digest {
		name += "\n  " + strings.TrimSpace(ascii(c.Platform)+" "+c.Digest)
	}
	word := c.Reason
	if c.of.Result.Outcome == policy.Satisfied {
		word = "ok"
	}
	fmt.Fprintf(b, "%s\n  policy %s: %s: %s\n", name, c.Policy, word, c.Detail)
}

// columns writes rows below headings, cells aligned, each within a width that a terminal has room for.
func columns(b *strings.Builder, rows [][]string) {
	const most = 64
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = ascii(cell)
			if len(cell) > most {
				cell = cell[:most-3] + "..."
			}
			if i > 0 {
				line.WriteByte('\t')
			}
			line.WriteString(cmp.Or(cell, "-"))
		}
		fmt.Fprintln(w, "    "+line.String())
	}
	_ = w.Flush() // to memory
}
