package apiserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/deploy/helm"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// TestRow59_TheInstallsOwnCredentialIsForItsPrefixAlone also follows an edit of the list.
func TestRow59_TheInstallsOwnCredentialIsForItsPrefixAlone(t *testing.T) {
	password := canary("row59")
	s := parallelScene(t, "row59", evilregistry.WithBasicAuth(map[string]string{puller: password}, "private/**"))
	s.policy(signedBy)
	good, bad := s.signed("private/app/api").String(), s.unsigned("private/app/miner").String()
	lookalike := s.signed("private/application/api").String()
	host := s.reg.Host()
	own := dockerConfig("row59", host, puller, password)
	_, err := s.kube.CoreV1().Secrets(helm.Namespace).Create(s.ctx, own, metav1.CreateOptions{})
	s.want("creating the install's Secret", err)

	file := filepath.Join(t.TempDir(), "registries.yaml")
	write := func(text string) {
		t.Helper()
		s.want("writing the list", os.WriteFile(file, []byte(text), 0o600))
	}
	write("registries: []\n")
	w := s.webhook(bed.WebhookOptions{Name: "row59", Flags: []string{"--registries", file}})
	s.want("waiting for it", w.WaitReady(s.ctx))
	if a := ask(t, w, review(s.ns, pod("api", good))); a.Allowed || !strings.Contains(saidBy(a), "RegistryUnauthorized") {
		t.Fatalf("without a credential: allowed %t, %s", a.Allowed, saidBy(a))
	}

	write(fmt.Sprintf("registries:\n- prefix: %s/private/app\n  auth: {secretRef: {name: row59}}\n", host))
	s.eventually("the list to be read anew", func() error {
		if a := ask(t, w, review(s.ns, pod("api", good))); !a.Allowed {
			return fmt.Errorf("%s", saidBy(a))
		}
		return nil
	})
	if a := ask(t, w, review(s.ns, pod("miner", bad))); a.Allowed || !strings.Contains(saidBy(a), "NoTrustedSignature") {
		t.Errorf("an unsigned image that the install may read: %s", saidBy(a))
	}
	if a := ask(t, w, review(s.ns, pod("lookalike", lookalike))); a.Allowed || !strings.Contains(saidBy(a), "RegistryUnauthorized") {
		t.Errorf("a path that only begins alike: allowed %t, %s", a.Allowed, saidBy(a))
	}

	// A list with a mistake changes nothing.
	write("registries:\n- prefix: 'https://x'\n")
	s.eventually("the mistake to be told", func() error {
		text, err := os.ReadFile(w.Log())
		if err == nil && !strings.Contains(string(text), "the list of registries can't be taken up") {
			err = fmt.Errorf("the log doesn't say so")
		}
		return err
	})
	if a := ask(t, w, review(s.ns, pod("api", good))); !a.Allowed {
		t.Errorf("after a mistake: %s", saidBy(a))
	}
	if metrics, err := w.Metrics(s.ctx); err != nil || !strings.Contains(metrics, `pratique_registries_reloads_total{result="error"} 1`) {
		t.Errorf("metrics: %v", err)
	}
}

func TestAMirrorServesWhereTheOriginIsAway(t *testing.T) {
	s := parallelScene(t, "mirror")
	good, bad := s.signed("cache/shop/api:v1"), s.unsigned("cache/shop/miner:v1")
	s.policy(signedBy, with{"include": "origin.invalid/**"})
	file := filepath.Join(t.TempDir(), "registries.yaml")
	s.want("writing the list", os.WriteFile(file, []byte(fmt.Sprintf("registries:\n- {prefix: origin.invalid, mirror: %s/cache}\n", s.reg.Host())), 0o600))
	w := s.webhook(bed.WebhookOptions{Name: "mirror", Flags: []string{"--registries", file}})
	s.want("waiting for it", w.WaitReady(s.ctx))
	at := func(repo string, d name.Digest) string { return "origin.invalid/" + repo + "@" + d.DigestStr() }
	if a := ask(t, w, review(s.ns, pod("api", at("shop/api", good)))); !a.Allowed {
		t.Errorf("signed, at the mirror: %s", saidBy(a))
	}
	if a := ask(t, w, review(s.ns, pod("miner", at("shop/miner", bad)))); a.Allowed || !strings.Contains(saidBy(a), "origin.invalid/shop/miner") {
		t.Errorf("unsigned, at the mirror: allowed %t, %s", a.Allowed, saidBy(a))
	}
}
