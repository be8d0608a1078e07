package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// secretHold is how long a pull secret is held before it is read again: a rotated one is seen within a minute.
	secretHold = 60 * time.Second
	// secretsHeld bounds the pull secrets held: one or two for each namespace of a large cluster.
	secretsHeld = 4096
	// maxPullSecrets bounds the pull secrets of one Pod; each is a read and a login.
	maxPullSecrets = 32
)

// SecretReader gives Registries by the Secrets that Pods name, read live from the Pod's own namespace and from no other.
type SecretReader struct {
	read client.Reader
	open func(dockerConfigs [][]byte) (Registry, error)
	held *expirable.LRU[types.NamespacedName, []byte]
}

// NewSecretReader returns Registries that read pull secrets with read, which must not be a cache (Secrets are never listed or
// watched), and open a Registry with the docker configurations in them; none is anonymous.
func NewSecretReader(read client.Reader, open func(dockerConfigs [][]byte) (Registry, error)) *SecretReader {
	return &SecretReader{read: read, open: open, held: expirable.NewLRU[types.NamespacedName, []byte](secretsHeld, nil, secretHold)}
}

// Registry implements Registries. A Secret that isn't there is passed over, as the kubelet does; one that can't be read is an error.
func (s *SecretReader) Registry(ctx context.Context, namespace string, pullSecrets []string) (Registry, error) {
	if len(pullSecrets) > maxPullSecrets {
		return nil, fmt.Errorf("%d imagePullSecrets: at most %d", len(pullSecrets), maxPullSecrets)
	}
	var configs [][]byte
	for _, name := range pullSecrets {
		data, err := s.secret(ctx, types.NamespacedName{Namespace: namespace, Name: name})
		if err != nil {
			return nil, &verify.FetchError{Kind: verify.Unavailable, Host: "imagePullSecret " + name, Err: err}
		}
		if data != nil {
			configs = append(configs, data)
		}
	}
	return s.open(configs)
}

func (s *SecretReader) secret(ctx context.Context, at types.NamespacedName) ([]byte, error) {
	if data, ok := s.held.Get(at); ok {
		return data, nil
	}
	var secret corev1.Secret
	if err := s.read.Get(ctx, at, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("could not be read: %w", err)
	}
	var data []byte
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		data = secret.Data[corev1.DockerConfigJsonKey]
	case corev1.SecretTypeDockercfg:
		data = secret.Data[corev1.DockerConfigKey]
	}
	if data != nil {
		s.held.Add(at, data)
	}
	return data, nil
}
