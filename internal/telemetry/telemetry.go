package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// Telemetry is the metrics and the decision log of one process.
type Telemetry struct {
	decisions *prometheus.CounterVec
	results   *prometheus.CounterVec
	reasons   *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	evidence  *prometheus.CounterVec
	registry  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	panics    prometheus.Counter
	lost      prometheus.Counter
	certs     prometheus.Counter

	mu  sync.Mutex
	log io.Writer
}

var _ admission.Recorder = (*Telemetry)(nil)

// New registers the metrics and returns what counts and logs. The decision log is written to log, a JSON object a line.
func New(reg prometheus.Registerer, log io.Writer) (*Telemetry, error) {
	t := &Telemetry{
		log: log,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_decisions_total", Help: "Admission decisions, by webhook and decision (allowed, refused, unchanged).",
		}, []string{"webhook", "decision"}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_results_total", Help: "Results of requirements, by requirement, mode, outcome and reason.",
		}, []string{"requirement", "mode", "outcome", "reason"}),
		reasons: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_refusals_total", Help: "Refused requests, by each reason that refused them (docs/reasons.md).",
		}, []string{"reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pratique_admission_duration_seconds", Help: "Time to decide, by webhook.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"webhook"}),
		evidence: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_evidence_events_total", Help: "What the evidence cache did (hit, miss, stale, refresh, evicted, panic).",
		}, []string{"event"}),
		registry: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_registry_requests_total", Help: "Requests to registries, by what was asked for and what came of it.",
		}, []string{"kind", "result"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pratique_registry_request_duration_seconds", Help: "Time to the end of a registry's answer, by what was asked for.",
			Buckets: prometheus.ExponentialBuckets(.005, 2, 12),
		}, []string{"kind"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_panics_total", Help: "Panics that became refusals.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_decision_log_errors_total", Help: "Decisions that could not be written to the decision log.",
		}),
		certs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_certificate_errors_total", Help: "Failed renewals of the serving certificate.",
		}),
	}
	for _, c := range []prometheus.Collector{t.decisions, t.results, t.reasons, t.duration, t.evidence, t.registry, t.latency, t.panics, t.lost, t.certs} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metric: %w", err)
		}
	}
	for _, r := range policy.Reasons() { // so that an alert on a rate sees the first one
		t.reasons.WithLabelValues(string(r))
	}
	return t, nil
}

// ObserveCache publishes the size of a verifier's cache.
func ObserveCache(reg prometheus.Registerer, v *verify.Verifier) error {
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pratique_evidence_bytes", Help: "Estimated bytes of the evidence held.",
	}, func() float64 { b, _ := v.Size(); return float64(b) })
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pratique_evidence_entries", Help: "Findings held: one for each image, credential and authority.",
	}, func() float64 { _, n := v.Size(); return float64(n) })
	if err := reg.Register(bytes); err != nil {
		return err
	}
	return reg.Register(entries)
}

// Record implements admission.Recorder: it counts a decision and writes its line.
func (t *Telemetry) Record(r admission.Record) {
	t.decisions.WithLabelValues(r.Webhook, r.Decision).Inc()
	t.duration.WithLabelValues(r.Webhook).Observe(r.Duration.Seconds())
	if r.Decision == "refused" {
		for _, reason := range r.Reasons {
			t.reasons.WithLabelValues(reason).Inc()
		}
	}
	for _, img := range r.Images {
		for _, v := range img.Verdicts {
			for _, res := range v.Results {
				t.results.WithLabelValues(res.Requirement, v.Mode, res.Outcome, res.Reason).Inc()
			}
		}
	}
	t.write(r)
}

// write writes one line at a time, whole or counted as lost.
func (t *Telemetry) write(r admission.Record) {
	line, err := json.Marshal(struct {
		Message string `json:"msg"`
		admission.Record
	}{"decision", r})
	if err != nil {
		t.lost.Inc()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.log.Write(append(line, '\n')); err != nil {
		t.lost.Inc()
	}
}

// Evidence counts what a verify.Verifier did: give it as its Observe.
func (t *Telemetry) Evidence(e verify.Event) { t.evidence.WithLabelValues(string(e)).Inc() }

// Panicked counts a panic that became a refusal.
func (t *Telemetry) Panicked() { t.panics.Inc() }

// RegistryRequest counts one request to a registry: what was asked for (manifest, referrers, blob, ping, token) and what came
// of it (a status class such as 2xx, or the kind of failure), with the time it took.
func (t *Telemetry) RegistryRequest(kind, result string, took time.Duration) {
	t.registry.WithLabelValues(kind, result).Inc()
	t.latency.WithLabelValues(kind).Observe(took.Seconds())
}

// RefusedByServer counts a refusal that no handler worded: too late, a panic, or a request that can't be read.
func (t *Telemetry) RefusedByServer(r policy.Reason) { t.reasons.WithLabelValues(string(r)).Inc() }

// CertificateError counts a failed renewal of the serving certificate.
func (t *Telemetry) CertificateError() { t.certs.Inc() }

// ObserveCertificate publishes when the serving certificate expires, for an alert well before.
func ObserveCertificate(reg prometheus.Registerer, notAfter func() time.Time) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pratique_certificate_expiry_timestamp_seconds", Help: "When the serving certificate expires, Unix time; 0 without one.",
	}, func() float64 {
		t := notAfter()
		if t.IsZero() {
			return 0
		}
		return float64(t.Unix())
	}))
}
