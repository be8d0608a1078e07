package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The times of an election, those that controller-runtime and Kubernetes' own parts use.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// leaseName is the Lease by which the writer of statuses is elected.
const leaseName = "pratique-status"

// elected runs work in one replica at a time. It stands for an election again when it loses one: unlike the manager's own
// election, whose loss ends the process and with it the admissions in flight.
type elected struct {
	lock resourcelock.Interface
	work func(context.Context) error
	log  logr.Logger
}

// newElected returns what runs work in the replica that holds the Lease in the namespace.
func newElected(cluster *rest.Config, namespace string, work func(context.Context) error, log logr.Logger) (*elected, error) {
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	identity := fmt.Sprintf("%s_%d", host, os.Getpid())
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, namespace, leaseName, client.CoreV1(), client.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: identity})
	if err != nil {
		return nil, err
	}
	return &elected{lock: lock, work: work, log: log}, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: it holds its own.
func (e *elected) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it stands for election until the context ends.
func (e *elected) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: e.lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					if err := e.work(ctx); err != nil && ctx.Err() == nil {
						e.log.Error(err, "what the leader does ended")
					}
				},
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return err
		}
		elector.Run(ctx)
		select { // a lost election is stood for again, not at once
		case <-ctx.Done():
		case <-time.After(retryPeriod):
		}
	}
	return nil
}
