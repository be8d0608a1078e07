package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// The words of decisions that something hangs on here; all others are counted as they come.
const (
	allowed    = "allowed"
	refused    = "refused"
	unchanged  = "unchanged"
	unjudged   = "unjudged"   // passed, since it is judged elsewhere
	pinned     = "pinned"     // by /pin, which decides nothing
	unresolved = "unresolved" // left a tag by /pin
)

// The results of reading the registries again.
const (
	reloaded    = "ok"
	notReloaded = "error"
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
	pins      *prometheus.CounterVec
	reloads   *prometheus.CounterVec
	hooks     *prometheus.GaugeVec
	panics    prometheus.Counter
	lost      prometheus.Counter
	dropped   prometheus.Counter
	certs     prometheus.Counter

	log *decisionLog
}

var _ admission.Recorder = (*Telemetry)(nil)

// New registers the metrics and returns what counts and logs. The decision log is written to log, a JSON object a line, by
// one goroutine at a time and behind the decisions: call Flush before the process ends, or before reading what was written.
func New(reg prometheus.Registerer, log io.Writer) (*Telemetry, error) {
	t := newMetrics()
	t.log = &decisionLog{out: log, lost: t.lost.Inc}
	for _, c := range []prometheus.Collector{
		t.decisions, t.results, t.reasons, t.duration, t.evidence, t.registry, t.latency, t.pins, t.reloads, t.hooks,
		t.panics, t.lost, t.dropped, t.certs,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metric: %w", err)
		}
	}
	t.startAtZero()
	return t, nil
}

// startAtZero makes what has labels be there before it is counted, so that an alert on a rate sees the first one.
func (t *Telemetry) startAtZero() {
	for _, r := range policy.Reasons() {
		t.reasons.WithLabelValues(string(r))
	}
	for webhook, decisions := range map[string][]string{
		admission.WebhookImages:    {allowed, refused, unchanged},
		admission.WebhookTemplates: {allowed, refused, unchanged, unjudged},
		admission.WebhookPin:       {pinned, unresolved, unjudged},
		admission.WebhookPolicies:  {allowed, refused},
	} {
		for _, d := range decisions {
			t.decisions.WithLabelValues(webhook, d)
		}
	}
	for _, result := range []string{pinned, unresolved} {
		t.pins.WithLabelValues(result)
	}
	for _, result := range []string{reloaded, notReloaded} {
		t.reloads.WithLabelValues(result)
	}
}

// newMetrics makes the metrics.
func newMetrics() *Telemetry {
	return &Telemetry{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_decisions_total", Help: "Admission decisions, by webhook and decision (allowed, refused, unchanged, unjudged, pinned, unresolved).",
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
		pins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_pins_total", Help: "References by tag that policies want pinned, by what came of it (pinned, unresolved).",
		}, []string{"result"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pratique_registries_reloads_total", Help: "Readings of a changed --registries file, by result (ok, error).",
		}, []string{"result"}),
		hooks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pratique_registered", Help: "Whether the API server's webhook object has the webhook as it should be: 1, or 0 if not or unknown.",
		}, []string{"webhook"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_panics_total", Help: "Panics in handlers. Each was answered as a failure, and ended nothing else.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_decision_log_errors_total", Help: "Decisions that could not be written to the decision log.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_decision_log_dropped_total", Help: "Decisions left out of the decision log because it was not read fast enough.",
		}),
		certs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pratique_certificate_errors_total", Help: "Failed renewals of the serving certificate.",
		}),
	}
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

// Record implements admission.Recorder: it counts a decision and has its line written. If the decision log isn't read it
// waits for room, a tenth of a second at most, and then counts the line as dropped.
func (t *Telemetry) Record(r admission.Record) {
	t.decisions.WithLabelValues(r.Webhook, r.Decision).Inc()
	t.duration.WithLabelValues(r.Webhook).Observe(r.Duration.Seconds())
	if r.Decision == refused {
		for _, reason := range r.Reasons {
			t.reasons.WithLabelValues(reason).Inc()
		}
	}
	for _, img := range r.Images {
		if r.Webhook == admission.WebhookPin {
			t.pins.WithLabelValues(pinResult(img)).Inc()
		}
		for _, v := range img.Verdicts {
			for _, res := range v.Results {
				t.results.WithLabelValues(res.Requirement, v.Mode, res.Outcome, res.Reason).Inc()
			}
		}
	}
	for _, o := range r.Omitted {
		t.omitted(r.Webhook, o)
	}
	t.write(r)
}

// omitted counts what the line has no room for as if it stood there.
func (t *Telemetry) omitted(webhook string, o admission.Omission) {
	switch {
	case o.Outcome == "": // of all kinds, for there are too many
	case webhook == admission.WebhookPin:
		t.pins.WithLabelValues(o.Outcome).Add(float64(o.Count))
	default:
		t.results.WithLabelValues(o.Requirement, o.Mode, o.Outcome, o.Reason).Add(float64(o.Count))
	}
}

// pinResult is what came of one reference that was to be pinned.
func pinResult(img admission.ImageRecord) string {
	if img.Digest == "" {
		return unresolved
	}
	return pinned
}

// write has one line written, whole or counted as lost or dropped.
func (t *Telemetry) write(r admission.Record) {
	line, err := json.Marshal(struct {
		Message string `json:"msg"`
		admission.Record
	}{"decision", r})
	if err != nil {
		t.lost.Inc()
		return
	}
	if !t.log.put(append(line, '\n')) {
		t.dropped.Inc()
	}
}

// Flush waits until all decisions that were recorded before are in the decision log, or the context is done: then the error
// says how many are not. Recording goes on as before; it is called when nobody records any more, at the process's end.
func (t *Telemetry) Flush(ctx context.Context) error { return t.log.flush(ctx) }

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

// PassedByServer counts a review that passed without a judgement: too late, a panic, or one that can't be read, at a webhook
// whose failures pass.
func (t *Telemetry) PassedByServer(webhook string) {
	t.decisions.WithLabelValues(webhook, unjudged).Inc()
}

// RegistriesReloaded counts a reading of a changed --registries file: nil if it is in force, else why it isn't.
func (t *Telemetry) RegistriesReloaded(err error) {
	result := reloaded
	if err != nil {
		result = notReloaded
	}
	t.reloads.WithLabelValues(result).Inc()
}

// Registered publishes whether the API server has a webhook as it should be.
func (t *Telemetry) Registered(webhook string, ok bool) {
	value := 0.0
	if ok {
		value = 1
	}
	t.hooks.WithLabelValues(webhook).Set(value)
}

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
