package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// show is the demo while it runs.
type show struct {
	ctx   context.Context
	begin time.Time
	bed   *bed.Bed

	release, stranger papers.Key
	good, bad, wrong  name.Digest // of shop, which trusts a key
	built, forked     name.Digest // of web, which trusts a workflow
}

// maker makes test images and signatures outside a test: what fails there ends the demo.
type maker struct{ testing.TB }

func (maker) Helper()                           {}
func (maker) Cleanup(func())                    {}
func (maker) Name() string                      { return "demo" }
func (maker) Context() context.Context          { return context.Background() }
func (maker) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (maker) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// step says what comes, with the seconds since the start.
func (s *show) step(text string) {
	fmt.Printf("\n==> [%4.1f s] %s\n", time.Since(s.begin).Seconds(), text)
}

// policyOf is the demo's policy for a namespace.
func policyOf(namespace, mode, host, pem string) string {
	return fmt.Sprintf(`apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: signed, namespace: %s}
spec:
  mode: %s
  images: {include: ["%s/shop/**"]}
  authorities:
  - name: release
    key:
      data: |
%s
  require:
    signature: {by: [release]}
`, namespace, mode, host, indent(pem, "        "))
}

// keylessPolicy is the demo's policy for the namespace web, and the TrustRoot that it goes by.
func keylessPolicy(host, trustedRoot, issuer, subject string) string {
	return fmt.Sprintf(`apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: demo}
spec:
  sources:
  - data: '%s'
---
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: built, namespace: web}
spec:
  images: {include: ["%s/web/**"]}
  authorities:
  - name: ci
    keyless:
      trustRoot: demo
      identities:
      - issuer: %s
        subject: %s
  require:
    signature: {by: [ci]}
`, strings.ReplaceAll(trustedRoot, "'", "''"), host, issuer, subject)
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by)
}

// prepare makes the images, the signatures, the namespaces and the policies.
func (s *show) prepare() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("preparing: %v", p)
		}
	}()
	s.step("push images: signed with a key, signed by a workflow without one, not signed")
	m, reg := maker{}, s.bed.Registry
	s.release, s.stranger = papers.NewKey(m, papers.P256), papers.NewKey(m, papers.P256)
	s.good = reg.Push(m, "shop/api:v1", evilregistry.RandomImage(1))
	s.bad = reg.Push(m, "shop/tool:v1", evilregistry.RandomImage(2))
	s.wrong = reg.Push(m, "shop/copy:v1", evilregistry.RandomImage(3))
	papers.SignBundle(m, s.good, s.release)
	papers.SignBundle(m, s.wrong, s.stranger)
	sigstore, ours := verifytest.NewSigstore(m), bed.Workflow("acme/web")
	s.built = reg.Push(m, "web/site:v1", evilregistry.RandomImage(4))
	s.forked = reg.Push(m, "web/fork:v1", evilregistry.RandomImage(5))
	bed.SignKeyless(m, sigstore, ours, s.built)
	bed.SignKeyless(m, sigstore, bed.Workflow("mallory/web"), s.forked)
	fmt.Printf("  %s  signed by release\n  %s  signed by a stranger\n  %s  not signed\n", s.good, s.wrong, s.bad)
	fmt.Printf("  %s  keyless, by the workflow of acme/web\n  %s  keyless, by the same workflow of a fork\n", s.built, s.forked)

	s.step("a policy for each namespace: shop and trial trust release, web the workflow of acme/web")
	policies := keylessPolicy(reg.Host(), string(sigstore.TrustedRoot(m)), ours.Issuer, ours.Subject)
	for _, ns := range []struct{ name, mode string }{{"shop", "Enforce"}, {"trial", "Warn"}} {
		policies += "---\n" + policyOf(ns.name, ns.mode, reg.Host(), string(s.release.PublicPEM))
	}
	for _, ns := range []string{"shop", "trial", "web"} {
		if err := s.bed.Cluster.CreateNamespace(s.ctx, ns, nil); err != nil {
			return err
		}
	}
	if err := s.bed.Apply(s.ctx, policies); err != nil {
		return err
	}
	if _, _, err := s.bed.Cluster.Kubectl(s.ctx, "wait", "--for=condition=Ready", "imagepolicies", "--all", "-A", "--timeout=30s"); err != nil {
		return err
	}
	return s.kubectl(true, []string{"shop", "web", "True"}, "get", "imagepolicies", "-A")
}

// kubectl runs and shows kubectl, and checks how it ended and that it said what it should.
func (s *show) kubectl(works bool, says []string, args ...string) error {
	fmt.Println("$ kubectl", commandLine(args))
	return s.run(works, says, "", args...)
}

