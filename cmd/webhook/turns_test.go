package main

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// working takes some time for each review, and counts.
type working struct {
	takes             time.Duration
	at, most, handled atomic.Int64
}

func (w *working) Handle(context.Context, ctrladmission.Request) ctrladmission.Response {
	if n := w.at.Add(1); n > w.most.Load() {
		w.most.Store(n)
	}
	time.Sleep(w.takes)
	w.at.Add(-1)
	w.handled.Add(1)
	return ctrladmission.Allowed("")
}

func TestPoliciesAreCheckedInTurnAndNoLongerThanAnybodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		room := int64(max(1, runtime.GOMAXPROCS(0)/2))
		w := &working{takes: time.Second}
		var late, refused atomic.Int64
		h := newTurns(w, func(r policy.Reason) {
			if r == policy.Overloaded {
				late.Add(1)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		n := 20 * room
		for range n {
			go func() {
				resp := h.Handle(ctx, tenants())
				if !resp.Allowed && strings.HasPrefix(resp.Result.Message, "Overloaded: ") {
					refused.Add(1)
				}
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.most.Load() != room {
			t.Errorf("%d at once, want %d", w.most.Load(), room)
		}
		if got := w.handled.Load(); got != 10*room || late.Load() != n-got || refused.Load() != n-got {
			t.Errorf("%d were checked, %d refused and %d counted, of %d of which ten times %d are in time", got, refused.Load(), late.Load(), n, room)
		}
		if resp := h.Handle(t.Context(), tenants()); !resp.Allowed {
			t.Error("and after them nobody")
		}
	})
}

// A panic is worded further out; here it must not keep the turn.
func TestAPanicGivesTheTurnBack(t *testing.T) {
	t.Parallel()
	h := newTurns(ctrladmission.HandlerFunc(func(context.Context, ctrladmission.Request) ctrladmission.Response { panic("boom") }), func(policy.Reason) {})
	for range cap(h.free) + 1 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it was swallowed")
				}
			}()
			h.Handle(t.Context(), tenants())
		}()
	}
}

// tenants is a policy of some namespace.
func tenants() (req ctrladmission.Request) {
	req.Namespace = "shop"
	return req
}

// TestRow106_AnAdministratorsWordDoesNotWaitBehindTenants: however many policies namespaces write, one of the cluster has a turn.
func TestRow106_AnAdministratorsWordDoesNotWaitBehindTenants(t *testing.T) {
	t.Parallel()
	begun, end := make(chan bool, 64), make(chan bool)
	h := newTurns(ctrladmission.HandlerFunc(func(_ context.Context, req ctrladmission.Request) ctrladmission.Response {
		if req.Namespace != "" {
			begun <- true
			<-end
		}
		return ctrladmission.Allowed("")
	}), func(policy.Reason) {})
	for range 2 * cap(h.free) {
		go h.Handle(t.Context(), tenants())
	}
	for range cap(h.free) {
		<-begun
	}
	if resp := h.Handle(t.Context(), ctrladmission.Request{}); !resp.Allowed {
		t.Errorf("%+v", resp.Result)
	}
	close(end)
}
