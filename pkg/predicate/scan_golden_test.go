package predicate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readScanFile reads a file of testdata/scan by the form that its name tells. What a scanner writes without an envelope is put in one of
// cosign's, as cosign attest --type vuln wants it.
func readScanFile(t *testing.T, name string) (*Scan, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/scan", name))
	if err != nil {
		t.Fatal(err)
	}
	kind := TypeCosignVuln
	switch {
	case strings.HasPrefix(name, "cosign-vuln"):
	case strings.HasPrefix(name, "vulns-v0.1"):
		kind = TypeInTotoVulns01
	case strings.HasPrefix(name, "vulns-v0.2"):
		kind = TypeInTotoVulns02
	case strings.HasSuffix(name, ".sarif.json"):
		kind = TypeSARIF
	default:
		text = fmt.Appendf(nil, `{"scanner":{"result":%s}}`, text)
	}
	f, err := Read(kind, text)
	if err != nil {
		return nil, err
	}
	return f.(*Scan), nil
}

func stampOf(t time.Time) string {
	if t.IsZero() {
		return "untold"
	}
	return t.Format(time.RFC3339)
}

func dumpScan(s *Scan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "scanner %s %s\nfinished %s\ndatabase %s\nvulnerabilities sought %v, secrets sought %v\n",
		s.Scanner(), s.ScannerVersion(), stampOf(s.Time()), stampOf(s.Database()), s.SoughtVulnerabilities(), s.SoughtSecrets())
	for i := range s.Len() {
		f := s.Finding(i)
		fix := [...]string{"untold", "none", "known"}[f.Fix]
		fmt.Fprintf(&b, "%s %s %v %q %q fix %s %q %s\n", f.Severity, f.ID, f.Aliases, f.Package, f.Version, fix, f.Fixed, f.PURL)
	}
	for _, x := range s.Secrets() {
		fmt.Fprintf(&b, "secret %s %s %s\n", x.Severity, x.Rule, x.File)
	}
	return b.String()
}

// TestScansAsToolsWriteThem reads what each tool is documented to write, or wrote (grype), and compares the facts with those beside it.
func TestScansAsToolsWriteThem(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scan/*.json")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := readScanFile(t, name)
			if err != nil {
				t.Fatal(err)
			}
			got := dumpScan(s)
			if strings.Contains(got+s.words.text, "NEVER-KEEP-THIS") {
				t.Error("a secret is kept")
			}
			golden := strings.TrimSuffix(file, ".json") + ".facts"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