// commandLine is how arguments are typed.
func commandLine(args []string) string {
	var out []string
	for _, a := range args {
		if strings.ContainsAny(a, `"{} `) {
			a = "'" + a + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// apply is kubectl with a document on its standard input.
func (s *show) apply(works bool, says []string, document string) error {
	fmt.Printf("$ kubectl apply -f - <<EOF\n%s\nEOF\n", strings.TrimSpace(document))
	return s.run(works, says, document, "apply", "-f", "-")
}

func (s *show) run(works bool, says []string, stdin string, args ...string) error {
	cmd := s.bed.Cluster.KubectlCommand(s.ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &out, strings.NewReader(stdin)
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		fmt.Print("  ", strings.TrimRight(line, "\n"), "\n")
	}
	if works != (err == nil) {
		return fmt.Errorf("kubectl %s: that was not the answer expected: %w", args[0], errors.Join(err, errUnexpected(works)))
	}
	for _, want := range says {
		if !strings.Contains(out.String(), want) {
			return fmt.Errorf("kubectl %s did not say %q", args[0], want)
		}
	}
	return nil
}

func errUnexpected(works bool) error {
	if works {
		return errors.New("it should have worked")
	}
	return errors.New("it should have been refused")
}

// tell is the story, a step each.
func (s *show) tell() error {
	by := func(d name.Digest) string { return d.String() }
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a signed Pod is created", func() error {
			return s.kubectl(true, []string{"created"}, "-n", "shop", "run", "api", "--image="+by(s.good))
		}},
		{"an unsigned Pod is refused", func() error {
			return s.kubectl(false, []string{"images.pratique.dev", "NoTrustedSignature", "explain:"}, "-n", "shop", "run", "tool", "--image="+by(s.bad))
		}},
		{"an unsigned ephemeral container is refused", func() error {
			return s.kubectl(false, []string{"ephemeralContainer", "NoTrustedSignature"}, "-n", "shop", "debug", "api", "--attach=false", "--image="+by(s.bad))
		}},
		{"an unsigned image volume is refused", func() error {
			return s.apply(false, []string{"volume data", "NoTrustedSignature"}, fmt.Sprintf(volumePod, by(s.good), by(s.bad)))
		}},
		{"a wrongly signed Pod is refused, with the nearest miss", func() error {
			return s.kubectl(false, []string{"none by release; nearest: key SHA256:"}, "-n", "shop", "run", "copy", "--image="+by(s.wrong))
		}},
		{"keyless: a Pod of what the workflow of acme/web signed is created, with no Sigstore up that could be asked", func() error {
			return s.kubectl(true, []string{"created"}, "-n", "web", "run", "site", "--image="+by(s.built))
		}},
		{"keyless: a Pod of what a fork's workflow signed is refused, and kubectl says whose it is", func() error {
			return s.kubectl(false, []string{"NoTrustedSignature", "none by ci; nearest: https://github.com/mallory/web/"}, "-n", "web", "run", "fork", "--image="+by(s.forked))
		}},
		{"the tag of a signed image is pinned to the digest that was checked", s.pin},
		{"the tag is moved to an unsigned image: a new Pod is refused", s.move},
		{"an unsigned Deployment is refused when it is applied, not when its Pods are", func() error {
			return s.kubectl(false, []string{"workloads.pratique.dev", "NoTrustedSignature"}, "-n", "shop", "create", "deployment", "tool", "--image="+by(s.bad))
		}},
		{"a Warn policy's warning: the unsigned Pod is created", func() error {
			return s.kubectl(true, []string{"Warning: container tool: policy trial/signed", "created"}, "-n", "trial", "run", "tool", "--image="+by(s.bad))
		}},
		{"the API server's audit log carries what was decided", s.audit},
	} {
		s.step(step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

const volumePod = `apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: shop}
spec:
  containers:
  - {name: api, image: "%s"}
  volumes:
  - name: data
    image: {reference: "%s"}
`

// pin runs a Pod by a tag and shows what is stored.
func (s *show) pin() error {
	if err := s.kubectl(true, []string{"created"}, "-n", "shop", "run", "web", "--image="+s.bed.Registry.Host()+"/shop/api:v1"); err != nil {
		return err
	}
	return s.kubectl(true, []string{"/shop/api:v1@" + s.good.DigestStr()}, "-n", "shop", "get", "pod", "web", "-o", "custom-columns=IMAGE:.spec.containers[0].image")
}

// move moves a tag, waits until the webhook asks for it again, and tries it.
func (s *show) move() error {
	tag := s.bed.Registry.Repo("shop/api").Tag("v1")
	img, err := remote.Image(s.bad, s.bed.Registry.Options()...)
	if err != nil {
		return err
	}
	if err := remote.Write(tag, img, s.bed.Registry.Options()...); err != nil {
		return err
	}
	fmt.Printf("  %s now names the image that nobody signed; what a tag names is held for 2 s\n", tag)
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(2100 * time.Millisecond):
	}
	return s.kubectl(false, []string{"NoTrustedSignature"}, "-n", "shop", "run", "web2", "--image="+tag.String())
}

// audit finds the refusal of the unsigned Pod in the API server's own log.
func (s *show) audit() error {
	events, err := s.bed.Cluster.AuditEvents()
	if err != nil {
		return err
	}
	const prefix = "images.pratique.dev/"
	for _, e := range events {
		if e.Annotations[prefix+"decision"] != "refused" {
			continue
		}
		for _, key := range []string{"decision", "reasons", "policies", "images"} {
			if e.Annotations[prefix+key] == "" {
				return fmt.Errorf("the audit event has no annotation %s", prefix+key)
			}
			fmt.Printf("  %s%s: %s\n", prefix, key, e.Annotations[prefix+key])
		}
		return nil
	}
	return errors.New("the audit log has no refusal")
}

// play leaves everything running.
func (s *show) play() error {
	s.step("yours to play with, until Ctrl-C")
	fmt.Printf("  export KUBECONFIG=%s\n  export PATH=%s/bin/k8s:$PATH\n", s.bed.Cluster.Kubeconfig(), mustGetwd())
	fmt.Printf("  kubectl -n shop run api --image=%s   # signed by release\n", s.good)
	fmt.Printf("  kubectl -n shop run tool --image=%s  # not signed\n", s.bad)
	fmt.Printf("  kubectl -n web run site --image=%s   # signed keyless by the workflow of acme/web\n", s.built)
	fmt.Printf("  kubectl -n web run fork --image=%s   # by the workflow of a fork\n", s.forked)
	fmt.Printf("  bin/pratique verify -n shop --plain-http %s %s\n", s.bed.Registry.Host(), s.bad)
	fmt.Printf("  decisions: %s\n", s.bed.DecisionLog())
	<-s.ctx.Done()
	return nil
}

func mustGetwd() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	return dir
}
