package compile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// The kinds of a TrustRoot's sources, by their fields.
const (
	sourcePublic    = "public"
	sourceData      = "data"
	sourceSecret    = "secretRef"
	sourceConfigMap = "configMapRef"
	sourceTUF       = "tuf"
)

// kindOf is which kind a source is: exactly one, once it was validated.
func kindOf(s *v1alpha1.TrustRootSource) string {
	switch {
	case s.Public != nil:
		return sourcePublic
	case s.SecretRef != nil:
		return sourceSecret
	case s.ConfigMapRef != nil:
		return sourceConfigMap
	case s.TUF != nil:
		return sourceTUF
	}
	return sourceData
}

// mirrorOf is the mirror that a source names.
func mirrorOf(s *v1alpha1.TUFSource) trust.MirrorConfig {
	c := trust.MirrorConfig{URL: s.Mirror, Target: s.Target}
	if s.Root != "" {
		c.Root = []byte(s.Root)
	}
	if s.RefreshEvery != nil {
		c.RefreshEvery = s.RefreshEvery.Duration
	}
	return c
}

// FetchMirror returns what asks a mirror once, for whoever follows none: the CLI.
func FetchMirror(o trust.Options) func(context.Context, trust.MirrorConfig) trust.State {
	return func(ctx context.Context, c trust.MirrorConfig) trust.State {
		m, err := trust.NewMirror(c, o)
		if err != nil {
			return trust.State{Err: err}
		}
		if err := m.Refresh(ctx); err != nil {
			return trust.State{Err: err}
		}
		return m.State()
	}
}

// errNoMirror is why a mirror's text can't be had where nobody asks mirrors.
var errNoMirror = errors.New("mirrors are not asked here")

// rootReading is what came of reading one source of a TrustRoot.
type rootReading struct {
	kind string
	text []byte // nil: the source is not in use, and err says why
	err  error  // beside a text: it could not be read again, and this is what was read before

	unfit bool // it was read, but doesn't fit the sources before it

	digest                    string    // of the text
	fetched, checked, expires time.Time // when the text was first read, and last; until when it is kept. Zero: that isn't known
}

// sourceReader reads sources.
type sourceReader struct {
	materials Materials
	namespace string // the install's own
	mirror    func(context.Context, trust.MirrorConfig) trust.State
}

// readAll reads all sources of a TrustRoot.
func (r sourceReader) readAll(ctx context.Context, sources []v1alpha1.TrustRootSource) []rootReading {
	out := make([]rootReading, 0, len(sources))
	for i := range sources {
		one := r.read(ctx, &sources[i])
		if one.text != nil {
			one.digest = trust.Digest(one.text)
		}
		out = append(out, one)
	}
	return out
}

func (r sourceReader) read(ctx context.Context, s *v1alpha1.TrustRootSource) rootReading {
	out := rootReading{kind: kindOf(s)}
	switch {
	case s.Public != nil:
		out.text, out.fetched, out.checked = trust.PublicGood(), trust.PublicGoodDate(), trust.PublicGoodDate()
	case s.TUF != nil && r.mirror == nil:
		out.err = errNoMirror
	case s.TUF != nil:
		got := r.mirror(ctx, mirrorOf(s.TUF))
		out.text, out.err = got.TrustedRoot, got.Err
		out.fetched, out.checked, out.expires = got.FetchedAt, got.CheckedAt, got.Expires
	case s.SecretRef != nil:
		return r.entry(ctx, out, source{kindSecret, r.namespace, s.SecretRef.Name, s.SecretRef.Key})
	case s.ConfigMapRef != nil:
		return r.entry(ctx, out, source{kindConfigMap, r.namespace, s.ConfigMapRef.Name, s.ConfigMapRef.Key})
	default:
		out.text = []byte(s.Data)
	}
	if out.text == nil {
		return out
	}
	if err := usableRoot(out.text); err != nil {
		out.text, out.err = nil, err
	}
	return out
}

// entry reads an entry of a Secret or ConfigMap.
func (r sourceReader) entry(ctx context.Context, out rootReading, src source) rootReading {
	text, err := src.read(ctx, r.materials)
	if text != nil && err == nil {
		if bad := usableRoot(text); bad != nil {
			text, err = nil, fmt.Errorf("%s: %w", src, bad)
		}
	}
	out.text, out.err = text, err
	if l, ok := r.materials.(*lastGood); ok && text != nil {
		out.fetched, out.checked = l.now[src].since, l.now[src].read
	}
	return out
}

