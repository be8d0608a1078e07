package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// attestFlags are the flags of `pratique attest`.
type attestFlags struct {
	signFlags
	kind      string
	predicate string
	subjects  []string
}

// shortTypes are the short names that are told; see typesNamed.
const shortTypes = "spdx, cyclonedx, vuln, slsaprovenance, testresult or openvex"

func attestCommand() *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use:   "attest IMAGE@DIGEST --type TYPE --predicate FILE --key FILE",
		Short: "Sign what is said about an image",
		Long: `Sign what is said about an image, an in-toto predicate, and keep that with the image: an SBOM, a scan, provenance, test results.

The predicate is read first as the webhook reads it, and one that it could not read is refused. The types have the short names spdx (or
spdxjson, as cosign calls it), cyclonedx, vuln (as cosign writes scans), slsaprovenance (v1, or else v0.2), testresult and openvex; any other is written out as a URI.

Exit status: 0 it is signed and kept; 2 a registry or the timestamp server did not do its part; 3 used wrongly, the predicate can't be read, or there
is no such image.`,
		Example: `  pratique attest registry.example.com/payments/api@sha256:... --type spdx --predicate sbom.spdx.json --key release.key
  pratique attest registry.example.com/payments/api@sha256:... --type https://acme.example/review/v1 --predicate review.json --key lead.key`,
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
	flags.StringVar(&f.kind, "type", "", "the predicate's `TYPE`: "+shortTypes+", or a URI")
	flags.StringVar(&f.predicate, "predicate", "", "`FILE` of the predicate, in JSON; - is standard input")
	flags.StringArrayVar(&f.subjects, "subject", nil, "`DIGEST` in the same repository that it is about as well, such as a child of an index (repeatable)")
	return cmd
}

func (f *attestFlags) run(ctx context.Context, program string, out, notes io.Writer, image string) error {
	ctx, cancel := context.WithTimeout(ctx, attestTimeout)
	defer cancel()
	predicateType, text, err := f.paper()
	if err != nil {
		return err
	}
	s, err := f.open(ctx, image)
	if err != nil {
		return err
	}
	subjects, err := f.beside(ctx, s)
	if err != nil {
		return err
	}
	a, err := s.attestor(ctx, notes)
	if err != nil {
		return err
	}
	m, err := s.attest(ctx, a, predicateType, text, subjects...)
	if err != nil {
		return err
	}
	for _, note := range []string{oddType(predicateType), dated(predicateType, text, time.Now())} {
		if note != "" {
			fmt.Fprintln(notes, "note:", note)
		}
	}
	if f.output == "json" {
		return writeJSON(out, m)
	}
	what := "attested: " + m.Image
	if len(subjects) > 0 {
		what += fmt.Sprintf(" and %d more", len(subjects))
	}
	_, err = io.WriteString(out, s.lines(what+"\n  as "+predicateType, program, m))
	return err
}

// paper reads the predicate, and tells its type.
func (f *attestFlags) paper() (predicateType string, text []byte, err error) {
	if f.kind == "" || f.predicate == "" {
		return "", nil, wrong("--type and --predicate are needed: what kind of paper it is, and the FILE that holds it")
	}
	if f.predicate == "-" && f.key == "-" {
		return "", nil, wrong("- is given twice, and standard input can be read once: write the rest to files")
	}
	types := typesNamed(f.kind)
	if types == nil {
		return "", nil, wrong("--type %.160q: want %s, or a URI", f.kind, shortTypes)
	}
	if text, err = readUpTo(f.predicate, verify.MaxPayload); err != nil {
		return "", nil, wrong("--predicate: %w", err)
	}
	for _, t := range types {
		if t == verify.CosignSign {
			return "", nil, wrong("--type %s: that is a signature, and no statement: cosign sign makes one", t)
		}
		bad := promote.Check(t, text)
		if bad == nil {
			return t, text, nil
		}
		if err == nil {
			err = bad
		}
	}
	return "", nil, wrong("--predicate %s: %w", f.predicate, err)
}

// typesNamed are the predicate types that a name may stand for, the likeliest first; none if it is no name.
func typesNamed(kind string) []string {
	switch kind {
	case "spdx", "spdxjson":
		return []string{predicate.TypeSPDX}
	case "cyclonedx":
		return []string{predicate.TypeCycloneDX}
	case "vuln":
		return []string{predicate.TypeCosignVuln}
	case "slsaprovenance":
		return []string{predicate.TypeProvenance1, predicate.TypeProvenance02}
	case "slsaprovenance1":
		return []string{predicate.TypeProvenance1}
	case "slsaprovenance02":
		return []string{predicate.TypeProvenance02}
	case "testresult":
		return []string{predicate.TypeTestResult}
	case "openvex":
		return []string{predicate.TypeOpenVEX}
	}
	if strings.Contains(kind, "://") {
		return []string{kind}
	}
	return nil
}

// beside are the images that the statement is about beside the one that it is kept with. Each must be there.
func (f *attestFlags) beside(ctx context.Context, s *signing) (out []name.Digest, err error) {
	if len(f.subjects) >= promote.MaxSubjects {
		return nil, wrong("--subject is given %d times: at most %d", len(f.subjects), promote.MaxSubjects-1)
	}
	for _, written := range f.subjects {
		h, err := v1.NewHash(written)
		if err != nil || h.Algorithm != "sha256" {
			return nil, wrong("--subject %.160q: want sha256: and 64 hex digits", written)
		}
		image := s.image.Digest(h.String())
		err = s.reader.Present(ctx, image)
		var failed *verify.FetchError
		switch {
		case errors.As(err, &failed) && failed.Kind == verify.NotFound:
			return nil, wrong("--subject: there is no image %s: %w", image, err)
		case err != nil:
			return nil, unreached(err)
		}
		out = append(out, image)
	}
	return out, nil
}

// writeJSON prints a document for programs.
func writeJSON(out io.Writer, document any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document)
}
