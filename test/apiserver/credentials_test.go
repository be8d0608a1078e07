package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

const (
	// puller is who opens the private repositories of these tests.
	puller = "puller"
	// secretHold is for how long the webhook holds a pull secret that it has read (60 s), and a little.
	secretHold = 75 * time.Second
)

// canary is a password that must show up nowhere, of one test.
func canary(test string) string { return "canary-Xy7-" + test }

// dockerConfig is a pull secret for a registry.
func dockerConfig(name, host, user, password string) *corev1.Secret {
	text, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{
		"username": user, "password": password, "auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password)),
	}}})
	if err != nil {
		panic(err) // strings always can
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: text},
	}
}

func (s *scene) secret(secret *corev1.Secret) {
	s.t.Helper()
	_, err := s.kube.CoreV1().Secrets(s.ns).Create(s.ctx, secret, metav1.CreateOptions{})
	s.want("creating Secret "+secret.Name, err)
}

// pulling is a Pod that names pull secrets.
func pulling(name, image string, secrets ...string) *corev1.Pod {
	p := pod(name, image)
	for _, secret := range secrets {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	}
	return p
}

// TestRow90_WhatOneNamespaceMayPullIsNotToldToAnother also rotates a Secret, which takes a minute to be seen.
func TestRow90_WhatOneNamespaceMayPullIsNotToldToAnother(t *testing.T) {
	password := canary("row90")
	s := parallelScene(t, "row90-a", evilregistry.WithTokenAuth(map[string]string{puller: password}, "private/**"))
	good, bad := s.signed("private/api").String(), s.unsigned("private/tool").String()
	s.policy(signedBy)
	s.secret(dockerConfig("pull", s.reg.Host(), puller, password))
	s.admits(pulling("cold", good, "pull"))
	s.admits(pulling("warm", good, "pull"))
	s.refuses(pulling("unsigned", bad, "pull"), "NoTrustedSignature")
	s.refuses(pod("forgotten", good), "RegistryUnauthorized")

	b := s.in(t, "row90-b")
	b.namespace(b.ns, nil)
	b.policy(signedBy)
	b.refuses(pod("none", good), "RegistryUnauthorized")
	b.refuses(pulling("others", good, "pull"), "RegistryUnauthorized") // there is such a Secret, in another namespace
	b.secret(dockerConfig("wrong", b.reg.Host(), puller, "not-it"))
	b.refuses(pulling("wrong", good, "wrong"), "RegistryUnauthorized")
	b.secret(dockerConfig("elsewhere", "registry.example.com", puller, password))
	b.refuses(pulling("elsewhere", good, "elsewhere"), "RegistryUnauthorized")
	b.secret(dockerConfig("right", b.reg.Host(), puller, password))
	b.admits(pulling("right", good, "right"))
	b.admits(pulling("either", good, "wrong", "right")) // as the kubelet tries each

	// The ServiceAccount's are merged into the Pod by the API server before we are asked.
	account, err := s.kube.CoreV1().ServiceAccounts(b.ns).Get(s.ctx, "default", metav1.GetOptions{})
	s.want("getting the ServiceAccount", err)
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "right"}}
	_, err = s.kube.CoreV1().ServiceAccounts(b.ns).Update(s.ctx, account, metav1.UpdateOptions{})
	s.want("giving the ServiceAccount a pull secret", err)
	b.eventually("the API server to merge the ServiceAccount's pull secret", func() error {
		_, err := b.create(pod("merged", good))
		return err
	})

	s.secret(dockerConfig("rotated", s.reg.Host(), puller, "not-yet"))
	s.refuses(pulling("rotated", good, "rotated"), "RegistryUnauthorized")
	rotated := dockerConfig("rotated", s.reg.Host(), puller, password)
	_, err = s.kube.CoreV1().Secrets(s.ns).Update(s.ctx, rotated, metav1.UpdateOptions{})
	s.want("rotating the Secret", err)
	s.within(secretHold, "the rotated Secret to be read", func() error {
		_, err := s.create(pulling("rotated", good, "rotated"))
		if err != nil {
			time.Sleep(2 * time.Second)
		}
		return err
	})
}

