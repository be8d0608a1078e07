package main

import (
	"context"
	"net/http"
	"runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// turns lets a few policies be checked at a time, and no others of them compute meanwhile. To check the costliest that there may be takes
// a good part of a second, and whoever may write a policy may send many: what they ask for must not take the cores that Pods are judged
// with.
type turns struct {
	next ctrladmission.Handler
	free chan struct{} // has room for those who are being checked
	// cluster is the same for what no namespace holds: an administrator's word, such as a revocation, doesn't wait behind what tenants write.
	cluster chan struct{}
	late    func(policy.Reason)
}

// newTurns gives policies half of the processors, or one; those of namespaces, and those of the cluster.
func newTurns(next ctrladmission.Handler, late func(policy.Reason)) *turns {
	n := max(1, runtime.GOMAXPROCS(0)/2)
	return &turns{next: next, free: make(chan struct{}, n), cluster: make(chan struct{}, n), late: late}
}

// Handle implements admission.Handler. Who has no turn before the request's time is up is refused, and nothing is computed for it.
func (t *turns) Handle(ctx context.Context, req ctrladmission.Request) ctrladmission.Response {
	free := t.free
	if req.Namespace == "" {
		free = t.cluster
	}
	select {
	case free <- struct{}{}:
		defer func() { <-free }()
		if ctx.Err() == nil {
			return t.next.Handle(ctx, req)
		}
	case <-ctx.Done():
	}
	t.late(policy.Overloaded)
	resp := ctrladmission.Denied("")
	resp.Result.Code, resp.Result.Reason = http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests
	resp.Result.Message = string(policy.Overloaded) + ": too many policies are being written at once: try again"
	return resp
}
