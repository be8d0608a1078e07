package compile

import (
	"context"
	"fmt"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
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

// lastGood reads entries, and where one can't be read, or holds no usable key, gives what it gave before. It serves one
// compilation of one policy, so that what a deleted policy knew is gone with it.
type lastGood struct {
	live   Materials
	before map[source][]byte
	now    map[source][]byte // what this compilation used
}

func newLastGood(live Materials, before map[source][]byte) *lastGood {
	return &lastGood{live: live, before: before, now: map[source][]byte{}}
}

// Secret implements Materials.
func (l *lastGood) Secret(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return l.read(ctx, source{kindSecret, namespace, name, key})
}

// ConfigMap implements Materials.
func (l *lastGood) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return l.read(ctx, source{kindConfigMap, namespace, name, key})
}

func (l *lastGood) read(ctx context.Context, src source) ([]byte, error) {
	data, err := src.read(ctx, l.live)
	old, known := l.before[src]
	if err == nil {
		_, bad := verify.ParseKeys(data)
		if bad == nil {
			l.now[src] = data
			return data, nil
		}
		if !known {
			return data, nil // whoever compiles it says what is wrong with it
		}
		err = fmt.Errorf("%s: %w", src, bad)
	}
	if !known {
		return nil, err
	}
	l.now[src] = old
	return old, err
}
