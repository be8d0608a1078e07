package main

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pratique-dev/pratique/internal/telemetry"
	"github.com/pratique-dev/pratique/internal/trust"
)

// mirrors says how the TUF mirrors of TrustRoots are asked: behind admissions, by this process's own transport. Who may write
// a TrustRoot is an administrator of the cluster, so that their addresses are not those of strangers; only https is spoken, save
// to the hosts of --plain-http.
func (p *parts) mirrors() (trust.Options, error) {
	results := make([]string, 0, len(trust.Results()))
	for _, r := range trust.Results() {
		results = append(results, string(r))
	}
	refreshes, err := telemetry.NewRefreshes(metrics.Registry, results)
	if err != nil {
		return trust.Options{}, err
	}
	return trust.Options{
		PlainHTTP: p.config.plainHTTP, UserAgent: "pratique/" + version,
		Observe: func(r trust.Result) { refreshes.Count(string(r)) },
		OnPanic: func(recovered any, stack []byte) {
			p.tel.Panicked()
			p.log.Error(fmt.Errorf("panic: %v", recovered), "refreshing a trust root", "stack", string(stack))
		},
	}, nil
}

// trustRoots tells the metrics of the trust roots that policies use.
func (p *parts) trustRoots() []telemetry.TrustRoot {
	states := p.store.TrustRoots()
	out := make([]telemetry.TrustRoot, 0, len(states))
	for _, s := range states {
		out = append(out, telemetry.TrustRoot{Name: s.Name, CheckedAt: s.CheckedAt, Expires: s.Expires, Ready: s.Ready})
	}
	return out
}
