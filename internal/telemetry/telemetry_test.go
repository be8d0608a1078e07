package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/pratique-dev/pratique/internal/telemetry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

func refusal() admission.Record {
	return admission.Record{
		Time: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), UID: "u1", Webhook: admission.WebhookImages, Operation: "CREATE", Resource: "pods",
		Namespace: "payments", User: "alice", Decision: "refused", Reasons: []string{string(policy.NoTrustedSignature)},
		Images: []admission.ImageRecord{{Places: []string{"container api"}, Image: "r.example/a:1", Refused: true, Verdicts: []admission.VerdictRecord{{
			Policy: "payments/production", Mode: "Enforce", Outcome: "violated",
			Results: []admission.ResultRecord{{Requirement: "signature", Outcome: "violated", Reason: string(policy.NoTrustedSignature), Detail: "not signed"}},
		}}}},
		Duration: time.Millisecond,
	}
}

func TestADecisionIsCountedAndLoggedAsOneLine(t *testing.T) {
	t.Parallel()
	reg, out := prometheus.NewRegistry(), &bytes.Buffer{}
	tel, err := telemetry.New(reg, out)
	if err != nil {
		t.Fatal(err)
	}
	tel.Record(refusal())
	tel.Evidence(verify.EventHit)
	tel.Panicked()
	tel.RegistryRequest("blob", "2xx", time.Millisecond)
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("%d lines, want 1", n)
	}
	var line struct {
		Message  string   `json:"msg"`
		Decision string   `json:"decision"`
		Reasons  []string `json:"reasons"`
		User     string   `json:"user"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Message != "decision" || line.Decision != "refused" || line.User != "alice" || len(line.Reasons) != 1 {
		t.Errorf("the line is %+v", line)
	}
	for name, want := range map[string]string{
		"pratique_decisions_total":         "pratique_decisions_total{decision=\"refused\",webhook=\"images.pratique.dev\"} 1\n",
		"pratique_results_total":           "pratique_results_total{mode=\"Enforce\",outcome=\"violated\",reason=\"NoTrustedSignature\",requirement=\"signature\"} 1\n",
		"pratique_panics_total":            "pratique_panics_total 1\n",
		"pratique_registry_requests_total": "pratique_registry_requests_total{kind=\"blob\",result=\"2xx\"} 1\n",
		"pratique_evidence_events_total":   "pratique_evidence_events_total{event=\"hit\"} 1\n",
	} {
		got, err := testutil.CollectAndFormat(reg, expfmt.TypeTextPlain, name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), want) {
			t.Errorf("%s:\n%s\nwant %s", name, got, want)
		}
	}
	if n, err := testutil.GatherAndCount(reg, "pratique_refusals_total"); err != nil || n != len(policy.Reasons()) {
		t.Errorf("%d reasons are counted from zero (%v), want all %d", n, err, len(policy.Reasons()))
	}
}

// collected returns the samples of a metric, a line each.
func collected(t *testing.T, reg *prometheus.Registry, metric string) string {
	t.Helper()
	got, err := testutil.CollectAndFormat(reg, expfmt.TypeTextPlain, metric)
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for line := range strings.Lines(string(got)) {
		if !strings.HasPrefix(line, "#") {
			samples = append(samples, strings.TrimPrefix(line, metric))
		}
	}
	return strings.Join(samples, "")
}

func TestMetricsStartAtZero(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	if _, err := telemetry.New(reg, io.Discard); err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]string{
		"pratique_decisions_total": `{decision="allowed",webhook="images.pratique.dev"} 0
{decision="allowed",webhook="policies.pratique.dev"} 0
{decision="allowed",webhook="workloads.pratique.dev"} 0
{decision="pinned",webhook="pin.pratique.dev"} 0
{decision="refused",webhook="images.pratique.dev"} 0
{decision="refused",webhook="policies.pratique.dev"} 0
{decision="refused",webhook="workloads.pratique.dev"} 0
{decision="unchanged",webhook="images.pratique.dev"} 0
{decision="unchanged",webhook="workloads.pratique.dev"} 0
{decision="unjudged",webhook="pin.pratique.dev"} 0
{decision="unjudged",webhook="workloads.pratique.dev"} 0
{decision="unresolved",webhook="pin.pratique.dev"} 0
`,
		"pratique_pins_total":                 "{result=\"pinned\"} 0\n{result=\"unresolved\"} 0\n",
		"pratique_registries_reloads_total":   "{result=\"error\"} 0\n{result=\"ok\"} 0\n",
		"pratique_decision_log_dropped_total": " 0\n",
		"pratique_decision_log_errors_total":  " 0\n",
		"pratique_panics_total":               " 0\n",
		"pratique_registered":                 "", // nobody has looked yet
	} {
		if diff := cmp.Diff(want, collected(t, reg, metric)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
}

// A /pin answer is neither an allowance nor a refusal, and a template that can't be judged is neither.
func TestAnswersThatDecideNothingAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		record  admission.Record
		samples map[string]string // among those of the metric
	}{
		"everything was pinned": {
			admission.Record{Webhook: admission.WebhookPin, Decision: "pinned", Images: []admission.ImageRecord{
				{Image: "r.example/a:1", Digest: digest}, {Image: "r.example/b:1", Digest: digest},
			}},
			map[string]string{
				"pratique_decisions_total": `{decision="pinned",webhook="pin.pratique.dev"} 1`,
				"pratique_pins_total":      "{result=\"pinned\"} 2\n{result=\"unresolved\"} 0",
			},
		},
		"something could not be pinned": {
			admission.Record{Webhook: admission.WebhookPin, Decision: "unresolved", Reasons: []string{string(policy.ImageNotFound)}, Images: []admission.ImageRecord{
				{Image: "r.example/a:1", Digest: digest}, {Image: "r.example/gone:1"},
			}},
			map[string]string{
				"pratique_decisions_total": `{decision="unresolved",webhook="pin.pratique.dev"} 1`,
				"pratique_pins_total":      "{result=\"pinned\"} 1\n{result=\"unresolved\"} 1",
				"pratique_refusals_total":  `{reason="ImageNotFound"} 0`, // nothing was refused
			},
		},
		"a template could not be judged": {
			admission.Record{Webhook: admission.WebhookTemplates, Decision: "unjudged", Reasons: []string{string(policy.RegistryUnavailable)}, Images: []admission.ImageRecord{
				{Image: "r.example/a:1", Verdicts: []admission.VerdictRecord{{Mode: "Enforce", Results: []admission.ResultRecord{
					{Requirement: "signature", Outcome: "undetermined", Reason: string(policy.RegistryUnavailable)},
				}}}},
			}},
			map[string]string{
				"pratique_decisions_total": `{decision="unjudged",webhook="workloads.pratique.dev"} 1`,
				"pratique_results_total":   `{mode="Enforce",outcome="undetermined",reason="RegistryUnavailable",requirement="signature"} 1`,
				"pratique_refusals_total":  `{reason="RegistryUnavailable"} 0`,
				"pratique_pins_total":      "{result=\"pinned\"} 0\n{result=\"unresolved\"} 0",
			},
		},
		"a template is refused": {
			admission.Record{Webhook: admission.WebhookTemplates, Decision: "refused", Reasons: []string{string(policy.NoTrustedSignature)}},
			map[string]string{
				"pratique_decisions_total": `{decision="refused",webhook="workloads.pratique.dev"} 1`,
				"pratique_refusals_total":  `{reason="NoTrustedSignature"} 1`,
			},
		},
		"a pin that a line has no room for": {
			admission.Record{Webhook: admission.WebhookPin, Decision: "unresolved", Images: []admission.ImageRecord{{Image: "r.example/gone:1"}}, Omitted: []admission.Omission{
				{Outcome: "pinned", Count: 200}, {Outcome: "unresolved", Count: 3},
			}},
			map[string]string{"pratique_pins_total": "{result=\"pinned\"} 200\n{result=\"unresolved\"} 4"},
		},
		"results that a line has no room for": {
			admission.Record{Webhook: admission.WebhookImages, Decision: "allowed", Omitted: []admission.Omission{
				{Requirement: "signature", Mode: "Enforce", Outcome: "satisfied", Reason: string(policy.Verified), Count: 100}, {Count: 7},
			}},
			map[string]string{"pratique_results_total": `{mode="Enforce",outcome="satisfied",reason="Verified",requirement="signature"} 100`},
		},
		"a word that nobody foresaw": {
			admission.Record{Webhook: admission.WebhookImages, Decision: "other"},
			map[string]string{"pratique_decisions_total": `{decision="other",webhook="images.pratique.dev"} 1`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, out := prometheus.NewRegistry(), &bytes.Buffer{}
			tel, err := telemetry.New(reg, out)
			if err != nil {
				t.Fatal(err)
			}
			tel.Record(c.record)
			if err := tel.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for metric, want := range c.samples {
				if got := collected(t, reg, metric); !strings.Contains("\n"+got, "\n"+want+"\n") {
					t.Errorf("%s:\n%swant %s", metric, got, want)
				}
			}
			if n, err := testutil.GatherAndCount(reg, "pratique_admission_duration_seconds"); err != nil || n != 1 {
				t.Errorf("%d durations (%v), want that of the answer", n, err)
			}
			var line admission.Record
			if err := json.Unmarshal(out.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.record, line, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the line (-recorded +logged):\n%s", diff)
			}
		})
	}
}

func TestWhatOthersTellIsCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	tel, err := telemetry.New(reg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	tel.PassedByServer(admission.WebhookTemplates)
	tel.PassedByServer(admission.WebhookPin)
	tel.RegistriesReloaded(nil)
	tel.RegistriesReloaded(errors.New("registries[0].prefix: empty"))
	tel.RegistriesReloaded(nil)
	tel.Registered(admission.WebhookImages, true)
	tel.Registered(admission.WebhookPin, true)
	tel.Registered(admission.WebhookPin, false)
	for metric, want := range map[string][]string{
		"pratique_decisions_total": {
			`{decision="unjudged",webhook="workloads.pratique.dev"} 1`, `{decision="unjudged",webhook="pin.pratique.dev"} 1`,
		},
		"pratique_registries_reloads_total": {`{result="ok"} 2`, `{result="error"} 1`},
		"pratique_registered":               {`{webhook="images.pratique.dev"} 1`, `{webhook="pin.pratique.dev"} 0`},
	} {
		got := collected(t, reg, metric)
		for _, sample := range want {
			if !strings.Contains("\n"+got, "\n"+sample+"\n") {
				t.Errorf("%s:\n%swant %s", metric, got, sample)
			}
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestALineThatCannotBeWrittenIsCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	tel, err := telemetry.New(reg, broken{})
	if err != nil {
		t.Fatal(err)
	}
	tel.Record(refusal())
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := testutil.CollectAndFormat(reg, expfmt.TypeTextPlain, "pratique_decision_log_errors_total")
	if err != nil || !strings.Contains(string(got), "pratique_decision_log_errors_total 1") {
		t.Errorf("got %s (%v)", got, err)
	}
}
