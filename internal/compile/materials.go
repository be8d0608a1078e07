package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// Materials reads the entries of Secrets and ConfigMaps that policies take keys from.
//
// An error with bytes beside it says that the entry could not be read again, and that the bytes are what was read before:
// they stay in use, and the policy says so. An error alone makes the policy unusable. Errors name the object.
type Materials interface {
	Secret(ctx context.Context, namespace, name, key string) ([]byte, error)
	ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error)
}

// Kinds of objects that keys come from.
const (
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
)

// source is one entry of a Secret or ConfigMap.
type source struct {
	kind, namespace, name, key string
}

// sourceOf says where an authority's keys are read; ok is false for one that carries them.
func sourceOf(k *v1alpha1.KeyAuthority, namespace string) (src source, ok bool) {
	switch {
	case k.SecretRef != nil:
		return source{kindSecret, namespace, k.SecretRef.Name, k.SecretRef.Key}, true
	case k.ConfigMapRef != nil:
		return source{kindConfigMap, namespace, k.ConfigMapRef.Name, k.ConfigMapRef.Key}, true
	}
	return source{}, false
}

// object names the object, with its namespace where it has one.
func (s source) object() string {
	if s.namespace == "" {
		return s.kind + " " + s.name
	}
	return s.kind + " " + s.namespace + "/" + s.name
}

// String names the entry.
func (s source) String() string { return s.object() + ", entry " + s.key }

func (s source) read(ctx context.Context, m Materials) ([]byte, error) {
	if m == nil {
		return nil, fmt.Errorf("%s: nothing to read it from", s)
	}
	if s.kind == kindSecret {
		return m.Secret(ctx, s.namespace, s.name, s.key)
	}
	return m.ConfigMap(ctx, s.namespace, s.name, s.key)
}

// keptFor is how long a key is used after it was last read where the answer since is that it isn't there: its Secret or
// ConfigMap was deleted, or its entry, or what the entry holds is no key. That is an answer, and may be meant to revoke the key;
// it may also be a slip that should not stop every rollout at once, so people get a day, as stale evidence does, in which they
// are told. A failure (the API server is away, reading is forbidden) says nothing of the key, which stays in use until there is
// an answer. To revoke a key at once, take its authority out of the policy, or replace the key.
const keptFor = 24 * time.Hour

// answered is an error that is an answer: what was asked for was looked up, and isn't there or is no key.
type answered struct{ error }

// Unwrap returns what the answer was.
func (a answered) Unwrap() error { return a.error }

// keptKey is an entry that held a usable key, or a trusted root.
type keptKey struct {
	data  []byte
	read  time.Time // the last time it did
	since time.Time // the first time that it held the same
}

// lastGood reads entries, and where one can't be read, or holds no usable key, gives what it gave before; not for ever, see
// keptFor. It serves one compilation of one policy, so that what a deleted policy knew is gone with it.
type lastGood struct {
	live   Materials
	usable func([]byte) error // what is wrong with what an entry holds
	before map[source]keptKey
	at     time.Time          // when this compilation began
	now    map[source]keptKey // what it used
	told   map[source]told    // what it was told
}

// told is what came of reading an entry, as far as a policy hangs on it: of a failure, its kind, but not its words, which may have an
// address or a port that is another one each time.
type told struct {
	data   string
	failed bool
	why    string
}

func toldOf(data []byte, err error) told {
	t := told{data: string(data), failed: err != nil}
	switch answer, ok := errors.AsType[answered](err); {
	case ok:
		t.why = answer.Error()
	case err != nil:
		t.why = string(apierrors.ReasonForError(err))
	}
	return t
}

func newLastGood(live Materials, before map[source]keptKey, at time.Time) *lastGood {
	usable := func(data []byte) error { _, err := parseKeys(data); return err }
	return &lastGood{live: live, usable: usable, before: before, at: at, now: map[source]keptKey{}, told: map[source]told{}}
}

// newLastGoodRoots is newLastGood for entries that hold trusted roots.
func newLastGoodRoots(live Materials, before map[source]keptKey, at time.Time) *lastGood {
	l := newLastGood(live, before, at)
	l.usable = usableRoot
	return l
}

// Secret implements Materials.
func (l *lastGood) Secret(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return l.read(ctx, source{kindSecret, namespace, name, key})
}

// ConfigMap implements Materials.
func (l *lastGood) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return l.read(ctx, source{kindConfigMap, namespace, name, key})
}

// asBefore reads again what was read before, and tells whether all of it is as it was.
func (l *lastGood) asBefore(ctx context.Context, before map[source]told) bool {
	for src, was := range before {
		_, _ = l.read(ctx, src) // which is in told
		if l.told[src] != was {
			return false
		}
	}
	return len(before) > 0
}

func (l *lastGood) read(ctx context.Context, src source) ([]byte, error) {
	data, err := l.lookUp(ctx, src)
	l.told[src] = toldOf(data, err)
	return data, err
}

func (l *lastGood) lookUp(ctx context.Context, src source) ([]byte, error) {
	data, err := src.read(ctx, l.live)
	old, known := l.before[src]
	if err == nil {
		if known && bytes.Equal(old.data, data) {
			l.now[src] = keptKey{data: data, read: l.at, since: old.since}
			return data, nil
		}
		bad := l.usable(data)
		if bad == nil {
			l.now[src] = keptKey{data: data, read: l.at, since: l.at}
			return data, nil
		}
		if !known {
			return data, nil // whoever compiles it says what is wrong with it
		}
		err = answered{fmt.Errorf("%s: %w", src, bad)}
	}
	if !known {
		return nil, err
	}
	var answer answered
	if errors.As(err, &answer) {
		if l.at.Sub(old.read) >= keptFor {
			return nil, fmt.Errorf("%w; what it held before was last read %s ago or more, and is no longer used", err, keptFor)
		}
		err = fmt.Errorf("%w; what it held before is used until %s after it was last read", err, keptFor)
	}
	l.now[src] = old
	return old.data, err
}
