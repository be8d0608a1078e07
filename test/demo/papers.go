package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/demo/documents"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// The namespace of the story, and the repositories that its policy is about.
const (
	team        = "payments"
	proprietary = "proprietary"
)

// papersShow is the story of the papers: examples/production.yaml at work.
type papersShow struct {
	*show
	desk   *desk
	images []ware
}

// ware is an image of the story.
type ware struct {
	name   string
	what   string               // what is to be seen, or is wrong with it
	kind   string               // the type of the paper that it lacks, or has another of; empty: it has them all
	other  func(d *desk) []byte // the other paper; nil: it lacks it
	field  string               // the requirement that is to refuse it; empty: it runs
	reason string               // and why
	whole  bool                 // all of kubectl's words are shown
	digest name.Digest
}

// wares are the image that has everything, and those that lack or have one thing each.
func wares() []ware {
	return []ware{
		{name: "api", what: "an image with all its papers runs"},
		{name: "unsigned", what: "no signature", kind: verify.CosignSign, field: "signature", reason: "NoTrustedSignature", whole: true},
		{name: "no-sbom", what: "no SBOM", kind: documents.TypeSPDX, field: "sbom", reason: "NoSBOM"},
		{name: "no-scan", what: "no scan", kind: documents.TypeScan, field: "vulnerabilities", reason: "NoScan"},
		{name: "no-provenance", what: "no provenance", kind: documents.TypeProvenance, field: "provenance", reason: "NoProvenance"},
		{name: "no-smoke-test", what: "no smoke test", kind: documents.TypeTestResult, field: "tests", reason: "NoTestResult"},
		{name: "no-approval", what: "nobody's approval", kind: predicate.TypeApproval, field: "approvals", reason: "NoApproval"},
		{name: "gpl", what: "a package under the GPL", kind: documents.TypeSPDX, other: (*desk).copyleft, field: "sbom", reason: "LicenseDenied"},
		{name: "critical", what: "critical findings", kind: documents.TypeScan, other: (*desk).critical, field: "vulnerabilities", reason: "TooManyVulnerabilities", whole: true},
		{name: "stale", what: "a scan of last week", kind: documents.TypeScan, other: (*desk).stale, field: "vulnerabilities", reason: "TooOld"},
		{name: "staged", what: "an approval for staging alone", kind: predicate.TypeApproval, other: (*desk).staged, field: "approvals", reason: "WrongEnvironment"},
		{name: "excused", what: "one high finding", kind: documents.TypeScan, other: (*desk).high, field: "vulnerabilities", reason: "TooManyVulnerabilities"},
	}
}

// prepare makes the images and their papers, and applies the policy.
func (s *papersShow) prepare() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("preparing: %v", p)
		}
	}()
	s.images = wares()
	s.step(fmt.Sprintf("push %d images and sign their papers: as pratique attest and pratique approve do with keys, and keyless as a workflow", len(s.images)))
	if s.desk, err = newDesk(s.bed.Registry); err != nil {
		return err
	}
	signed := 0
	for i := range s.images {
		w := &s.images[i]
		w.digest = s.bed.Registry.Push(maker{}, proprietary+"/"+w.name+":1.4.2", evilregistry.RandomImage(uint64(i)+10))
		for _, p := range s.desk.papers(w.digest) {
			if p.kind == w.kind {
				if w.other == nil {
					continue
				}
				p.text = w.other(s.desk)
			}
			if err := s.desk.sign(s.ctx, w.digest, p); err != nil {
				return err
			}
			signed++
		}
	}
	fmt.Printf("  %d papers: signatures, SBOMs (SPDX), scans (trivy's), provenance (GitHub's), test results, approvals\n", signed)

	s.step("apply examples/production.yaml, with this registry and these keys in place of the example's: it holds in every namespace that isn't labelled otherwise")
	production, err := s.policy()
	if err != nil {
		return err
	}
	if err := s.bed.Cluster.CreateNamespace(s.ctx, team, nil); err != nil {
		return err
	}
	if err := s.bed.Apply(s.ctx, production); err != nil {
		return err
	}
	if _, _, err := s.bed.Cluster.Kubectl(s.ctx, "wait", "--for=condition=Ready", "clusterimagepolicy/production", "--timeout=30s"); err != nil {
		return err
	}
	for line := range strings.SplitSeq(requirements(production), "\n") {
		fmt.Println("  " + line)
	}
	return nil
}

var publicKey = regexp.MustCompile(`(?m)^ *-----BEGIN PUBLIC KEY-----\n(?:.*\n)*?( *)-----END PUBLIC KEY-----$`)

// policy is the example's, for this registry, keys and instance of Sigstore.
func (s *papersShow) policy() (string, error) {
	root, err := bed.Root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", "production.yaml"))
	if err != nil {
		return "", err
	}
	keys := [][]byte{s.desk.release.Public().PEM(), s.desk.scanner.Public().PEM(), s.desk.lead.Public().PEM()} // as they stand there
	found := 0
	out := publicKey.ReplaceAllStringFunc(string(text), func(block string) string {
		if found++; found > len(keys) {
			return block
		}
		return indent(string(keys[found-1]), block[:strings.Index(block, "-")])
	})
	if found != len(keys) {
		return "", fmt.Errorf("examples/production.yaml has %d keys, want those of release, scanner and release-lead", found)
	}
	out = strings.ReplaceAll(out, "registry.example.com", s.bed.Registry.Host())
	trusted := strings.ReplaceAll(string(s.desk.sigstore.TrustedRoot(maker{})), "'", "''")
	return fmt.Sprintf("apiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: sigstore-public}\nspec:\n  sources:\n  - data: '%s'\n---\n%s", trusted, out), nil
}

