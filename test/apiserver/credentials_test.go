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
	// puller and password open the private repositories of these tests. The password is a canary: it must show up nowhere.
	puller, password = "puller", "canary-Xy7-password"
	// secretHold is for how long the webhook holds a pull secret that it has read (60 s), and a little.
	secretHold = 75 * time.Second
)

// private is a registry whose repositories below private/ want a login.
func private() evilregistry.Option {
	return evilregistry.WithTokenAuth(map[string]string{puller: password}, "private/**")
}

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
	s := parallelScene(t, "row90-a", private())
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

// echo is a registry that fails and repeats what it was sent, credentials and all.
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

func TestRow97_NoCredentialIsTold(t *testing.T) {
	s := parallelScene(t, "row97", evilregistry.WithBasicAuth(map[string]string{puller: password}, "private/**"))
	good, bad := s.signed("private/api"), s.unsigned("private/api")
	s.policy(signedBy)
	s.secret(dockerConfig("pull", s.reg.Host(), puller, password))
	broken := dockerConfig("broken", s.reg.Host(), puller, password)
	broken.Type = corev1.SecretTypeDockercfg
	broken.Data = map[string][]byte{corev1.DockerConfigKey: []byte(`{"` + password + `": ["` + password + `"]}`)}
	s.secret(broken)
	var said []string
	try := func(p *corev1.Pod) {
		if _, err := s.create(p); err != nil {
			said = append(said, err.Error())
		}
	}
	try(pulling("good", good.String(), "pull"))
	try(pulling("bad", bad.String(), "pull"))
	try(pulling("tag", good.Context().Name()+":none", "pull"))
	try(pulling("broken", good.String(), "broken"))
	fresh := s.signed("private/web")
	rule := s.reg.On(evilregistry.Match{Repo: "private/web"}, evilregistry.Func(echo))
	try(pulling("echo", fresh.String(), "pull"))
	if rule.Hits() == 0 {
		t.Error("the registry that repeats credentials was not asked, so that nothing is proved")
	}
	if len(said) < 4 {
		t.Errorf("only %d requests were refused: %q", len(said), said)
	}
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
				t.Errorf("a credential is told: ...%s...", text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}