// union is what came of uniting the texts that were read.
type union struct {
	trust *verify.Trust
	unfit map[string]error // by digest: the texts that don't fit those before them
	err   error            // why there is no trust
}

// unite makes one trust of the texts that were read. One that doesn't fit those of the sources before it is left out, or whoever can
// change one source, such as the holder of a mirror, would take the others down with it. The first text must do by itself.
func unite(readings []rootReading, t verify.Thresholds) union {
	texts, digests := textsOf(readings)
	if len(texts) == 0 {
		return union{err: errors.New("no source can be used: " + problemsOf(readings))}
	}
	made, err := trustOf(texts, t)
	if err == nil {
		return union{trust: made}
	}
	u := union{unfit: map[string]error{}}
	var fit [][]byte
	for i, text := range texts {
		switch made, err := trustOf(append(slices.Clip(fit), text), t); {
		case err == nil:
			u.trust, fit = made, append(fit, text)
		case i == 0:
			return union{err: err}
		default:
			u.unfit[digests[i]] = err
		}
	}
	return u
}

// trustOf makes one trust of texts, if all of them fit.
func trustOf(texts [][]byte, t verify.Thresholds) (*verify.Trust, error) {
	total := 0
	for _, text := range texts {
		total += len(text)
	}
	if total > maxTrustRootText {
		return nil, fmt.Errorf("its trusted roots have %d bytes together, at most %d: take out the sources that aren't needed", total, maxTrustRootText)
	}
	made, err := verify.NewTrust(texts, t)
	if err != nil {
		return nil, overThreshold(texts, t, err)
	}
	return made, nil
}

// leaveOut takes out of the readings what doesn't fit.
func (u union) leaveOut(readings []rootReading) {
	for i := range readings {
		if err, unfit := u.unfit[readings[i].digest]; unfit {
			readings[i] = rootReading{kind: readings[i].kind, unfit: true, err: fmt.Errorf("it doesn't fit the sources before it: %w", err)}
		}
	}
}

// textsOf are the texts that were read, each once, and their digests.
func textsOf(readings []rootReading) (texts [][]byte, digests []string) {
	for _, r := range readings {
		if r.text != nil && !slices.Contains(digests, r.digest) {
			texts, digests = append(texts, r.text), append(digests, r.digest)
		}
	}
	return texts, digests
}

// problemsOf says of each source that isn't in use why.
func problemsOf(readings []rootReading) string {
	var all []string
	for i, r := range readings {
		if r.text == nil && r.err != nil {
			all = append(all, fmt.Sprintf("sources[%d] (%s): %s", i, r.kind, line(r.err.Error(), maxProblem)))
		}
	}
	return strings.Join(all, "; ")
}

// left names the sources that are not in use, and says nothing that may be otherwise the next time.
func left(readings []rootReading) string {
	all := which(readings, func(r rootReading) bool { return r.text == nil })
	switch len(all) {
	case 0:
		return ""
	case 1:
		return all[0] + " is not in use"
	}
	return strings.Join(all, ", ") + " are not in use"
}

// keptOf says, as stably, which sources of a TrustRoot could not be read again.
func keptOf(name string, readings []rootReading) string {
	all := which(readings, func(r rootReading) bool { return r.text != nil && r.err != nil })
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("TrustRoot %s: %s could not be read again: %s", name, strings.Join(all, ", "), seeRoot(name))
}

// errNoSource is what policies are told where nothing can be judged by a TrustRoot.
func errNoSource(name string, readings []rootReading) error {
	all := which(readings, func(rootReading) bool { return true })
	return fmt.Errorf("no source of TrustRoot %s can be used: %s: %s", name, strings.Join(all, ", "), seeRoot(name))
}

// which names the sources of which something holds.
func which(readings []rootReading, holds func(rootReading) bool) (names []string) {
	for i, r := range readings {
		if holds(r) {
			names = append(names, fmt.Sprintf("sources[%d] (%s)", i, r.kind))
		}
	}
	return names
}

// material identifies what would be united, without doing it.
func material(readings []rootReading, t verify.Thresholds) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %d", t.Logs, t.Timestamps, t.SCTs)
	for _, r := range readings {
		b.WriteString(" " + r.digest)
	}
	return b.String()
}
