package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
)

func scanReportCommand() *cobra.Command {
	var f verifyFlags
	return f.saysCommand(&cobra.Command{
		Use:   "scan-report IMAGE [-f FILE]... [-n NAMESPACE]",
		Short: "Tell the vulnerabilities of an image, by the scan that policies go by",
		Long: `Tell the vulnerabilities of an image, by the scan that policies go by: of each policy about the image that limits them, the newest by an authority
that it names. What a policy excuses by an exception or by VEX, or doesn't count for want of a fix, is marked. What nobody signed whom a policy trusts is
not told. Policies are chosen as by pratique verify.

` + saysExit,
		Example: `  pratique scan-report -f policy.yaml registry.example.com/payments/api:1.4.2
  kubectl pratique scan-report -n payments -o json registry.example.com/payments/api:1.4.2`,
	}, func(ctx context.Context, out, notes io.Writer, image string) error {
		return f.scanReport(ctx, out, notes, image)
	})
}

// scanSaid is what a scan says, for programs.
type scanSaid struct {
	paperHead
	Scanner  string         `json:"scanner"`
	Version  string         `json:"scannerVersion,omitempty"`
	Finished *time.Time     `json:"finished,omitempty"`
	Database *time.Time     `json:"database,omitempty"`
	Counts   map[string]int `json:"counts"` // of all findings, by severity
	Findings []findingSaid  `json:"findings"`
}

// findingSaid is one finding. Excused says why it doesn't count; empty if it does.
type findingSaid struct {
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	Severity string   `json:"severity"`
	Package  string   `json:"package,omitempty"`
	Version  string   `json:"version,omitempty"`
	Fix      string   `json:"fix,omitempty"` // the versions that fix it; yes or no, where only that is told
	Excused  string   `json:"excused,omitempty"`
}

func (f *verifyFlags) scanReport(ctx context.Context, out, notes io.Writer, image string) error {
	s, in, err := f.say(ctx, notes, image, "vulnerabilities", "a scan")
	if err != nil {
		return err
	}
	told := false
	for i, c := range s.Asked {
		for _, p := range c.of.Papers {
			if facts, ok := p.Facts.(*predicate.Scan); ok {
				told = true // that nothing was found is worth telling
				s.Asked[i].Papers = append(s.Asked[i].Papers, scanOf(p, facts))
			}
		}
	}
	if f.output == "json" {
		err = writeJSON(out, s)
	} else {
		_, err = io.WriteString(out, scanText(s))
	}
	if err != nil {
		return err
	}
	return s.exit(in, told)
}

// scanOf gathers the findings of a scan, the worst first, as it has them.
func scanOf(p policy.ChosenPaper, facts *predicate.Scan) scanSaid {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	out := scanSaid{
		paperHead: headOf(p), Scanner: facts.Scanner(), Version: facts.ScannerVersion(), Finished: at(facts.Time()), Database: at(facts.Database()),
		Counts: map[string]int{}, Findings: []findingSaid{},
	}
	for i := range facts.Len() {
		one := facts.Finding(i)
		out.Counts[one.Severity.String()]++
		fix := one.Fixed
		switch {
		case fix != "":
		case one.Fix == predicate.FixKnown:
			fix = "yes"
		case one.Fix == predicate.FixNone:
			fix = "no"
		}
		out.Findings = append(out.Findings, findingSaid{
			ID: one.ID, Aliases: one.Aliases, Severity: one.Severity.String(), Package: one.Package, Version: one.Version, Fix: fix, Excused: p.Excused[i],
		})
	}
	return out
}

// scanText tells people the same.
func scanText(s said) string {
	var b strings.Builder
	for _, c := range s.Asked {
		c.head(&b, s)
		for _, p := range c.Papers {
			one, ok := p.(scanSaid)
			if !ok {
				continue
			}
			fmt.Fprintf(&b, "  %s %s\n  %s\n", strings.TrimSpace(ascii(one.Scanner)+" "+ascii(one.Version)), one.paperHead, one.summary())
			if len(one.Findings) == 0 {
				continue
			}
			rows := [][]string{{"SEVERITY", "ID", "PACKAGE", "VERSION", "FIX", "EXCUSED BY"}}
			for _, x := range one.Findings {
				rows = append(rows, []string{x.Severity, x.ID, x.Package, x.Version, x.Fix, x.Excused})
			}
			columns(&b, rows)
		}
	}
	return b.String()
}

// summary is how many there are of each severity, and how many of all are excused.
func (s scanSaid) summary() string {
	var parts []string
	for severity := predicate.SeverityCritical; ; severity-- {
		if n := s.Counts[severity.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
		if severity == predicate.SeverityUnknown {
			break
		}
	}
	text := "no vulnerability was found"
	if len(parts) > 0 {
		text = strings.Join(parts, ", ")
	}
	excused := 0
	for _, f := range s.Findings {
		if f.Excused != "" {
			excused++
		}
	}
	if excused > 0 {
		text += fmt.Sprintf("; %d of them excused", excused)
	}
	if s.Database != nil {
		text += "; vulnerability database of " + s.Database.UTC().Format(time.RFC3339)
	}
	return text
}
