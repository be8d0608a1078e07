package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

func dryRun() metav1.CreateOptions { return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}} }

func TestAWarnPolicyAdmitsAndWarns(t *testing.T) {
	s := parallelScene(t, "mode-warn")
	s.policy(signedBy, with{"mode": "Warn"})
	s.warnings.take()
	s.admits(pod("api", s.unsigned("shop/api").String()))
	warned := s.warnings.take()
	if !slices.ContainsFunc(warned, func(w string) bool {
		return strings.HasPrefix(w, "container c0: policy mode-warn/signed: signature NoTrustedSignature: ")
	}) {
		t.Errorf("the warnings are %q", warned)
	}
	for _, w := range warned {
		if len(w) > 120 || strings.ContainsAny(w, "\n\r") {
			t.Errorf("a warning of %d bytes, which the API server would cut: %q", len(w), w)
		}
	}
	s.admits(pod("signed", s.signed("shop/api").String()))
	if warned := s.warnings.take(); len(warned) != 0 {
		t.Errorf("a signed image brings %q", warned)
	}
}

func TestAnAuditPolicyAdmitsInSilence(t *testing.T) {
	s := parallelScene(t, "mode-audit")
	s.policy(signedBy, with{"mode": "Audit"})
	s.warnings.take()
	s.admits(pod("api", s.unsigned("shop/api").String()))
	if warned := s.warnings.take(); len(warned) != 0 {
		t.Errorf("it warns: %q", warned)
	}
	if e := s.audited("api"); e["decision"] != "allowed" || !strings.Contains(e["reasons"], "NoTrustedSignature") {
		t.Errorf("the audit log says %v", e)
	}
	d := s.lastDecision()
	if d.Decision != "allowed" || len(d.Images) != 1 || d.Images[0].Refused || !slices.Contains(d.Reasons, "NoTrustedSignature") {
		t.Errorf("the decision log says %+v", d)
	}
}

// A mode is part of a policy: what it says now counts from now on.
func TestAModeThatChangesActsAtOnce(t *testing.T) {
	s := parallelScene(t, "mode-change")
	bad := s.unsigned("shop/api").String()
	for i, mode := range []string{"Enforce", "Warn", "Enforce", "Audit"} {
		if status := s.policy(signedBy, with{"mode": mode}); string(status.Mode) != mode {
			t.Errorf("the status says %s, not %s", status.Mode, mode)
		}
		p := pod(fmt.Sprintf("api%d", i), bad)
		if mode == "Enforce" {
			s.refuses(p, "NoTrustedSignature")
		} else {
			s.admits(p)
		}
	}
}

func TestADenialByDigestBeatsASignature(t *testing.T) {
	s := parallelScene(t, "deny")
	s.policy(signedBy)
	revoked, fine := s.signed("shop/api:v1"), s.signed("shop/api:v2")
	s.admits(pod("before", revoked.String()))
	s.policy(`
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: revoked, namespace: {{.ns}}}
spec:
  images: {include: ["{{.image}}"]}
  deny: {reason: "CVE-2026-0001: rebuilt as v2"}
`, with{"image": revoked.String()})
	s.refuses(pod("after", revoked.String()), "policy deny/revoked", "DeniedByPolicy: CVE-2026-0001: rebuilt as v2")
	s.refuses(pod("by-tag", revoked.Context().Name()+":v1"), "DeniedByPolicy")
	s.refuses(pod("by-both", revoked.Context().Name()+":v2@"+revoked.DigestStr()), "DeniedByPolicy")
	s.admits(pod("other", fine.String()))
	s.want("a label on what runs already", s.patch("before", `{"metadata":{"labels":{"a":"b"}}}`))
}

func TestAnAllowPolicyAsksForNoPapers(t *testing.T) {
	s := parallelScene(t, "allow")
	s.policy(signedBy, with{"include": s.reg.Host() + "/shop/**"})
	s.policy(`
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: mesh, namespace: {{.ns}}}
spec:
  images: {include: ["{{.host}}/mesh/*"]}
  allow: {reason: "the mesh's sidecar"}
`)
	sidecar := s.unsigned("mesh/proxy").String()
	s.admits(pod("api", s.signed("shop/api").String(), sidecar))
	s.refuses(pod("deeper", s.unsigned("mesh/proxy/extra").String()), "NoPolicyMatches")
	s.refuses(pod("beside", s.unsigned("shop/api").String(), sidecar), "1 of 2 images refused")
}

func TestAtLeastCountsDistinctKeys(t *testing.T) {
	s := parallelScene(t, "at-least")
	second := papers.NewKey(t, papers.P384)
	const twoOf = `
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: two, namespace: {{.ns}}}
spec:
  images: {include: ["{{.host}}/**"]}
  authorities:
  - {name: release, key: {data: {{.release}}}}
  - {name: security, key: {data: {{.second}}}}
  require: {signature: {by: [release, security], atLeast: 2}}
`
	// One key under two names is one signer: nobody could ever satisfy it.
	_, err := s.tryPolicy(twoOf, with{"second": pem(s.release)})
	s.wantRefusedBy("policies.pratique.dev", err, "spec.require.signature.atLeast", "distinct keys")
	s.policy(twoOf, with{"second": pem(second)})

	s.refuses(pod("one", s.signed("shop/api").String()), "TooFewSigners: 1 signer of at least 2")
	again := s.signed("shop/api")
	s.sign(again, s.release, papers.Claims(map[string]any{"by": "another"})) // another paper, the same signer
	papers.SignLegacy(t, again, s.release, papers.Via(s.reg.Options()...))
	s.refuses(pod("again", again.String()), "TooFewSigners: 1 signer of at least 2")

	both := s.signed("shop/api")
	papers.SignLegacy(t, both, second, papers.Via(s.reg.Options()...))
	s.admits(pod("both", both.String()))
}
