package admission_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/pkg/admission"
)

// secrets is a client.Reader over some Secrets.
type secrets struct {
	client.Reader
	by    map[client.ObjectKey]*corev1.Secret
	fail  error
	reads []client.ObjectKey
}

func (s *secrets) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads = append(s.reads, key)
	if s.fail != nil {
		return s.fail
	}
	found, ok := s.by[key]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	found.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

func pullSecret(ns, secret string, kind corev1.SecretType, key, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: secret}, Type: kind, Data: map[string][]byte{key: []byte(value)}}
}

func TestRow58_PullSecretsAreThoseThePodNamesInItsOwnNamespace(t *testing.T) {
	t.Parallel()
	repo := name.MustParseReference("r.example/app").Context()
	reader := &secrets{by: map[client.ObjectKey]*corev1.Secret{}}
	for _, s := range []*corev1.Secret{
		pullSecret("a", "json", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, "one"),
		pullSecret("a", "cfg", corev1.SecretTypeDockercfg, corev1.DockerConfigKey, "two"),
		pullSecret("a", "opaque", corev1.SecretTypeOpaque, corev1.DockerConfigJsonKey, "three"),
		pullSecret("a", "broken", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, "!"),
	} {
		reader.by[client.ObjectKeyFromObject(s)] = s
	}
	var opened []string
	parse := func(b []byte) (string, error) {
		if string(b) == "!" {
			return "", errors.New("not JSON")
		}
		return string(b), nil
	}
	r := admission.NewSecretReader(reader, parse, func(_ context.Context, creds []string, _ name.Repository) (admission.Registry, error) {
		opened = creds
		return nil, nil
	})
	for what, tc := range map[string]struct {
		namespace string
		names     []string
		want      []string
		err       string
	}{
		"both kinds of docker config":                {"a", []string{"json", "cfg"}, []string{"one", "two"}, ""},
		"another type is no pull secret":             {"a", []string{"opaque"}, nil, ""},
		"one that isn't there is passed over":        {"a", []string{"gone", "json"}, []string{"one"}, ""},
		"a name of another namespace's is anonymous": {"b", []string{"json"}, nil, ""},
		"none at all is anonymous":                   {"a", nil, nil, ""},
		"one that can't be parsed is named":          {"a", []string{"broken"}, nil, "imagePullSecret broken"},
		"more than the bound are refused":            {"a", slices.Repeat([]string{"json"}, 33), nil, "at most 32"},
	} {
		opened = nil
		open, err := r.Open(t.Context(), tc.namespace, tc.names)
		if err == nil {
			_, err = open(repo)
		}
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) || !slices.Equal(opened, tc.want) {
			t.Errorf("%s: opened with %q, error %v", what, opened, err)
		}
	}
	before := len(reader.reads)
	if _, err := r.Open(t.Context(), "a", []string{"json"}); err != nil || len(reader.reads) != before {
		t.Errorf("a Secret held was read again (%v)", err)
	}
	reader.fail = errors.New("etcd is away")
	if _, err := r.Open(t.Context(), "c", []string{"json"}); err == nil || !strings.Contains(err.Error(), "imagePullSecret json") {
		t.Errorf("a Secret that can't be read is passed over: %v", err)
	}
}

func TestADockerConfigOverTheBoundIsRefusedUnread(t *testing.T) {
	t.Parallel()
	reader := &secrets{by: map[client.ObjectKey]*corev1.Secret{}}
	for what, bytes := range map[string]int{"fits": 64 << 10, "large": 64<<10 + 1} {
		s := pullSecret("a", what, corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, strings.Repeat("x", bytes))
		reader.by[client.ObjectKeyFromObject(s)] = s
	}
	parsed := 0
	parse := func(b []byte) (int, error) { parsed++; return len(b), nil }
	r := admission.NewSecretReader(reader, parse, func(context.Context, []int, name.Repository) (admission.Registry, error) { return nil, nil })
	if _, err := r.Open(t.Context(), "a", []string{"fits"}); err != nil || parsed != 1 {
		t.Errorf("%v, parsed %d", err, parsed)
	}
	_, err := r.Open(t.Context(), "a", []string{"large"})
	_, of := r.Secret(t.Context(), "a", "large")
	for _, err := range []error{err, of} {
		if err == nil || !strings.Contains(err.Error(), "Secret a/large has 65537 bytes: at most 65536") || parsed != 1 {
			t.Errorf("%v, parsed %d", err, parsed)
		}
	}
}

func TestNoSecretIsAskedForByANameThatNoneHas(t *testing.T) {
	t.Parallel()
	reader := &secrets{by: map[client.ObjectKey]*corev1.Secret{}}
	r := admission.NewSecretReader(reader, func([]byte) (int, error) { return 0, nil },
		func(context.Context, []int, name.Repository) (admission.Registry, error) { return nil, nil })
	for bytes, refused := range map[int]bool{253: false, 254: true, 2 << 20: true} {
		reader.reads = nil
		_, err := r.Open(t.Context(), "a", []string{strings.Repeat("n", bytes)})
		if (err != nil) != refused || (len(reader.reads) == 0) != refused {
			t.Errorf("%d bytes: %v, %d reads", bytes, err, len(reader.reads))
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

// account is a client.Reader that has one ServiceAccount.
type account struct {
	client.Reader
	secrets []string
}

func (a account) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	for _, s := range a.secrets {
		sa := into.(*corev1.ServiceAccount)
		sa.ImagePullSecrets = append(sa.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return nil
}

func TestAServiceAccountsPullSecretsAreBoundedAsAPods(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		secrets []string
		err     string
	}{
		"as many as there may be": {slices.Repeat([]string{"s"}, 32), ""},
		"one more":                {slices.Repeat([]string{"s"}, 33), "ServiceAccount robot: 33 imagePullSecrets: at most 32"},
		"a name that none has":    {[]string{strings.Repeat("s", 254)}, "254 bytes"},
	} {
		got, err := admission.NewServiceAccountReader(account{secrets: tc.secrets}).PullSecrets(t.Context(), "a", "robot")
		if (err == nil) != (tc.err == "") || err == nil && len(got) != len(tc.secrets) || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %d names, %v", what, len(got), err)
		}
	}
}
