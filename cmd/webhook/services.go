package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// readRanges is how often the ranges of Services are read: they change a few times in a cluster's life.
const readRanges = time.Minute

// serviceRanges tells the dial guard the ranges of the cluster's Services, by ServiceCIDR objects (Kubernetes 1.33 and later).
type serviceRanges struct {
	read client.Reader
	set  func([]netip.Prefix)
	log  logr.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica dials.
func (s *serviceRanges) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable. What can't be read leaves the ranges as they were.
func (s *serviceRanges) Start(ctx context.Context) error {
	said := ""
	for {
		if err := s.refresh(ctx); err != nil && err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			s.log.Info("the ranges of Services can't be read, so that only the other address rules hold", "why", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(readRanges):
		}
	}
}

func (s *serviceRanges) refresh(ctx context.Context) error {
	var cidrs networkingv1.ServiceCIDRList
	if err := s.read.List(ctx, &cidrs); err != nil {
		return err
	}
	var ranges []netip.Prefix
	for _, c := range cidrs.Items {
		for _, text := range c.Spec.CIDRs {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return err
			}
			ranges = append(ranges, prefix)
		}
	}
	s.set(ranges)
	return nil
}