// untold checks that a password is not in what users were told, in the logs or in the metrics.
func (s *scene) untold(password string, said []string) {
	s.t.Helper()
	for _, file := range []string{s.bed.DecisionLog(), s.bed.Log(), s.bed.Cluster.AuditLog()} {
		text, err := os.ReadFile(file)
		s.want("reading a log", err)
		said = append(said, string(text))
	}
	metrics, err := s.bed.Metrics(s.ctx)
	s.want("reading metrics", err)
	for _, text := range append(said, metrics) {
		for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(puller + ":" + password))} {
			if at := strings.Index(text, secret); at >= 0 {
				s.t.Errorf("a credential is told: ...%s...", text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}

func TestRow97_NoCredentialIsTold(t *testing.T) {
	password := canary("row97a")
	s := parallelScene(t, "row97", evilregistry.WithBasicAuth(map[string]string{puller: password}, "private/**"))
	good, bad := s.signed("private/api"), s.unsigned("private/api")
	s.policy(signedBy)
	host := s.reg.Host()
	s.secret(dockerConfig("pull", host, puller, password))
	s.secret(dockerConfig("wrong", host, puller, password+"x"))
	for name, text := range map[string]string{
		"list":   `{"auths": {"` + host + `": ["` + password + `"]}}`,
		"number": `{"auths": {"` + host + `": {"username": 1, "password": "` + password + `"}}}`,
		"auth":   `{"auths": {"` + host + `": {"auth": "` + password + `"}}}`,
	} {
		secret := dockerConfig(name, host, puller, password)
		secret.Data[corev1.DockerConfigJsonKey] = []byte(text)
		s.secret(secret)
	}
	var said []string
	for _, p := range []*corev1.Pod{
		pulling("unsigned", bad.String(), "pull"),
		pulling("no-such-tag", good.Context().Name()+":none", "pull"),
		pulling("rejected", good.String(), "wrong"),
		pulling("list", good.String(), "list"), pulling("number", good.String(), "number"), pulling("auth", good.String(), "auth"),
	} {
		_, err := s.create(p)
		s.wantRefused(err)
		said = append(said, err.Error())
	}
	s.admits(pulling("good", good.String(), "pull"))
	s.untold(password, said)
}

// echo is a registry that fails and repeats what it was sent, credentials and all, as a proxy before it may in its debug mode.
func echo(w http.ResponseWriter, r *http.Request) {
	user, pass, _ := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	text, err := json.Marshal(map[string]any{"errors": []map[string]string{{
		"code": "UNKNOWN", "message": "failed for " + user + ":" + pass + " " + r.Header.Get("Authorization"),
	}}})
	if err == nil {
		_, _ = w.Write(text)
	}
}

// TestRow97_ARegistryThatRepeatsCredentialsIsNotQuoted: whoever may create Pods need not be one who may read the Secret.
func TestRow97_ARegistryThatRepeatsCredentialsIsNotQuoted(t *testing.T) {
	password := canary("row97b")
	s := parallelScene(t, "row97b", evilregistry.WithBasicAuth(map[string]string{puller: password}, "private/**"))
	s.policy(signedBy)
	s.secret(dockerConfig("pull", s.reg.Host(), puller, password))
	image := s.signed("private/api")
	rule := s.reg.On(evilregistry.Match{Repo: "private/api"}, evilregistry.Func(echo))
	_, err := s.create(pulling("echo", image.String(), "pull"))
	s.wantRefused(err, "RegistryUnavailable", "500 Internal Server Error")
	if rule.Hits() == 0 {
		t.Fatal("the registry was not asked, so that nothing is proved")
	}
	s.untold(password, []string{err.Error()})
}