// requirements is what a policy's text has from require on.
func requirements(text string) string {
	at := strings.LastIndex(text, "  require:\n")
	return strings.TrimRight(text[max(at, 0):], "\n")
}

// tell is the story.
func (s *papersShow) tell() error {
	for _, w := range s.images {
		s.step(w.title())
		if err := s.try(w); err != nil {
			return fmt.Errorf("%s: %w", w.what, err)
		}
	}
	s.step("the cluster's policy is to leave namespaces a way out; the team excuses that finding in that image, for three weeks")
	if err := s.excuse(); err != nil {
		return fmt.Errorf("the exception: %w", err)
	}
	s.step("the excused image runs, and the API server's audit log says by which exception")
	if err := s.kubectl(true, []string{"created"}, "-n", team, "run", s.excused().name, "--image="+s.tag(s.excused())); err != nil {
		return err
	}
	return s.audited()
}

// excused is the image of the exception.
func (s *papersShow) excused() ware { return s.images[len(s.images)-1] }

// audited finds the use of the exception in the API server's own log.
func (s *papersShow) audited() error {
	events, err := s.bed.Cluster.AuditEvents()
	if err != nil {
		return err
	}
	const key = "images.pratique.dev/exceptions"
	for _, e := range events {
		if used := e.Annotations[key]; used != "" {
			fmt.Printf("  %s: %s\n", key, used)
			return nil
		}
	}
	return errors.New("the audit log doesn't say that an exception was used")
}

func (w ware) title() string {
	if w.field == "" {
		return w.what
	}
	return "refused: " + w.what
}

func (s *papersShow) tag(w ware) string { return w.digest.Context().Name() + ":1.4.2" }

// try runs an image, and makes sure that kubectl says what is wrong with it, and nothing else.
func (s *papersShow) try(w ware) error {
	args := []string{"-n", team, "run", w.name, "--image=" + s.tag(w)}
	if w.field == "" {
		return s.kubectl(true, []string{"created"}, args...)
	}
	fmt.Println("$ kubectl", commandLine(args))
	cmd := s.bed.Cluster.KubectlCommand(s.ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil {
		return errUnexpected(false)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var failing []string
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) > 1 && f[1] != "ok" && strings.HasPrefix(line, "      ") {
			failing = append(failing, line)
		}
	}
	show := failing
	if w.whole {
		show = lines
	}
	for _, line := range show {
		fmt.Println("  " + line)
	}
	switch {
	case !strings.HasSuffix(lines[0], "denied the request: 1 of 1 image refused: "+w.reason):
		return fmt.Errorf("kubectl's first line isn't that of %s: %s", w.reason, lines[0])
	case len(failing) != 1 || !slices.Equal(strings.Fields(failing[0])[:2], []string{w.field, w.reason + ":"}):
		return fmt.Errorf("kubectl did not name %s %s, and it alone:\n%s", w.field, w.reason, out.String())
	}
	return nil
}

// excusing is what loosens the policy, and exception what makes use of that.
const (
	excusing  = `{"spec":{"namespaceExceptions":{"severities":["high","medium","low"],"maxDuration":"720h"}}}`
	exception = `apiVersion: pratique.dev/v1alpha1
kind: ImageException
metadata: {name: %s, namespace: %s}
spec:
  owner: Ada Lovelace, team payments
  reason: the parser isn't reachable; the update is planned
  expires: "%s"
  images: ["%s"]
  ids: [%s]
`
)

// excuse changes the policy and writes the exception, and waits until both are in force.
func (s *papersShow) excuse() error {
	if err := s.kubectl(true, []string{"patched"}, "patch", "clusterimagepolicy", "production", "--type=merge", "-p", excusing); err != nil {
		return err
	}
	if _, _, err := s.bed.Cluster.Kubectl(s.ctx, "wait", "--for=jsonpath={.status.observedGeneration}=2", "clusterimagepolicy/production", "--timeout=30s"); err != nil {
		return err
	}
	image := s.excused().digest.Context().Name()
	id, ends := high().ID, time.Now().AddDate(0, 0, 21).UTC().Format(time.DateOnly)
	if err := s.apply(true, []string{"created"}, fmt.Sprintf(exception, strings.ToLower(id), team, ends, image, id)); err != nil {
		return err
	}
	_, _, err := s.bed.Cluster.Kubectl(s.ctx, "-n", team, "wait", "--for=condition=Ready", "imageexceptions", "--all", "--timeout=30s")
	if err != nil {
		return err
	}
	return s.kubectl(true, []string{"True"}, "-n", team, "get", "imageexceptions")
}

// workflowKey signs keyless: what the release workflow of acme/app says.
func workflowKey() verifytest.Signing {
	who := verifytest.Person{Issuer: bed.GitHub, Subject: builderID, Extensions: map[int]string{9: builderID, 11: "github-hosted", 18: builderID}}
	return verifytest.Signing{Person: &who, Logs: []verifytest.Log{verifytest.RekorV1}, At: time.Now()}
}
