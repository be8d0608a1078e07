package compile

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// readTimeout bounds one reading of a Secret or ConfigMap: an API server that is well answers in milliseconds, and a
// policy must not wait long for one that isn't.
const readTimeout = 5 * time.Second

// ClusterMaterials reads Secrets and ConfigMaps from a cluster, each by a GET of its own: with list or watch we could read
// every Secret of the cluster, and would hold them all in memory.
type ClusterMaterials struct {
	// Reader asks the API server itself (the manager's GetAPIReader), never a cache.
	Reader client.Reader
}

// Secret implements Materials.
func (m ClusterMaterials) Secret(ctx context.Context, namespace, name, key string) ([]byte, error) {
	src := source{kindSecret, namespace, name, key}
	entries, err := m.entries(ctx, src)
	return entryOf(entries, src, err)
}

// ConfigMap implements Materials.
func (m ClusterMaterials) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	src := source{kindConfigMap, namespace, name, key}
	entries, err := m.entries(ctx, src)
	return entryOf(entries, src, err)
}

// entries reads a whole object.
func (m ClusterMaterials) entries(ctx context.Context, src source) (map[string][]byte, error) {
	if src.kind == kindSecret {
		var secret corev1.Secret
		err := m.get(ctx, src, &secret)
		return secret.Data, err
	}
	var cm corev1.ConfigMap
	if err := m.get(ctx, src, &cm); err != nil {
		return nil, err
	}
	entries := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for key, data := range cm.BinaryData {
		entries[key] = data
	}
	for key, text := range cm.Data {
		entries[key] = []byte(text)
	}
	return entries, nil
}

// entryOf picks one entry of an object that was read.
func entryOf(entries map[string][]byte, src source, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if data, ok := entries[src.key]; ok {
		return data, nil
	}
	return nil, answered{errNoEntry(src)}
}

// eachOnce returns materials that ask a cluster for each object only once, whatever the answer. They serve one compilation:
// a policy may name one Secret in all of its authorities.
func eachOnce(m Materials) Materials {
	if cluster, ok := m.(ClusterMaterials); ok {
		return &once{live: cluster, objects: map[source]whole{}}
	}
	return m
}

type once struct {
	live    ClusterMaterials
	objects map[source]whole // by source without key
}

// whole is what came of reading a whole object.
type whole struct {
	entries map[string][]byte
	err     error
}

// Secret implements Materials.
func (o *once) Secret(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return o.read(ctx, source{kindSecret, namespace, name, key})
}

// ConfigMap implements Materials.
func (o *once) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	return o.read(ctx, source{kindConfigMap, namespace, name, key})
}

func (o *once) read(ctx context.Context, src source) ([]byte, error) {
	id := source{kind: src.kind, namespace: src.namespace, name: src.name}
	got, ok := o.objects[id]
	if !ok {
		got.entries, got.err = o.live.entries(ctx, src)
		o.objects[id] = got
	}
	return entryOf(got.entries, src, got.err)
}

func (m ClusterMaterials) get(ctx context.Context, src source, into client.Object) error {
	if src.namespace == "" {
		return fmt.Errorf("%s: the install's namespace, where it would be, is not known", src.object())
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := m.Reader.Get(ctx, client.ObjectKey{Namespace: src.namespace, Name: src.name}, into)
	switch {
	case apierrors.IsNotFound(err):
		return answered{fmt.Errorf("%s: not found", src.object())}
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: reading it is forbidden: %w", src.object(), err)
	case err != nil:
		return fmt.Errorf("%s: %w", src.object(), err)
	}
	return nil
}

func errNoEntry(src source) error {
	return fmt.Errorf("%s: has no entry %q", src.object(), src.key)
}
