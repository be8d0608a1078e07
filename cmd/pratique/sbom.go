package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
)

// sbomFlags are the flags of `pratique sbom`.
type sbomFlags struct {
	verifyFlags
	licenses []string
}

func sbomCommand() *cobra.Command {
	var f sbomFlags
	cmd := f.saysCommand(&cobra.Command{
		Use:   "sbom IMAGE [-f FILE]... [-n NAMESPACE] [--license GLOB]",
		Short: "Tell the packages and licences of an image, by the SBOM that policies go by",
		Long: `Tell the packages and licences of an image, by the SBOM that policies go by: of each policy about the image that asks for one, the newest by an
authority that it names. What nobody signed whom a policy trusts is not told. Policies are chosen as by pratique verify.

` + saysExit,
		Example: `  pratique sbom -f policy.yaml registry.example.com/payments/api:1.4.2
  kubectl pratique sbom -n payments --license 'GPL-*' registry.example.com/payments/api:1.4.2`,
	}, f.run)
	cmd.Flags().StringArrayVar(&f.licenses, "license", nil, "tell only the packages with a licence that a `GLOB` matches, over one whole identifier without regard to case, as a policy's licenses do (repeatable: any of them)")
	return cmd
}

// sbomSaid is what an SBOM says, for programs.
type sbomSaid struct {
	paperHead
	Format   string        `json:"format"`
	Version  string        `json:"version"`
	Packages []packageSaid `json:"packages"`
	Licenses []licenseSaid `json:"licenses"`
	All      int           `json:"packagesInAll"`
}

type packageSaid struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	License string `json:"license"`
}

type licenseSaid struct {
	License  string `json:"license"`
	Packages int    `json:"packages"`
}

func (f *sbomFlags) run(ctx context.Context, out, notes io.Writer, image string) error {
	var globs []policy.LicenseGlob
	for _, text := range f.licenses {
		glob, err := policy.ParseLicenseGlob(text)
		if err != nil {
			return wrong("--license: %w", err)
		}
		globs = append(globs, glob)
	}
	take := func(s *predicate.SBOM, l *predicate.License) bool {
		return len(globs) == 0 || slices.ContainsFunc(globs, func(g policy.LicenseGlob) bool { return g.Matches(s, l) })
	}
	s, in, err := f.say(ctx, notes, image, "sbom", "an SBOM")
	if err != nil {
		return err
	}
	told := false
	for i, c := range s.Asked {
		for _, p := range c.of.Papers {
			if facts, ok := p.Facts.(*predicate.SBOM); ok {
				one := sbomOf(p, facts, take)
				told = told || len(one.Packages) > 0
				s.Asked[i].Papers = append(s.Asked[i].Papers, one)
			}
		}
	}
	if f.output == "json" {
		err = writeJSON(out, s)
	} else {
		_, err = io.WriteString(out, sbomText(s, strings.Join(f.licenses, " or ")))
	}
	if err != nil {
		return err
	}
	return s.exit(in, told)
}

// sbomOf gathers the packages of an SBOM whose licence is taken, by name, and the licences, the commonest first.
func sbomOf(p policy.ChosenPaper, facts *predicate.SBOM, take func(*predicate.SBOM, *predicate.License) bool) sbomSaid {
	out := sbomSaid{
		paperHead: headOf(p), Format: string(facts.Format()), Version: facts.Version(), All: facts.Packages(),
		Packages: []packageSaid{}, Licenses: []licenseSaid{},
	}
	all := facts.Licenses()
	for i := range all {
		l := &all[i]
		if !take(facts, l) {
			continue
		}
		out.Licenses = append(out.Licenses, licenseSaid{l.Text, l.Packages})
		for one := range l.All() {
			out.Packages = append(out.Packages, packageSaid{one.Name, one.Version, l.Text})
		}
	}
	slices.SortFunc(out.Packages, func(x, y packageSaid) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version), cmp.Compare(x.License, y.License))
	})
	slices.SortStableFunc(out.Licenses, func(x, y licenseSaid) int { return cmp.Compare(y.Packages, x.Packages) })
	return out
}

// sbomText tells people the same.
func sbomText(s said, globs string) string {
	var b strings.Builder
	for _, c := range s.Asked {
		c.head(&b, s)
		for _, p := range c.Papers {
			one, ok := p.(sbomSaid)
			if !ok {
				continue
			}
			fmt.Fprintf(&b, "  %s %s %s\n", ascii(one.Format), ascii(one.Version), one.paperHead)
			if globs != "" {
				fmt.Fprintf(&b, "  %d of %d packages under a licence that %s matches\n", len(one.Packages), one.All, ascii(globs))
			} else {
				fmt.Fprintf(&b, "  %d packages in all\n", one.All)
			}
			if len(one.Packages) == 0 {
				continue
			}
			rows := [][]string{{"PACKAGE", "VERSION", "LICENCE"}}
			for _, p := range one.Packages {
				rows = append(rows, []string{p.Name, p.Version, p.License})
			}
			columns(&b, rows)
			rows = [][]string{{"LICENCE", "PACKAGES"}}
			for _, l := range one.Licenses {
				rows = append(rows, []string{l.License, fmt.Sprint(l.Packages)})
			}
			b.WriteByte('\n')
			columns(&b, rows)
		}
	}
	return b.String()
}
