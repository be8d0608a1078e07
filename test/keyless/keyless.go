package keyless

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// startTimeout bounds the start of all parts, some 20 times what it takes.
const startTimeout = 30 * time.Second

// Part is a part of the stack that can be left out. Fulcio and the issuer
// can't.
type Part string

// The parts.
const (
	CTLog     Part = "ctlog"     // without it certificates have no SCT
	RekorV1   Part = "rekor-v1"  // the log with signed entry timestamps
	RekorV2   Part = "rekor-v2"  // the log of tiles
	Timestamp Part = "timestamp" // the RFC 3161 authority
	// OffTimestamp is the second one, whose clock may be off.
	OffTimestamp Part = "off-timestamp"
)

// Parts returns all of them.
func Parts() []Part { return []Part{CTLog, RekorV1, RekorV2, Timestamp, OffTimestamp} }

// Options say what to start. The zero value starts everything.
type Options struct {
	// Dir is where the programs keep their files and write their logs. Empty
	// makes one that Close removes.
	Dir string
	// Without are the parts left out.
	Without []Part
	// Issuers are known to fulcio besides [Issuers].
	Issuers []Issuer
	// Clock is that of Rekor v1 and of the second timestamp authority, for entries
	// and timestamps out of the time of their certificates. Nil is the real one.
	// Fulcio and the first timestamp authority always have the real one; Rekor v2
	// tells no time.
	Clock func() time.Time
}

// Stack is everything running.
type Stack struct {
	// Dir has the programs' files and logs.
	Dir string
	// These are where cosign finds the parts; empty for one left out. Those of the
	// timestamp authorities are the whole URLs that are posted to.
	Fulcio, Rekor1, Rekor2, Timestamping, OffTimestamping string

	started time.Time
	issuer  *issuer
	ct      *ctLog
	rekor   *rekor
	tiles   *tiles
	fulcio  *fulcio
	stamps  *timestamps
	off     *standin

	root    []byte
	closers []func() error
}

// Start starts the stack and returns when every part answers. It wraps
// ErrNoPrograms where a program isn't built. On an error nothing is left
// running.
func Start(ctx context.Context, o Options) (s *Stack, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s = &Stack{Dir: o.Dir, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	for _, p := range o.Without {
		if !slices.Contains(Parts(), p) {
			return s, fmt.Errorf("no part %q to leave out: those are %q", p, Parts())
		}
	}
	if err := s.makeDir(); err != nil {
		return s, err
	}
	if err := s.startOurs(o); err != nil {
		return s, err
	}
	if err := s.startPrograms(ctx, o); err != nil {
		return s, err
	}
	s.root, err = s.trustedRoot()
	return s, err
}

func (s *Stack) makeDir() (err error) {
	if s.Dir != "" {
		if s.Dir, err = filepath.Abs(s.Dir); err != nil {
			return err
		}
		return os.MkdirAll(s.Dir, 0o700)
	}
	s.Dir, err = os.MkdirTemp("", "pratique-keyless-")
	s.closers = append(s.closers, func() error { return os.RemoveAll(s.Dir) })
	return err
}

// startOurs starts the parts that are Go in this process.
func (s *Stack) startOurs(o Options) (err error) {
	with := func(p Part) bool { return !slices.Contains(o.Without, p) }
	if s.issuer, err = newIssuer(append(Issuers(), o.Issuers...)); err != nil {
		return err
	}
	s.closers = append(s.closers, s.issuer.close)
	if with(CTLog) {
		if s.ct, err = newCTLog(); err != nil {
			return err
		}
		s.closers = append(s.closers, s.ct.close)
	}
	clock := o.Clock
	if clock == nil {
		clock = time.Now
	}
	if with(OffTimestamp) {
		if s.off, err = newStandin(clock); err != nil {
			return err
		}
		s.closers = append(s.closers, s.off.close)
		s.OffTimestamping = s.off.url
	}
	if with(RekorV1) {
		if s.rekor, err = newRekor(clock); err != nil {
			return err
		}
		s.closers = append(s.closers, s.rekor.close)
		s.Rekor1 = s.rekor.url
	}
	return nil
}

// startPrograms starts the others, all at once.
func (s *Stack) startPrograms(ctx context.Context, o Options) error {
	programs, err := Programs()
	if err != nil {
		return err
	}
	with := func(p Part) bool { return !slices.Contains(o.Without, p) }
	starts := []func() error{func() (err error) {
		s.fulcio, err = startFulcio(ctx, programs, s.Dir, s.issuer, s.ct)
		return err
	}}
	if with(RekorV2) {
		starts = append(starts, func() (err error) {
			s.tiles, err = startTiles(ctx, programs, s.Dir)
			return err
		})
	}
	if with(Timestamp) {
		starts = append(starts, func() (err error) {
			s.stamps, err = startTimestamps(ctx, programs, s.Dir)
			return err
		})
	}
	results := make(chan error)
	for _, start := range starts {
		go func() { results <- start() }()
	}
	for range starts {
		err = errors.Join(err, <-results)
	}
	// Also what has started is to be stopped where something else hasn't.
	if s.fulcio != nil {
		s.closers, s.Fulcio = append(s.closers, s.fulcio.stop), s.fulcio.url
	}
	if s.tiles != nil {
		s.closers, s.Rekor2 = append(s.closers, s.tiles.stop), s.tiles.url
	}
	if s.stamps != nil {
		s.closers, s.Timestamping = append(s.closers, s.stamps.stop), s.stamps.url
	}
	return err
}

// Close stops everything and removes the directory, if Start made it. It may be
// called again.
func (s *Stack) Close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	s.closers = nil
	return errors.Join(errs...)
}
