package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/internal/telemetry"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// flagHelp is a flag in the help of either program: with one dash or two, and a shorthand before it.
var flagHelp = regexp.MustCompile(`^ {2,6}(-[a-z], )?--?([a-z][a-z-]+)( |$)`)

// flagDefault is a default at the end of a flag's help.
var flagDefault = regexp.MustCompile(`\(default:? "?([^()"]*)"?\)$`)

// flagsOf reads the flags of a program from its own help: the default of each, empty where the help gives none.
func flagsOf(t testing.TB, program string, args ...string) map[string]string {
	t.Helper()
	got := runProgram(t, program, append(args, "--help")...)
	flags := map[string]string{}
	last := ""
	for line := range strings.Lines(got.stdout + got.stderr) {
		line = strings.TrimRight(line, "\n")
		if m := flagHelp.FindStringSubmatch(line); m != nil {
			last = m[2]
			flags[last] = ""
		}
		if m := flagDefault.FindStringSubmatch(line); m != nil && last != "" {
			flags[last] = m[1]
		}
	}
	delete(flags, "help")
	if len(flags) < 3 {
		t.Fatalf("%s --help shows only %v:\n%s%s", program, flags, got.stdout, got.stderr)
	}
	return flags
}

func TestTheFlagsOfTheWebhookAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	checkFlags(t, "docs/operations.md", flagsOf(t, "webhook"))
}

func TestTheFlagsOfVerifyAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	checkFlags(t, "docs/verify.md", flagsOf(t, "pratique", "verify"))
}

// checkFlags compares a page's table of flags with those there are, defaults too where the program has one word for it.
func checkFlags(t *testing.T, path string, have map[string]string) {
	t.Helper()
	var listed []string
	for _, row := range readPage(t, path).section(t, "Flags").rows(t, "flag") {
		long := codes(row[0])
		name := strings.TrimPrefix(long[len(long)-1], "--")
		listed = append(listed, name)
		want := have[name]
		if short := len(want) < 40; want != "" && short && plain(row[1]) != want {
			t.Errorf("%s: the default of --%s is %q, the page says %q", path, name, want, plain(row[1]))
		}
	}
	sameLists(t, path+", Flags", listed, slices.Collect(maps.Keys(have)))
}

// collectors is a prometheus.Registerer that keeps what it is given.
type collectors []prometheus.Collector

