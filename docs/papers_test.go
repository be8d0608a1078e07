package docs_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/demo/documents"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// paperCase is a case of an example that asks for more than signatures: an image of a namespace, its papers, and what becomes of it.
type paperCase struct {
	name             string
	namespace, image string // a repository
	index            []string
	papers           []paper
	allowed          bool
	reason           policy.Reason // among those of the decision
	says             string        // in what people are told
}

// paper is a statement, who signs it, and where it lies.
type paper struct {
	by   signing
	kind string
	text func(on subjectOf) []byte
	on   string   // the platform of the index whose image it lies beside; empty: the image itself
	of   []string // the platforms that it is about, beside what it lies beside
}

// subjectOf is what a statement may have to know of the image that it is about.
type subjectOf struct {
	image  name.Digest
	digest map[string]string // of what the policies ask for, by their names
}

// at returns the paper beside the image of a platform.
func (p paper) at(platform string) paper {
	p.on = platform
	return p
}

// about returns the paper with the images of some platforms among its subjects.
func (p paper) about(platforms ...string) paper {
	p.of = platforms
	return p
}

// stating is a paper that says the same of every image.
func stating(by signing, kind string, text []byte) paper {
	return paper{by: by, kind: kind, text: func(subjectOf) []byte { return text }}
}

// signature is a signature.
func signature(by signing) paper { return stating(by, verify.CosignSign, []byte("{}")) }

// sbomBy is an SBOM, made now, of packages of some licences.
func sbomBy(by signing, licenses ...string) paper { return sbomOf(by, 0, licenses...) }

func sbomOf(by signing, old time.Duration, licenses ...string) paper {
	var packages []documents.Package
	for i, l := range licenses {
		packages = append(packages, documents.Package{Name: fmt.Sprintf("package%d", i), Version: "1.0", License: l})
	}
	return stating(by, documents.TypeSPDX, documents.SPDX("image", time.Now().Add(-old), packages...))
}

// scanBy is a scan, made a while ago, that found one vulnerability of each severity that is named, in mendable packages.
func scanBy(by signing, old time.Duration, severities ...string) paper {
	var findings []documents.Finding
	for i, s := range severities {
		findings = append(findings, documents.Finding{ID: fmt.Sprintf("CVE-2026-%d", 1000+i), Severity: s, Package: "openssl", Version: "3.0.1", Fixed: "3.0.2"})
	}
	return scanOf(by, old, findings...)
}

func scanOf(by signing, old time.Duration, findings ...documents.Finding) paper {
	return stating(by, documents.TypeScan, documents.Scan("image", time.Now().Add(-old), findings...))
}

// waived is the finding that the examples' exceptions are about.
func waived(severity string) documents.Finding {
	return documents.Finding{ID: "CVE-2023-12345", Severity: severity, Package: "libexpat", Version: "2.5.0", Fixed: "2.6.0"}
}

// workflow is a workflow of a repository of GitHub, at a ref, that signs now.
func workflow(repository, file, ref string) signing {
	subject := "https://github.com/" + repository + "/.github/workflows/" + file + "@" + ref
	return func(_ testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing) {
		who := verifytest.Person{Subject: subject, Issuer: actions, Extensions: map[int]string{
			9: subject, 11: "github-hosted", 12: "https://github.com/" + repository, 14: ref, 18: subject,
		}}
		return w.public, verifytest.Signing{Person: &who, Logs: []verifytest.Log{verifytest.RekorV1}, At: time.Now()}
	}
}

// built is the provenance of a build by a workflow, signed by another or the same.
func built(by signing, repository, file, ref string) paper {
	return stating(by, documents.TypeProvenance, documents.Provenance(repository, file, ref))
}

// approvalBy is an approval, given a while ago.
func approvalBy(by signing, environment string, old time.Duration) paper {
	return paper{by: by, kind: predicate.TypeApproval, text: func(subjectOf) []byte {
		return must(predicate.NewApproval(environment, time.Now().Add(-old), "", "CHG-4711"))
	}}
}

// promotionBy is a promotion to an environment, in a repository beside the image's.
func promotionBy(by signing, environment, repository string) paper {
	return paper{by: by, kind: predicate.TypePromotion, text: func(on subjectOf) []byte {
		host := on.image.Context().RegistryStr()
		return must(predicate.NewPromotion(predicate.Stage{Repository: host + "/staging/api", Environment: "staging"},
			predicate.Stage{Repository: host + "/" + repository, Environment: environment}, time.Now(), nil))
	}}
}

