package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Checks is what takes health checks: a controller-runtime manager.
type Checks interface {
	AddHealthzCheck(name string, check healthz.Checker) error
	AddReadyzCheck(name string, check healthz.Checker) error
}

// AddChecks makes /healthz answer as long as the process does, and /readyz where all the named checks pass.
//
// Liveness asks nothing else, least of all a registry or the API server: to kill the webhook because those don't answer
// makes the outage worse. With no checks at all it is an error: ready for what?
func AddChecks(to Checks, ready map[string]healthz.Checker) error {
	if len(ready) == 0 {
		return fmt.Errorf("no readiness checks")
	}
	if err := to.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return fmt.Errorf("adding the liveness check: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(ready)) {
		if err := to.AddReadyzCheck(name, ready[name]); err != nil {
			return fmt.Errorf("adding the readiness check %s: %w", name, err)
		}
	}
	return nil
}

// Holds is the check that ok is true. What says what isn't yet if it is false, as in "policies are not synced". Without
// an ok it never passes.
func Holds(what string, ok func() bool) healthz.Checker {
	return func(*http.Request) error {
		if ok == nil || !ok() {
			return fmt.Errorf("%s", what)
		}
		return nil
	}
}

// Done is the check that the channel was closed, as Holds. Without a channel it never passes.
func Done(what string, done <-chan struct{}) healthz.Checker {
	return Holds(what, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}