// Register implements prometheus.Registerer.
func (c *collectors) Register(one prometheus.Collector) error {
	*c = append(*c, one)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (c *collectors) MustRegister(all ...prometheus.Collector) { *c = append(*c, all...) }

// Unregister implements prometheus.Registerer.
func (c *collectors) Unregister(prometheus.Collector) bool { return false }

var description = regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: \{([^}]*)\}`)

// describe returns the metrics, each with its labels.
func (c *collectors) describe(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, one := range *c {
		descs := make(chan *prometheus.Desc, 8)
		one.Describe(descs)
		close(descs)
		for d := range descs {
			m := description.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("can't read %s", d)
			}
			out[m[1]] = strings.ReplaceAll(m[2], ",", ", ")
		}
	}
	return out
}

func TestTheMetricsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	var reg collectors
	if _, err := telemetry.New(&reg, io.Discard); err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := telemetry.ObserveCache(&reg, verifier); err != nil {
		t.Fatal(err)
	}
	if err := telemetry.ObserveCertificate(&reg, func() time.Time { return time.Time{} }); err != nil {
		t.Fatal(err)
	}
	if err := telemetry.ObserveTrustRoots(&reg, func() []telemetry.TrustRoot { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := telemetry.NewRefreshes(&reg, []string{"updated"}); err != nil {
		t.Fatal(err)
	}
	have := reg.describe(t)
	if inSource := metricNames(t); !slices.Equal(inSource, slices.Sorted(maps.Keys(have))) {
		t.Errorf("the source names %v, registered were %v: tell this test of what registers the others", inSource, slices.Sorted(maps.Keys(have)))
	}
	listed := map[string]string{}
	for _, row := range readPage(t, "docs/operations.md").section(t, "Metrics").rows(t, "metric") {
		listed[plain(row[0])] = plain(row[1])
	}
	if diff := cmp.Diff(have, listed); diff != "" {
		t.Errorf("docs/operations.md, Metrics (-registered, +listed):\n%s", diff)
	}
}

// metricNames returns the names of metrics in the source of the product.
func metricNames(t testing.TB) []string {
	t.Helper()
	name := regexp.MustCompile(`(?:Name:\s+|NewDesc\()"(pratique_[a-z_]+)"`)
	found := map[string]bool{}
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		for _, text := range goFiles(t, dir, func(file string) bool { return !strings.HasSuffix(file, "_test.go") }) {
			for _, m := range name.FindAllStringSubmatch(text, -1) {
				found[m[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// goFiles returns the text of the Go files below a folder, by their path below the root.
func goFiles(t testing.TB, dir string, wanted func(file string) bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, dir), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || !wanted(file) {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, file)
		out[filepath.ToSlash(below)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryMetricThatAPageNamesIsThere(t *testing.T) {
	t.Parallel()
	known := metricNames(t)
	name := regexp.MustCompile(`pratique_[a-z_]+`)
	for _, p := range pages(t) {
		for i, line := range p.lines {
			for _, metric := range name.FindAllString(line, -1) {
				if metric != "pratique_" && !slices.Contains(known, metric) {
					t.Errorf("%s:%d: there is no metric %s", p.path, i+1, metric)
				}
			}
		}
	}
}

// logged is one line of the decision log.
type logged struct {
	Message string `json:"msg"`
	admission.Record
}

func TestTheDecisionLogIsAsThePageSays(t *testing.T) {
	t.Parallel()
	section := readPage(t, "docs/operations.md").section(t, "The decision log")
	never := func(string) bool { return false }
	sameLists(t, "docs/operations.md, The decision log", column(t, section, "field"), fieldsOf(reflect.TypeFor[logged](), "", never))

	var example string
	for _, b := range section.blocks(t) {
		if b.is("json") {
			example = b.text()
		}
	}
	var record logged
	strict := json.NewDecoder(strings.NewReader(example))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&record); err != nil {
		t.Fatalf("the example: %v", err)
	}
	var line bytes.Buffer
	tel, err := telemetry.New(&collectors{}, &line)
	if err != nil {
		t.Fatal(err)
	}
	tel.Record(record.Record)
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(example), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example isn't what is logged (-page, +log):\n%s", diff)
	}
	for _, reason := range record.Reasons {
		if !slices.Contains(policy.Reasons(), policy.Reason(reason)) {
			t.Errorf("the example has the reason %s", reason)
		}
	}
}

func TestTheAuditAnnotationsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	hash := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	d := admission.Decision{Images: []admission.Judged{{
		Images: []admission.Image{container("a/b")}, Written: "a/b", Digest: hash, Expected: 1,
		Verdicts: []policy.Verdict{{
			Policy: policy.Name{Name: "p"}, Digest: "sha256:p", Stale: true,
			Used:    []policy.Use{{Exception: "n/e", Owner: "o", ID: "CVE-2026-1"}},
			Results: []policy.Result{{Requirement: "signature", Outcome: policy.Satisfied, Reason: policy.Verified}},
		}},
	}}}
	have := slices.Collect(maps.Keys(d.Annotations()))
	sameLists(t, "docs/operations.md, The audit log", column(t, readPage(t, "docs/operations.md").section(t, "The audit log"), "annotation"), have)
	page := strings.Join(readPage(t, "docs/operations.md").lines, "\n")
	for _, webhook := range []string{admission.WebhookImages, admission.WebhookTemplates, admission.WebhookPin, admission.WebhookPolicies} {
		if !strings.Contains(page, "`"+webhook+"/`") {
			t.Errorf("the page doesn't name %s", webhook)
		}
	}
}

func TestTheBoundsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	mib := func(n int) string { return fmt.Sprintf("%d MiB", n>>20) }
	kib := func(n int) string { return fmt.Sprintf("%d KiB", n>>10) }
	want := map[string]string{
		"images of one Pod":                  fmt.Sprint(admission.MaxImages),
		"AdmissionReview":                    mib(server.MaxBody),
		"a reference":                        fmt.Sprintf("%d bytes", policy.MaxReference),
		"manifest, index, page of referrers": mib(registry.MaxManifest),
		"manifests below one index":          fmt.Sprint(verify.MaxChildren),
		"depth of indexes":                   fmt.Sprint(verify.MaxIndexDepth),
		"the list of registries":             mib(registry.MaxRegistries),
		"one paper":                          fmt.Sprintf("%s of payload", mib(verify.MaxPayload)),
		"papers listed for one image":        fmt.Sprint(verify.MaxListed),
		"papers verified for one image":      fmt.Sprint(verify.MaxVerified),
		"keys of one authority":              fmt.Sprint(verify.MaxKeys),

		"a predicate that rules are about": kib(predicate.MaxWhole),
		"packages of one SBOM":             fmt.Sprint(predicate.MaxPackages),
		"licences of one SBOM":             fmt.Sprint(predicate.MaxLicenses),
		"one licence":                      fmt.Sprintf("%s, %d identifiers, %d parentheses deep", kib(predicate.MaxLicense), predicate.MaxLicenseTerms, predicate.MaxLicenseDepth),
		"findings of one scan":             fmt.Sprint(predicate.MaxFindings),
		"secrets of one scan":              fmt.Sprint(predicate.MaxSecrets),
		"statements of one VEX document":   fmt.Sprint(predicate.MaxStatements),
		"rules of one custom requirement":  fmt.Sprint(policy.MaxRules),
		"one rule":                         fmt.Sprintf("%d bytes", policy.MaxExpression),
		"ImageExceptions of one namespace": fmt.Sprint(compile.MaxExceptions),
		"life of an ImageException":        fmt.Sprintf("%d days", policy.MaxExceptionAge/(24*time.Hour)),
		"keys of one policy":               fmt.Sprint(compile.MaxKeys),
		"PEM of one authority":             kib(verify.MaxPolicyPEM),
		"redirects":                        "5, https only",

		"roots of one authority":                        fmt.Sprint(verify.MaxRoots),
		"identities of one authority":                   fmt.Sprint(verify.MaxIdentities),
		"certificates that come with a signature":       fmt.Sprint(verify.MaxChain),
		"text of those certificates":                    kib(verify.MaxChainPEM),
		"log entries of one bundle":                     fmt.Sprint(verify.MaxEntries),
		"signed timestamps of one bundle":               fmt.Sprint(verify.MaxStamps),
		"body of a log entry":                           kib(verify.MaxEntry),
		"checkpoint of a log entry":                     fmt.Sprintf("%s, %d lines; of Rekor v2 %s, %d lines", kib(verify.MaxCheckpoint), verify.MaxCheckpointLines, kib(verify.MaxTileCheckpoint), verify.MaxTileCheckpointLines),
		"log entry of a legacy layer":                   kib(verify.MaxLogAnnotation),
		"timestamp of a legacy layer":                   kib(verify.MaxStampAnnotation),
		"verifications for one question about an image": fmt.Sprint(verify.MaxChecks),
		"of them for each paper, before any has more":   fmt.Sprint(verify.MaxFirstChecks),
		"TrustRoots":               fmt.Sprint(compile.MaxTrustRoots),
		"sources of one TrustRoot": fmt.Sprint(verify.MaxTrustedRoots),
		"a trusted root":           kib(trust.MaxTrustedRoot),
		"TUF mirrors":              fmt.Sprint(trust.MaxMirrors),
		"a mirror's root.json":     fmt.Sprintf("%d bytes", trust.MaxTUFRoot),

		// which said compares with what the code has
		"identities of one policy":                "256",
		"papers over 1 MiB of one image":          "256 MiB",
		"trusted roots of one TrustRoot together": "512 KiB",
	}
	got := map[string]string{}
	for _, row := range readPage(t, "docs/operations.md").section(t, "Bounds").rows(t, "what") {
		got[row[0]] = row[1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/operations.md, Bounds (-code, +page):\n%s", diff)
	}
}

// values returns the chart's values by their paths, as they are set on the command line.
func values(t testing.TB) map[string]any {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/helm/pratique/values.yaml")), &tree); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for name, value := range tree {
		inner, nested := value.(map[string]any)
		if !nested || slices.Contains([]string{"resources", "nodeSelector", "affinity", "podLabels"}, name) { // Kubernetes' own, described there
			out[name] = value
			continue
		}
		for key, v := range inner {
			out[name+"."+key] = v
		}
	}
	return out
}

func TestTheChartsValuesAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	have := values(t)
	var listed []string
	for _, row := range readPage(t, "docs/install.md").section(t, "Values").rows(t, "value") {
		name := plain(row[0])
		listed = append(listed, name)
		switch v := have[name].(type) {
		case string:
			if v != "" && plain(row[1]) != v {
				t.Errorf("docs/install.md: the default of %s is %q, the page says %q", name, v, row[1])
			}
		case float64, bool:
			if row[1] != fmt.Sprint(v) {
				t.Errorf("docs/install.md: the default of %s is %v, the page says %q", name, v, row[1])
			}
		}
	}
	sameLists(t, "docs/install.md, Values", listed, slices.Collect(maps.Keys(have)))
}
