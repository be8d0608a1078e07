package telemetry

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TrustRoot is what is told of a trust root that is in use.
type TrustRoot struct {
	Name string
	// CheckedAt is when it was last known to be current: the last refresh that succeeded, or for a text the time it was read; for the
	// embedded root its date. Zero if never.
	CheckedAt time.Time
	// Expires is when it is no longer used, if it isn't refreshed before; zero for one that doesn't expire.
	Expires time.Time
	// Ready tells whether it can be used.
	Ready bool
}

// trustRoots collects what is known of trust roots at the moment of the scrape.
type trustRoots struct {
	states             func() []TrustRoot
	now                func() time.Time
	age, expiry, ready *prometheus.Desc
}

// ObserveTrustRoots publishes the age and expiry of trust roots, for alerts before they run out.
func ObserveTrustRoots(reg prometheus.Registerer, states func() []TrustRoot) error {
	labels := []string{"trust_root"}
	return reg.Register(trustRoots{
		states: states, now: time.Now,
		age: prometheus.NewDesc("pratique_trust_root_age_seconds",
			"Seconds since the trust root was last known to be current.", labels, nil),
		expiry: prometheus.NewDesc("pratique_trust_root_expiry_timestamp_seconds",
			"When the trust root is no longer used unless it is refreshed, Unix time; 0 for one that doesn't expire.", labels, nil),
		ready: prometheus.NewDesc("pratique_trust_root_ready",
			"Whether the trust root can be used: 1, or 0 if policies that refer to it refuse.", labels, nil),
	})
}

// Describe implements prometheus.Collector.
func (t trustRoots) Describe(out chan<- *prometheus.Desc) {
	out <- t.age
	out <- t.expiry
	out <- t.ready
}

// Collect implements prometheus.Collector.
func (t trustRoots) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, name string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
	}
	for _, s := range t.states() {
		if !s.CheckedAt.IsZero() {
			gauge(t.age, t.now().Sub(s.CheckedAt).Seconds(), s.Name)
		}
		expires, ready := 0.0, 0.0
		if !s.Expires.IsZero() {
			expires = float64(s.Expires.Unix())
		}
		if s.Ready {
			ready = 1
		}
		gauge(t.expiry, expires, s.Name)
		gauge(t.ready, ready, s.Name)
	}
}

// Refreshes counts the refreshes of trust roots from mirrors.
type Refreshes struct{ results *prometheus.CounterVec }

// NewRefreshes registers the counter, with each result at zero.
func NewRefreshes(reg prometheus.Registerer, results []string) (Refreshes, error) {
	if len(results) == 0 {
		return Refreshes{}, errors.New("no results to count")
	}
	r := Refreshes{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pratique_trust_root_refreshes_total", Help: "Refreshes of trust roots from TUF mirrors, by result.",
	}, []string{"result"})}
	for _, result := range results {
		r.results.WithLabelValues(result)
	}
	return r, reg.Register(r.results)
}

// Count counts one.
func (r Refreshes) Count(result string) { r.results.WithLabelValues(result).Inc() }
