package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// approveFlags are the flags of `pratique approve`.
type approveFlags struct {
	signFlags
	environment string
	reason      string
	ticket      string
}

func approveCommand() *cobra.Command {
	var f approveFlags
	cmd := &cobra.Command{
		Use:   "approve IMAGE@DIGEST --environment NAME --key FILE [--reason TEXT] [--ticket TEXT]",
		Short: "Sign that an image may run in an environment",
		Long: `Sign that an image may run in an environment, and keep that with the image: what a policy's approvals ask for.

The image is named by digest, for a tag may move; given a tag, this prints the digest that it stands for. An approval is about that digest and that
environment, and about no other. An index is approved as an index.

Exit status: 0 the approval is signed and kept; 2 a registry or the timestamp server did not do its part; 3 used wrongly, or there is no such image.`,
		Example: `  pratique approve registry.example.com/payments/api@sha256:... --environment production --key lead.key
  pratique approve registry.example.com/payments/api@sha256:... --environment production --key lead.key --reason "smoke tests looked at" --ticket CHG-4711`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, images []string) error {
			if len(images) != 1 {
				return wrong("%d images: want one, by digest", len(images))
			}
			return f.run(cmd.Context(), cmd.Root().DisplayName(), cmd.OutOrStdout(), cmd.ErrOrStderr(), images[0])
		},
	}
	flags := cmd.Flags()
	f.bind(flags)
	flags.StringVar(&f.environment, "environment", "", "the `NAME` of the environment where it may run, as policies write it")
	flags.StringVar(&f.reason, "reason", "", "why, for people")
	flags.StringVar(&f.ticket, "ticket", "", "where it was asked for, for people")
	return cmd
}

func (f *approveFlags) run(ctx context.Context, program string, out, notes io.Writer, image string) error {
	ctx, cancel := context.WithTimeout(ctx, attestTimeout)
	defer cancel()
	if f.environment == "" {
		return wrong("--environment is needed: where the image may run, as policies write it")
	}
	at := time.Now().UTC().Truncate(time.Second)
	text, err := predicate.NewApproval(f.environment, at, f.reason, f.ticket)
	if err != nil {
		return wrong("--environment, --reason, --ticket: %w", err)
	}
	s, err := f.open(ctx, image)
	if err != nil {
		return err
	}
	a, err := s.attestor(ctx, notes)
	if err != nil {
		return err
	}
	before, known := s.approvals(ctx, a.Key, f.environment)
	m, err := s.attest(ctx, a, predicate.TypeApproval, text)
	if err != nil {
		return err
	}
	m.Environment, m.ApprovedAt, m.Before = f.environment, &at, before
	switch {
	case len(before) > 0:
		fmt.Fprintf(notes, "note: this key had approved it for %s before, last on %s; it is signed anew, for an approval's age may count\n",
			f.environment, before[len(before)-1].Format(time.RFC3339))
	case !known:
		fmt.Fprintln(notes, "note: whether this key had approved it before can't be told: not all papers could be read")
	}
	if f.output == "json" {
		return writeJSON(out, m)
	}
	_, err = io.WriteString(out, s.lines(fmt.Sprintf("approved for %s: %s", f.environment, m.Image), program, m))
	return err
}

// approvals are when a key has approved the image for an environment, as far as that is known: of papers that could be read, all.
func (s *signing) approvals(ctx context.Context, key promote.SigningKey, environment string) (at []time.Time, whole bool) {
	by, err := verify.NewKeyAuthority("this key", []verify.Key{key.Public()}, verify.Terms{Repository: s.elsewhere})
	if err != nil {
		return nil, false
	}
	question, err := verify.Papers(by, predicate.KindApproval)
	if err != nil {
		return nil, false
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return nil, false
	}
	found := verifier.Findings(ctx, s.reader, s.image, []verify.Question{question}, verify.Anew)[0]
	for _, e := range found.Evidence {
		facts, err := e.Facts()
		if approval, ok := facts.(*predicate.Approval); ok && err == nil && e.Subject().String() == s.image.DigestStr() && approval.Environment() == environment {
			at = append(at, approval.Time())
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	whole, _ = found.Whole()
	return at, whole
}
