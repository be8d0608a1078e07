package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// largeBytes is the size of the predicate of a large paper.
const largeBytes = 20 << 20

// large is a large paper of an image, and who signed it.
type large struct {
	name     string
	paper    verify.Candidate
	payload  int // bytes that were signed, of which the envelope is four thirds
	question verify.Question
}

// newLarge makes a question for the papers of an authority.
func newLarge(name string, a verify.Authority, kind predicate.Kind, statement []byte, c verify.Candidate) (large, error) {
	q, err := verify.Papers(a, kind)
	return large{name, c, len(statement), q}, err
}

// layoutsOfLarge are the ways in which a large paper may come: as cosign 3 and cosign 2 write it, by a key and keyless.
func layoutsOfLarge(statement []byte) []func() (large, error) {
	const kind = predicate.KindSBOM
	key, keyErr := newSigner()
	byKey := func(name string, pack func([]byte) (verify.Candidate, error)) func() (large, error) {
		return func() (large, error) {
			a, err := key.authority("release")
			if err = errors.Join(keyErr, err); err != nil {
				return large{}, err
			}
			c, err := pack(statement)
			if err != nil {
				return large{}, err
			}
			return newLarge(name, a, kind, statement, c)
		}
	}
	keyless := func(name string, sign func(*verifytest.Sigstore, verifytest.Signing) verify.Candidate, logs []verifytest.Log, stamps []int) func() (large, error) {
		return func() (l large, err error) {
			defer guard(&err)
			s, someone := verifytest.NewSigstore(maker{}), verifytest.Someone()
			c := sign(s, verifytest.Signing{Person: &someone, Logs: logs, Stamps: stamps})
			return newLarge(name, s.Authority(maker{}, "ci", someone.Issuer, someone.Subject), kind, statement, c)
		}
	}
	bundle := func(s *verifytest.Sigstore, by verifytest.Signing) verify.Candidate {
		return verifytest.Pack(s.Envelope(maker{}, by, statement))
	}
	hashed := func(s *verifytest.Sigstore, by verifytest.Signing) verify.Candidate {
		by.Hashed = true
		return bundle(s, by)
	}
	legacy := func(s *verifytest.Sigstore, by verifytest.Signing) verify.Candidate {
		return s.LegacyAttestation(maker{}, by, statement, verifytest.DSSE, false)
	}
	return []func() (large, error){
		byKey("bundle, key", key.bundle),
		byKey(".att, key", key.legacy),
		keyless("bundle, keyless, Rekor v2", hashed, []verifytest.Log{verifytest.RekorV2}, []int{0}),
		keyless("bundle, keyless, Rekor v1", bundle, []verifytest.Log{verifytest.RekorV1}, nil),
		keyless(".att, keyless, Rekor v1", legacy, []verifytest.Log{verifytest.RekorV1}, nil),
	}
}

// facts goes all the way from the bytes of the envelope to facts that are held, as an admission does.
func (l large) facts(ctx context.Context) (predicate.Facts, *verify.Verifier, error) {
	verifier, err := verify.NewVerifier(verify.Options{Clock: judgedAt})
	if err != nil {
		return nil, nil, err
	}
	registry, digest := verifytest.NewRegistry(), verifytest.Digest("image")
	registry.Attach(digest, l.paper)
	repo, err := name.NewRepository(repository)
	if err != nil {
		return nil, nil, err
	}
	found := verifier.Findings(ctx, registry, repo.Digest(digest.String()), []verify.Question{l.question}, verify.Held)
	if len(found) != 1 || len(found[0].Evidence) != 1 {
		return nil, nil, fmt.Errorf("%s: no evidence: %+v", l.name, found)
	}
	facts, err := found[0].Evidence[0].Facts()
	if err == nil && facts == nil {
		err = errors.New("no facts")
	}
	return facts, verifier, err
}

// plain does what the promise compares with: it hashes the payload, decodes it and looks at each token.
func (l large) plain() error {
	_, rest, ok := bytes.Cut(l.paper.Payload, []byte(`"payload":"`))
	encoded, _, ended := bytes.Cut(rest, []byte(`"`))
	if !ok || !ended {
		return errors.New("no payload in the envelope")
	}
	payload := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(payload, encoded)
	if err != nil || n != l.payload {
		return fmt.Errorf("%d bytes decoded, %d were signed: %w", n, l.payload, err)
	}
	sha256.Sum256(payload[:n])
	dec := json.NewDecoder(bytes.NewReader(payload[:n]))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// peak is the most that was live on the heap while something was done, in bytes, less what was before: a second goroutine collects without pause, and
// looks at what each collection left. All that is allocated bounds it from above, but counts what was garbage long before the rest was made.
func peak(do func() error) (int64, error) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	live := func() int64 {
		runtime.GC()
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	live()
	before, most := live(), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most = max(most, live())
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	err := do()
	close(stop)
	<-stopped
	return most - before, err
}

// allocated is all that was allocated while something was done, in bytes.
func allocated(do func() error) (int64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := do()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), err
}

// sized tells what a large bill of materials costs, in every way in which it may come.
func sized(ctx context.Context, s settings, out io.Writer) error {
	statement := verifytest.StatementOf(predicate.TypeSPDX, spdx(0, largeBytes), verifytest.Digest("image"))
	fmt.Fprintf(out, "\npapers: an SPDX document of %d MiB, from the bytes of its envelope to facts\n", len(statement)>>20)
	fmt.Fprintf(out, "  %-26s %8s %8s %6s %6s %10s\n", "envelope", "facts", "plain", "ratio", "peak", "allocated")
	for _, make := range layoutsOfLarge(statement) {
		l, err := make()
		if err != nil {
			return err
		}
		if err := l.tell(ctx, s, out); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "  ratio: to sha256, base64 and encoding/json's tokens of the same bytes, at most 3; peak: the most that was live on the heap, the envelope")
	fmt.Fprintln(out, "  included, for each byte of what was signed, at most 3 by a key; allocated: the same of all that was allocated")
	return nil
}

func (l large) tell(ctx context.Context, s settings, out io.Writer) error {
	do := func() error { _, _, err := l.facts(ctx); return err }
	var ours, plain []time.Duration
	var peaks, all []int64
	for range s.rounds {
		runtime.GC()
		begin := time.Now()
		used, err := allocated(do)
		if err != nil {
			return err
		}
		ours, all = append(ours, time.Since(begin)), append(all, used)
		runtime.GC()
		begin = time.Now()
		if err := l.plain(); err != nil {
			return err
		}
		plain = append(plain, time.Since(begin))
		most, err := peak(do)
		if err != nil {
			return err
		}
		peaks = append(peaks, most)
	}
	each := func(n int64) float64 { return float64(n+int64(len(l.paper.Payload))) / float64(l.payload) }
	fmt.Fprintf(out, "  %-26s %8s %8s %6.2f %6.2f %10.2f\n", l.name, round(median(ours)), round(median(plain)),
		float64(median(ours))/float64(median(plain)), each(median(peaks)), each(median(all)))
	return nil
}
