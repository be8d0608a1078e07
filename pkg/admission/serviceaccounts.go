package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// accountsHeld bounds the ServiceAccounts held: one or two for each namespace of a large cluster.
const accountsHeld = 4096

// accountBytesHeld bounds the bytes of their pull secrets' names: one or two names each, where 32 of the longest would be 32 MiB.
const accountBytesHeld = 4 << 20

// ServiceAccountReader gives the pull secrets of ServiceAccounts, each read by its name and held for a minute, as Secrets are.
type ServiceAccountReader struct {
	read client.Reader
	held *held[[]string]
}

// NewServiceAccountReader returns ServiceAccounts that are read with read, which need be no cache.
func NewServiceAccountReader(read client.Reader) *ServiceAccountReader {
	return &ServiceAccountReader{read: read, held: newHeld[[]string](accountsHeld, accountBytesHeld, secretHold)}
}

// PullSecrets implements ServiceAccounts.
func (s *ServiceAccountReader) PullSecrets(ctx context.Context, namespace, serviceAccount string) ([]string, error) {
	at := types.NamespacedName{Namespace: namespace, Name: serviceAccount}
	if names, ok := s.held.get(at); ok {
		return names, nil
	}
	var account corev1.ServiceAccount
	if err := s.read.Get(ctx, at, &account); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil // it may come before the Pods do
		}
		return nil, fmt.Errorf("its ServiceAccount %s could not be read: %w", serviceAccount, err)
	}
	names := PullSecrets(&corev1.PodSpec{ImagePullSecrets: account.ImagePullSecrets})
	if err := checkPullSecrets(names); err != nil {
		return nil, fmt.Errorf("its ServiceAccount %s: %w", serviceAccount, err)
	}
	bytes := 0
	for _, n := range names {
		bytes += len(n)
	}
	s.held.put(at, names, bytes)
	return names, nil
}
