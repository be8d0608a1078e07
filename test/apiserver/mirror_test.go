package apiserver

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// mirrored is the source of a TrustRoot that follows a repository.
func mirrored(of *trusttest.Repository) string {
	return fmt.Sprintf("{tuf: {mirror: %s, root: %s}}", of.URL(), quoted(string(of.Root())))
}

// TestRow74_AMirrorsRotatedRootIsTakenUpAndTheLastIsKeptWhileItIsDown: what is fetched again here is a mirror that was taken out of the
// TrustRoot and put back, since nobody asks one more often than once a minute.
func TestRow74_AMirrorsRotatedRootIsTakenUpAndTheLastIsKeptWhileItIsDown(t *testing.T) {
	s := parallelScene(t, "row74")
	before, after := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	old, fresh, later := s.built(before, "acme/app").String(), s.built(after, "acme/app").String(), s.built(after, "acme/app").String()
	mirror := trusttest.New(t, before.TrustedRoot(t))
	follow := func(text []byte) v1alpha1.TrustRootStatus {
		t.Helper()
		s.trustRoot(mirrored(mirror))
		return s.waitRoot(s.object(s.fill(trustRoot, with{"sources": ""})), "to have what the mirror has", func(st v1alpha1.TrustRootStatus) bool {
			return condition(st, "Ready").Status == metav1.ConditionTrue && st.Sources[0].Digest == trust.Digest(text)
		})
	}
	first := follow(before.TrustedRoot(t))
	if one := first.Sources[0]; one.Kind != "tuf" || one.FetchedAt == nil || one.Expires == nil || one.Error != "" || condition(first, "Fresh").Status != metav1.ConditionTrue {
		t.Errorf("the source is %+v, Fresh %+v", one, condition(first, "Fresh"))
	}
	s.policy(builtBy)
	s.waitPolicy("to be usable", func(st v1alpha1.PolicyStatus) bool { return ready(st).Status == metav1.ConditionTrue })
	s.admits(pod("old", old))
	s.refuses(pod("fresh-too-early", fresh), "NoTrustedSignature")

	mirror.SetTarget(after.TrustedRoot(t))
	s.trustRoot(data(t, before))
	second := follow(after.TrustedRoot(t))
	s.waitPolicy("to go by the rotated root", func(st v1alpha1.PolicyStatus) bool { return st.Authorities[0].TrustRoot.Digest == second.Digest })
	s.admits(pod("fresh", fresh))
	s.refuses(pod("old-no-more", old), "NoTrustedSignature")

	mirror.Down(true)
	asked := len(mirror.Asked())
	s.admits(pod("later", later))
	s.refuses(pod("fork", s.built(after, "mallory/app").String()), "NoTrustedSignature")
	if n := len(mirror.Asked()); n != asked {
		t.Errorf("the mirror was asked %d times while Pods waited", n-asked)
	}
	metrics, err := s.bed.Metrics(s.ctx)
	s.want("reading metrics", err)
	for _, want := range []string{
		`pratique_trust_root_age_seconds{trust_root="row74"} `, fmt.Sprintf(`pratique_trust_root_expiry_timestamp_seconds{trust_root="row74"} %g`, float64(second.Sources[0].Expires.Unix())),
		`pratique_trust_root_ready{trust_root="row74"} 1`,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}

// elsewhere listens as a proxy for all that isn't on loopback, which gets no answer, and counts how often it was called.
func elsewhere(t *testing.T) (env []string, called *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	called = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			called.Add(1)
			_ = conn.Close()
		}
	}()
	proxy := "http://" + listener.Addr().String()
	return []string{"HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "http_proxy=", "https_proxy=", "NO_PROXY=", "no_proxy="}, called
}

