package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// TestR13Drain is R13 of security.md: a replica that is told to end loses no request, neither one in flight nor one that
// comes because the Service hasn't heard yet.
func TestR13Drain(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %t", h2), func(t *testing.T) {
			t.Parallel()
			const delay = time.Second
			signal, sigterm := contextOf(t)
			drain, ctx := NewDrain(signal, delay)
			m := manage(t, ctx, drain, nil)
			old, held := m.client(t, h2), make(chan error, 1) // a connection from before, and one that waits
			if err := m.allows(old); err != nil {
				t.Fatal(err)
			}
			if status := m.probe(t, "readyz"); status != http.StatusOK {
				t.Fatalf("readyz = %d before the drain", status)
			}
			go func() { held <- m.asks(m.client(t, h2), "/hold") }()
			<-m.held

			sigterm()
			began := time.Now()
			if status := m.probe(t, "readyz"); status != http.StatusInternalServerError {
				t.Errorf("readyz = %d while draining, want 500", status)
			}
			if status := m.probe(t, "healthz"); status != http.StatusOK {
				t.Errorf("healthz = %d while draining, want 200", status)
			}
			dialled := m.connections.Load()
			asked := 0
			for ; time.Since(began) < delay*3/4; asked++ {
				if err := m.allows(old); err != nil {
					t.Fatalf("request %d of the drain, %s after the signal: %v", asked, time.Since(began), err)
				}
			}
			if opened := int(m.connections.Load() - dialled); opened < asked-1 {
				t.Errorf("%d requests while draining opened %d connections; each answer has to close its own", asked, opened)
			}

			eventually(t, "the server takes no more", func() bool { return m.allows(m.client(t, h2)) != nil })
			if took := time.Since(began); took < delay {
				t.Errorf("the server took no more after %s, want %s", took, delay)
			}
			select {
			case <-m.cancelled:
				t.Error("the request in flight was interrupted")
			case err := <-m.ended:
				t.Fatalf("the manager ended before its request: %v", err)
			case <-time.After(200 * time.Millisecond):
			}
			close(m.release)
			if err := <-held; err != nil {
				t.Errorf("the request in flight: %v", err)
			}
			if err := <-m.ended; err != nil {
				t.Errorf("the manager ended with %v", err)
			}
		})
	}
}

// TestR11NotReadyUntilSynced is R11 of security.md, and half of row 18: the other half, that a request is refused until
// then, is the handler's.
func TestR11NotReadyUntilSynced(t *testing.T) {
	t.Parallel()
	var synced atomic.Bool
	certified := make(chan struct{})
	drain, ctx := NewDrain(t.Context(), 0)
	m := manage(t, ctx, drain, map[string]healthz.Checker{
		"policies":     Holds("policies are not synced", synced.Load),
		"cluster-cert": Done("the CA is not in the webhook objects", certified),
	})
	for _, c := range []struct {
		what  string
		do    func()
		ready bool
	}{
		{what: "at the start"},
		{what: "with policies alone", do: func() { synced.Store(true) }},
		{what: "with both", do: func() { close(certified) }, ready: true},
		{what: "with policies lost", do: func() { synced.Store(false) }},
	} {
		if c.do != nil {
			c.do()
		}
		if ready := m.probe(t, "readyz") == http.StatusOK; ready != c.ready {
			t.Errorf("%s: ready = %t, want %t", c.what, ready, c.ready)
		}
		if status := m.probe(t, "healthz"); status != http.StatusOK {
			t.Errorf("%s: healthz = %d, want 200", c.what, status)
		}
		if err := m.allows(m.client(t, false)); err != nil {
			t.Errorf("%s: the server does not serve: %v", c.what, err)
		}
	}
}

func TestReadinessNeedsAReason(t *testing.T) {
	t.Parallel()
	if err := AddChecks(nil, nil); err == nil {
		t.Error("no checks, and no error")
	}
	if err := Holds("nothing is given", nil)(nil); err == nil {
		t.Error("a check without a condition passes")
	}
	if err := Done("nothing is given", nil)(nil); err == nil {
		t.Error("a check without a channel passes")
	}
}

func TestAServerThatFailsWithoutBeingAskedDoesNotDrain(t *testing.T) {
	t.Parallel()
	drain, ctx := NewDrain(t.Context(), time.Hour)
	if drain.Draining() || drain.Ready(nil) != nil || ctx.Err() != nil {
		t.Error("draining without a signal")
	}
}

// managed is a server in a controller-runtime manager, as main has it.
type managed struct {
	*running
	probes string
}

// manage starts a manager that has nothing but the server and its checks. No API server is needed for that.
func manage(t *testing.T, ctx context.Context, drain *Drain, ready map[string]healthz.Checker) *managed {
	t.Helper()
	d := &CertDir{Dir: t.TempDir()}
	if err := d.Ensure(); err != nil {
		t.Fatal(err)
	}
	s := prepare(t, Options{CertDir: d.Dir, Drain: drain})
	probes := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	timeout := ShutdownTimeout
	mgr, err := ctrl.NewManager(&rest.Config{Host: "127.0.0.1:1"}, ctrl.Options{
		Logger:                  logr.Discard(),
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:  probes,
		WebhookServer:           s.server,
		GracefulShutdownTimeout: &timeout,
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return meta.NewDefaultRESTMapper(nil), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]healthz.Checker{"draining": drain.Ready, "certificate": s.server.CertificateReady}
	for name, check := range ready {
		checks[name] = check
	}
	if err := errors.Join(AddChecks(mgr, checks), mgr.Add(d)); err != nil {
		t.Fatal(err)
	}
	mgr.GetWebhookServer() // which adds it
	s.ended = make(chan error, 1)
	go func() { s.ended <- mgr.Start(ctx) }()
	s.roots = rootsOf(t, d)
	m := &managed{running: s, probes: "http://" + probes}
	eventually(t, "the server serves", func() bool { return s.server.StartedChecker()(nil) == nil })
	eventually(t, "the probes are answered", func() bool {
		resp, err := http.Get(m.probes + "/healthz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	})
	return m
}

// probe returns the HTTP status of a health endpoint.
func (m *managed) probe(t *testing.T, name string) int {
	t.Helper()
	resp, err := http.Get(m.probes + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(&bytes.Buffer{}, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
