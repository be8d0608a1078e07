package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Who may write an image's name can have us ask any host, and one that takes a request and then says nothing holds
// what it was given until time is up. So most of what there is, is for registries that are proven: that have given
// whole answers of late, and more of them than they kept us waiting. The rest have little, together and each, which is
// enough for a Pod or two whose registry was never asked before. Registries that the install's list names need no proof.
//
// It is a share by what hosts do, and not by who asks: who has sixteen domains can still keep registries waiting that
// were never asked before, and who has four, and lets their hosts behave well first, those that the list doesn't name,
// once for each new name and until time is up.
const (
	// provenBy is how many whole answers prove a registry: a ping and a manifest.
	provenBy = 2
	// maxCredit bounds the answers that count. As each stall halves them, a registry that is asked all day stays
	// proven if five requests stall in a row, and not if all do.
	maxCredit = 64
	// stallAfter is how long a request lasts at least whose time-out is the registry's: before it, the caller had none left.
	stallAfter = time.Second
	// slowAnswer is how long a request lasts, its body with it, that is no answer any more whatever comes: half the time
	// of an admission.
	slowAnswer = 5 * time.Second
	// maxStandings bounds the registries whose answers are counted. Those that never answered have no place among
	// them, and those in use are forgotten last.
	maxStandings = 1024
)

// untilProven returns nil for a registry that is proven, else a channel that is closed once it is.
func (l *limits) untilProven(host string, own *keptShare) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if credit, _ := l.credit.Get(host); credit >= provenBy {
		return nil
	}
	return own.proven
}

// note takes down how a request to a registry ended. That it was cancelled or refused says nothing.
func (l *limits) note(host string, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	credit, known := l.credit.Get(host)
	switch {
	case took >= slowAnswer || took >= stallAfter && timedOut(err):
		if credit /= 2; credit > 0 {
			l.credit.Add(host, credit)
		} else if known {
			l.credit.Remove(host)
		}
	case err == nil || statusOf(err) != 0: // that it has something not, or that we may not, is an answer
		if credit < maxCredit {
			l.credit.Add(host, credit+1)
		}
		credit++
	}
	own, ok := l.kept[shareKey{hostShare, host}]
	if !ok {
		return
	}
	select {
	case <-own.proven:
		if credit < provenBy { // who comes next waits again
			own.proven = make(chan struct{})
		}
	default:
		if credit >= provenBy {
			close(own.proven)
		}
	}
}

// timedOut tells whether an error is that time was up: ours, or that of a step.
func timedOut(err error) bool {
	var step net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &step) && step.Timeout()
}

// siteOf returns what the hosts of one owner have in common: the registrable domain under the public suffix list, the
// address, or of IPv6 the /48 that one site has many addresses of. The port is no part of it.
func siteOf(registry string) string {
	host, _ := splitPort(strings.ToLower(registry))
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Is6() && !addr.Is4In6() {
			return netip.PrefixFrom(addr.WithZone(""), 48).Masked().String()
		}
		return addr.Unmap().String()
	}
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}