// summaryBy is a verification summary under a policy; its digest is another where change is set.
func summaryBy(by signing, verifier, policyName string, change bool) paper {
	return paper{by: by, kind: predicate.TypeSummary, text: func(on subjectOf) []byte {
		digest := on.digest[policyName]
		if change {
			digest = "sha256:" + strings.Repeat("0", 64)
		}
		return must(predicate.NewSummary(predicate.SummaryFields{
			Verifier: verifier, Verified: time.Now(), Resource: on.image.String(), PolicyURI: "https://acme.example/policies", PolicyDigest: digest, Passed: true,
		}))
	}}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// expiry is the date by which the examples' exceptions end.
var expiry = regexp.MustCompile(`expires: "2027-01-31"`)

// inTime moves the end of exceptions to 30 days from now, which nobody has to be warned of yet: whoever applies an example today writes a date.
func inTime(text string) string {
	return expiry.ReplaceAllString(text, fmt.Sprintf("expires: %q", time.Now().AddDate(0, 0, 30).UTC().Format(time.DateOnly)))
}

// run pushes the image and its papers, and judges it by the example.
func (c paperCase) run(t *testing.T, file string) {
	decision := c.decide(t, file)
	told := decision.Message() + "\n" + strings.Join(decision.Warnings(), "\n")
	if decision.Allowed() != c.allowed || !slices.Contains(decision.Reasons(), c.reason) || !strings.Contains(told, c.says) {
		t.Errorf("allowed %t for %v, want %t for %s, saying %q\n%s", decision.Allowed(), decision.Reasons(), c.allowed, c.reason, c.says, told)
	}
}

func (c paperCase) decide(t *testing.T, file string) admission.Decision {
	d, w := newDesk(t), newWorld(t)
	example := w.local(t, inTime(readFile(t, "examples/"+file)), d.reg.Host()) + trustRoot(t, "sigstore-public", w.public) + namespaces
	on := subjectOf{digest: map[string]string{}}
	policies, _ := load(t, example).Set(t.Context(), c.namespace, policy.UnmatchedAllow)
	for _, p := range policies.All() {
		on.digest[p.Name.Name] = p.Digest
	}
	children := map[string]name.Digest{}
	if len(c.index) > 0 {
		on.image, children = pushIndex(t, d.reg, c.image, c.index)
	} else {
		on.image = d.reg.Push(t, c.image+":some", evilregistry.RandomImage(1))
	}
	for _, p := range c.papers {
		s, how := p.by(t, w)
		beside, about := on.image, on
		if p.on != "" {
			beside = children[p.on]
			about.image = beside
		}
		subjects := []v1.Hash{hashOf(t, beside)}
		for _, platform := range p.of {
			subjects = append(subjects, hashOf(t, children[platform]))
		}
		bundle, err := json.Marshal(s.Envelope(t, how, verifytest.StatementOf(p.kind, p.text(about), subjects...)))
		if err != nil {
			t.Fatal(err)
		}
		papers.PushBundle(t, beside, p.kind, bundle)
	}
	return d.decide(t, example, c.namespace, container(on.image.String()))
}

func hashOf(t testing.TB, image name.Digest) v1.Hash {
	t.Helper()
	hash, err := v1.NewHash(image.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// pushIndex pushes an index of some platforms, and returns it and its images.
func pushIndex(t testing.TB, reg *evilregistry.Registry, repository string, platforms []string) (name.Digest, map[string]name.Digest) {
	t.Helper()
	var all []v1.Platform
	for _, text := range platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *p)
	}
	digest := reg.Push(t, repository+":some", evilregistry.RandomIndex(1, all...))
	index, err := remote.Index(digest, reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	children := map[string]name.Digest{}
	for _, m := range manifest.Manifests {
		children[m.Platform.String()] = digest.Context().Digest(m.Digest.String())
	}
	return digest, children
}

func TestEveryExampleOfPapersDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for file, cases := range paperCases() {
		for _, c := range cases {
			t.Run(strings.TrimSuffix(file, ".yaml")+": "+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, file)
			})
		}
	}
}

func TestEveryExampleOfPapersAllowsAndRefuses(t *testing.T) {
	t.Parallel()
	for file, cases := range paperCases() {
		allowed := slices.ContainsFunc(cases, func(c paperCase) bool { return c.allowed })
		refused := slices.ContainsFunc(cases, func(c paperCase) bool { return !c.allowed })
		if !allowed || !refused && file != "development.yaml" { // which refuses nothing, and warns
			t.Errorf("examples/%s: allowed %t, refused %t: want cases of both", file, allowed, refused)
		}
	}
}

// TestAStageHasAKeyOfItsOwn: a signature doesn't say which stage it is for, so that its key must.
func TestAStageHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, file := range []string{"staging.yaml", "production.yaml"} {
		release := pemBlock.FindString(readFile(t, "examples/"+file)) // the first authority's
		if other := seen[release]; release == "" || other != "" {
			t.Errorf("examples/%s: release has the key that it has in %q", file, other)
		}
		seen[release] = file
	}
}

// TestEachSeverityWeighsWhatItWeighsInEachEnvironment is the table of the seeds: what one finding of a severity does.
func TestEachSeverityWeighsWhatItWeighsInEachEnvironment(t *testing.T) {
	t.Parallel()
	const info, warn, block = "info", "warn", "block"
	for severity, does := range map[string][3]string{
		"CRITICAL": {warn, block, block},
		"HIGH":     {warn, warn, block},
		"MEDIUM":   {info, warn, warn},
		"LOW":      {info, info, info},
	} {
		for i, env := range []struct {
			file, namespace string
			papers          []paper
		}{
			{"development.yaml", "lab", nil}, {"staging.yaml", "stage", stagingPapers()}, {"production.yaml", "live", productionPapers()},
		} {
			t.Run(severity+" in "+strings.TrimSuffix(env.file, ".yaml"), func(t *testing.T) {
				t.Parallel()
				scanner := withKey(1)
				if env.file == "development.yaml" {
					scanner = withKey(0)
				}
				c := paperCase{namespace: env.namespace, image: "proprietary/api", papers: but(env.papers, documents.TypeScan, scanBy(scanner, time.Hour, severity))}
				decision, got := c.decide(t, env.file), info
				switch {
				case !decision.Allowed():
					got = block
				case len(decision.Warnings()) > 0:
					got = warn
				}
				if got != does[i] {
					t.Errorf("%s, want %s\n%s\n%s", got, does[i], decision.Message(), decision.Warnings())
				}
			})
		}
	}
}

// but returns papers with those of a kind replaced.
func but(all []paper, kind string, by ...paper) []paper {
	return append(slices.DeleteFunc(slices.Clone(all), func(p paper) bool { return p.kind == kind }), by...)
}
