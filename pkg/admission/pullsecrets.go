package admission

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
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
	// secretBytesHeld bounds their bytes, as they were read: 4,096 of the usual size, where as many of
	// the largest would be 256 MiB.
	secretBytesHeld = 16 << 20
	// maxPullSecret bounds the docker config of one pull secret, in bytes. Real ones hold a handful of registries, in some KiB; whoever
	// may write Secrets could have a Pod's be 32 MiB in all.
	maxPullSecret = 64 << 10
	// maxPullSecrets bounds the pull secrets of one Pod; each is a read and a login.
	maxPullSecrets = 32
	// maxSecretName bounds the name of one, in bytes, as Kubernetes does (RFC 1123 subdomains).
	maxSecretName = 253
)

// SecretReader gives Registries by the Secrets that Pods name, read live from the Pod's own namespace and from no other. C is
// what a Secret's docker configuration is parsed into, once for each reading of it.
type SecretReader[C any] struct {
	read  client.Reader
	parse func(dockerConfig []byte) (C, error)
	open  func(ctx context.Context, credentials []C, repository name.Repository) (Registry, error)
	held  *held[C]
}

// NewSecretReader returns Registries that read pull secrets with read, which must not be a cache (Secrets are never listed or
// watched), and open a Registry with what parse makes of them; no credentials are anonymous.
func NewSecretReader[C any](read client.Reader, parse func([]byte) (C, error), open func(context.Context, []C, name.Repository) (Registry, error)) *SecretReader[C] {
	return &SecretReader[C]{read: read, parse: parse, open: open, held: newHeld[C](secretsHeld, secretBytesHeld, secretHold)}
}

// Open implements Registries. A Secret that isn't there is passed over, as the kubelet does; one that can't be read is an error.
func (s *SecretReader[C]) Open(ctx context.Context, namespace string, pullSecrets []string) (Opener, error) {
	if err := checkPullSecrets(pullSecrets); err != nil {
		return nil, err
	}
	var credentials []C
	for _, secret := range pullSecrets {
		c, ok, err := s.secret(ctx, types.NamespacedName{Namespace: namespace, Name: secret})
		if err != nil {
			return nil, &verify.FetchError{Kind: verify.Unavailable, Host: "imagePullSecret " + secret, Err: err}
		}
		if ok {
			credentials = append(credentials, c)
		}
	}
	return func(repository name.Repository) (Registry, error) { return s.open(ctx, credentials, repository) }, nil
}

// Secret reads one Secret, which has to be there.
func (s *SecretReader[C]) Secret(ctx context.Context, namespace, secret string) (C, error) {
	c, ok, err := s.secret(ctx, types.NamespacedName{Namespace: namespace, Name: secret})
	if err == nil && !ok {
		err = fmt.Errorf("there is no Secret %s/%s of type %s", namespace, secret, corev1.SecretTypeDockerConfigJson)
	}
	return c, err
}

func (s *SecretReader[C]) secret(ctx context.Context, at types.NamespacedName) (c C, ok bool, err error) {
	if c, ok := s.held.get(at); ok {
		return c, true, nil
	}
	var secret corev1.Secret
	if err := s.read.Get(ctx, at, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return c, false, nil
		}
		return c, false, fmt.Errorf("could not be read: %w", err)
	}
	var data []byte
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		data = secret.Data[corev1.DockerConfigJsonKey]
	case corev1.SecretTypeDockercfg:
		data = secret.Data[corev1.DockerConfigKey]
	default:
		return c, false, nil // the kubelet pulls with no other type
	}
	if len(data) > maxPullSecret {
		return c, false, fmt.Errorf("the docker config of Secret %s has %d bytes: at most %d are read; leave in it the registries that are pulled from", at, len(data), maxPullSecret)
	}
	if c, err = s.parse(data); err != nil {
		return c, false, fmt.Errorf("is no docker config: %w", err)
	}
	s.held.put(at, c, len(data))
	return c, true, nil
}

// checkPullSecrets holds the bounds of the names of a Pod's pull secrets, or a ServiceAccount's.
func checkPullSecrets(names []string) error {
	if len(names) > maxPullSecrets {
		return fmt.Errorf("%d imagePullSecrets: at most %d", len(names), maxPullSecrets)
	}
	for _, n := range names {
		if len(n) > maxSecretName {
			return fmt.Errorf("imagePullSecrets: a name of %d bytes, which no Secret has: at most %d", len(n), maxSecretName)
		}
	}
	return nil
}