// TestRowR9_WithNothingButTheRegistryImagesAreJudged: by every kind of root and of proof, with a webhook of its own that can reach this
// machine's loopback alone, and there no mirror. One that starts then, without the mirror's root, refuses what hangs on it.
func TestRowR9_WithNothingButTheRegistryImagesAreJudged(t *testing.T) {
	s := parallelScene(t, "r9")
	written, fetched := verifytest.NewSigstore(t), verifytest.NewSigstore(t)
	mirror := trusttest.New(t, fetched.TrustedRoot(t))
	s.trustRoot("{public: {}}, " + data(t, written) + ", " + mirrored(mirror))
	s.trustRoot(mirrored(mirror), with{"name": "r9-mirror"})
	s.policy(builtBy)
	s.namespace("r9-alone", nil)
	s.policy(strings.ReplaceAll(builtBy, "trustRoot: {{.ns}}", "trustRoot: r9-mirror"), with{"ns": "r9-alone"})

	env, called := elsewhere(t)
	w := s.webhook(bed.WebhookOptions{Name: "r9", Env: env})
	s.want("waiting for it", w.WaitReady(s.ctx))
	mirror.Down(true)
	asked := len(mirror.Asked())

	us, fork := bed.Workflow("acme/app"), bed.Workflow("mallory/app")
	logged, tiled, stamped := []verifytest.Log{verifytest.RekorV1}, []verifytest.Log{verifytest.RekorV2}, []int{0}
	for what, c := range map[string]struct {
		by      *verifytest.Sigstore
		how     verifytest.Signing
		allowed bool
	}{
		"logged-written":   {written, verifytest.Signing{Person: &us, Logs: logged}, true},
		"logged-fetched":   {fetched, verifytest.Signing{Person: &us, Logs: logged}, true},
		"tiled":            {written, verifytest.Signing{Person: &us, Logs: tiled, Stamps: stamped}, true},
		"both":             {fetched, verifytest.Signing{Person: &us, Logs: logged, Stamps: stamped}, true},
		"without-a-log":    {written, verifytest.Signing{Person: &us, Stamps: stamped}, false},
		"without-a-time":   {written, verifytest.Signing{Person: &us, Logs: tiled}, false},
		"another-person":   {written, verifytest.Signing{Person: &fork, Logs: logged}, false},
		"another-sigstore": {verifytest.NewSigstore(t), verifytest.Signing{Person: &us, Logs: logged}, false},
	} {
		image := s.unsigned("shop/" + what)
		bed.SignAs(t, c.by, c.how, image, papers.Via(s.reg.Options()...))
		a := ask(t, w, review(s.ns, pod(what, image.String())))
		if a.Allowed != c.allowed || !a.Allowed && !strings.Contains(saidBy(a), "NoTrustedSignature") {
			t.Errorf("%s: allowed is %t: %s", what, a.Allowed, saidBy(a))
		}
	}
	if n := called.Load(); n != 0 {
		t.Errorf("the webhook called %d times for addresses that aren't the registry's", n)
	}
	if n := len(mirror.Asked()); n != asked {
		t.Errorf("the mirror was asked %d times while Pods waited", n-asked)
	}

	// That the count means something: an image from elsewhere is asked for through what counts.
	s.policy(strings.ReplaceAll(builtBy, "name: built", "name: elsewhere"), with{"host": "elsewhere.invalid"})
	far := pod("far", "elsewhere.invalid/shop/api@"+s.unsigned("shop/far").DigestStr())
	s.eventually("an image from elsewhere to be asked for", func() error {
		if a := ask(t, w, review(s.ns, far)); a.Allowed || called.Load() == 0 {
			return fmt.Errorf("allowed is %t, called %d times: %s", a.Allowed, called.Load(), saidBy(a))
		}
		return nil
	})

	late := s.webhook(bed.WebhookOptions{Name: "r9-late", Env: env})
	s.want("waiting for one that starts with the mirror down", late.WaitReady(s.ctx))
	image := s.unsigned("shop/late")
	bed.SignKeyless(t, written, us, image, papers.Via(s.reg.Options()...))
	if a := ask(t, late, review(s.ns, pod("late", image.String()))); !a.Allowed {
		t.Errorf("by the sources that it has: %s", saidBy(a))
	}
	if a := ask(t, late, review("r9-alone", pod("late", image.String()))); a.Allowed || !strings.Contains(saidBy(a), "PolicyUnusable") {
		t.Errorf("by a mirror alone that it never reached: allowed is %t: %s", a.Allowed, saidBy(a))
	}
}
