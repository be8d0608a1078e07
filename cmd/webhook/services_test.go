package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// cidrs is a cluster that has these ServiceCIDRs, and nothing else.
type cidrs struct {
	client.Reader
	objects [][]string
	err     error
}

func (c cidrs) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	l, ok := into.(*networkingv1.ServiceCIDRList)
	if !ok {
		return errors.New("asked for something else than ServiceCIDRs")
	}
	for _, ranges := range c.objects {
		l.Items = append(l.Items, networkingv1.ServiceCIDR{Spec: networkingv1.ServiceCIDRSpec{CIDRs: ranges}})
	}
	return c.err
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func TestTheServiceRangesAreThoseOfEveryServiceCIDR(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		cluster cidrs
		want    []netip.Prefix
		fails   bool
	}{
		{"one of two families", cidrs{objects: [][]string{{"10.96.0.0/12", "fd00::/108"}}}, prefixes("10.96.0.0/12", "fd00::/108"), false},
		{"several objects", cidrs{objects: [][]string{{"10.96.0.0/12"}, {"10.200.0.0/16"}}}, prefixes("10.96.0.0/12", "10.200.0.0/16"), false},
		{"none", cidrs{}, nil, false},
		{"a list that fails leaves them as they were", cidrs{err: errors.New("forbidden")}, prefixes("192.0.2.0/24"), true},
		{"what is no range leaves them as they were", cidrs{objects: [][]string{{"10.96.0.0/12"}, {"10.0.0.0"}}}, prefixes("192.0.2.0/24"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := prefixes("192.0.2.0/24")
			s := &serviceRanges{read: tt.cluster, set: func(p []netip.Prefix) { got = p }, log: logr.Discard()}
			if err := s.refresh(t.Context()); (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("ranges %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTheServiceRangesAreReadAtOnceAndByEveryReplica(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	set, ended := make(chan []netip.Prefix, 1), make(chan error, 1)
	s := &serviceRanges{read: cidrs{objects: [][]string{{"10.96.0.0/12"}}}, set: func(p []netip.Prefix) { set <- p }, log: logr.Discard()}
	if s.NeedLeaderElection() {
		t.Error("only the leader would know them")
	}
	go func() { ended <- s.Start(ctx) }()
	if got := <-set; !slices.Equal(got, prefixes("10.96.0.0/12")) {
		t.Errorf("ranges %v", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestServiceRangesThatCanNotBeReadAreSaid(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var said []string
	log := funcr.New(func(_, args string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, args)
		stop()
	}, funcr.Options{})
	s := &serviceRanges{read: cidrs{err: errors.New("the server could not find the requested resource")}, set: func([]netip.Prefix) {}, log: log}
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v, and the webhook with it", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it says nothing")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(said) != 1 {
		t.Errorf("said %q", said)
	}
}
