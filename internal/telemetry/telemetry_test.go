package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

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
	got, err := testutil.CollectAndFormat(reg, expfmt.TypeTextPlain, "pratique_decision_log_errors_total")
	if err != nil || !strings.Contains(string(got), "pratique_decision_log_errors_total 1") {
		t.Errorf("got %s (%v)", got, err)
	}
}
