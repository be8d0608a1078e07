package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pratique-dev/pratique/internal/telemetry"
)

func TestRow74_TheAgeAndExpiryOfTrustRootsAreMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	states := []telemetry.TrustRoot{
		{Name: "corp", CheckedAt: time.Now().Add(-time.Hour), Expires: time.Unix(1_800_000_000, 0), Ready: true},
		{Name: "gone"},
	}
	if err := telemetry.ObserveTrustRoots(reg, func() []telemetry.TrustRoot { return states }); err != nil {
		t.Fatal(err)
	}
	const want = `
# HELP pratique_trust_root_expiry_timestamp_seconds When the trust root is no longer used unless it is refreshed, Unix time; 0 for one that doesn't expire.
# TYPE pratique_trust_root_expiry_timestamp_seconds gauge
pratique_trust_root_expiry_timestamp_seconds{trust_root="corp"} 1.8e+09
pratique_trust_root_expiry_timestamp_seconds{trust_root="gone"} 0
# HELP pratique_trust_root_ready Whether the trust root can be used: 1, or 0 if policies that refer to it refuse.
# TYPE pratique_trust_root_ready gauge
pratique_trust_root_ready{trust_root="corp"} 1
pratique_trust_root_ready{trust_root="gone"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pratique_trust_root_expiry_timestamp_seconds", "pratique_trust_root_ready"); err != nil {
		t.Error(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "pratique_trust_root_age_seconds" {
			continue
		}
		if n := len(f.GetMetric()); n != 1 { // what was never current has no age
			t.Fatalf("%d ages", n)
		}
		if age := f.GetMetric()[0].GetGauge().GetValue(); age < 3600 || age > 3700 {
			t.Errorf("age %v s, want an hour", age)
		}
		return
	}
	t.Error("no age")
}

func TestRefreshesOfTrustRootsAreCountedFromZero(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	r, err := telemetry.NewRefreshes(reg, []string{"updated", "refused"})
	if err != nil {
		t.Fatal(err)
	}
	r.Count("updated")
	const want = `
# HELP pratique_trust_root_refreshes_total Refreshes of trust roots from TUF mirrors, by result.
# TYPE pratique_trust_root_refreshes_total counter
pratique_trust_root_refreshes_total{result="refused"} 0
pratique_trust_root_refreshes_total{result="updated"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
