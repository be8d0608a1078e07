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
	var secret corev1.Secret
	if err := m.get(ctx, src, &secret); err != nil {
		return nil, err
	}
	if data, ok := secret.Data[key]; ok {
		return data, nil
	}
	return nil, errNoEntry(src)
}

// ConfigMap implements Materials.
func (m ClusterMaterials) ConfigMap(ctx context.Context, namespace, name, key string) ([]byte, error) {
	src := source{kindConfigMap, namespace, name, key}
	var cm corev1.ConfigMap
	if err := m.get(ctx, src, &cm); err != nil {
		return nil, err
	}
	if data, ok := cm.Data[key]; ok {
		return []byte(data), nil
	}
	if data, ok := cm.BinaryData[key]; ok {
		return data, nil
	}
	return nil, errNoEntry(src)
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
		return fmt.Errorf("%s: not found", src.object())
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
