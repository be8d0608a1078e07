package docs_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// namespaces are those that the cluster's policies among the examples are tried in. fresh has no label yet, and is selected all
// the same.
const namespaces = `---
apiVersion: v1
kind: Namespace
metadata: {name: live, labels: {environment: production}}
---
apiVersion: v1
kind: Namespace
metadata: {name: fresh}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab, labels: {environment: development}}
---
apiVersion: v1
kind: Namespace
metadata: {name: stage, labels: {environment: staging}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
`

// case of an example: an image of a namespace, by whom it was signed, and what becomes of it.
type exampleCase struct {
	name      string
	namespace string
	image     string // a repository, with :TAG to name it so; else it is named by its digest
	signers   []int  // which of the example's keys signed, in order of appearance; -1: a stranger's
	allowed   bool
	reason    policy.Reason // among those of the decision
}

// exampleCases are what each example promises.
func exampleCases() map[string][]exampleCase {
	return map[string][]exampleCase{
		"first-policy.yaml": {
			{"signed by release", "shop", "shop/api", []int{0}, true, policy.Verified},
			{"not signed", "shop", "shop/api", nil, false, policy.NoTrustedSignature},
			{"signed by a stranger", "shop", "shop/api", []int{-1}, false, policy.NoTrustedSignature},
			{"signed, and named by a tag, which is pinned", "shop", "shop/api:v1", []int{0}, true, policy.Verified},
			{"not signed, and named by a tag", "shop", "shop/api:v1", nil, false, policy.NoTrustedSignature},
			{"signed, but not of the shop", "shop", "else/api", []int{0}, false, policy.NoPolicyMatches},
			{"not signed, in another namespace", "lab", "shop/api", nil, true, policy.NoPolicyInForce},
		},
		"cluster-baseline.yaml": {
			{"signed by the platform team", "live", "team/api", []int{0}, true, policy.Verified},
			{"not signed", "live", "team/api", nil, false, policy.NoTrustedSignature},
			{"not signed, in a namespace without a label", "fresh", "team/api", nil, false, policy.NoTrustedSignature},
			{"not signed, in a namespace that isn't selected", "lab", "team/api", nil, true, policy.NoPolicyInForce},
		},
		"two-signers.yaml": {
			{"signed by two", "payments", "payments/api", []int{0, 2}, true, policy.Verified},
			{"signed by one", "payments", "payments/api", []int{1}, false, policy.TooFewSigners},
			{"signed by one, twice", "payments", "payments/api", []int{1, 1}, false, policy.TooFewSigners},
			{"not signed", "payments", "payments/api", nil, false, policy.NoTrustedSignature},
		},
		"allow-sidecars.yaml": {
			{"the sidecar by its tag, which is pinned", "live", "istio/proxyv2:1.28.0", nil, true, policy.AllowedByPolicy},
			{"another mesh's", "live", "linkerd/proxy:edge-26.11.1", nil, true, policy.AllowedByPolicy},
			{"the sidecar by latest", "live", "istio/proxyv2:latest", nil, false, policy.TagNotAllowed},
			{"another image of the same people", "live", "istio/pilot:1.28.0", nil, false, policy.NoPolicyMatches},
		},
		"revoke-digest.yaml": {
			{"another image, which it leaves alone", "live", "team/api", []int{}, true, policy.NoPolicyInForce},
		},
		"warn-first.yaml": {
			{"not signed", "any", "team/api", nil, true, policy.NoTrustedSignature},
			{"signed", "any", "team/api", []int{0}, true, policy.Verified},
			{"signed, by its tag, which is left alone", "any", "team/api:v1", []int{0}, true, policy.Verified},
			{"excluded", "any", "registry.k8s.io/pause:3.10", nil, true, policy.NoPolicyInForce},
		},
		"release-tags.yaml": {
			{"a release", "web", "web/app:v1.4.2", []int{0}, true, policy.Verified},
			{"latest", "web", "web/app:latest", []int{0}, false, policy.TagNotAllowed},
			{"a release candidate", "web", "web/app:v1.4.2-rc1", []int{0}, false, policy.TagNotAllowed},
			{"a release that nobody signed", "web", "web/app:v1.4.2", nil, false, policy.NoTrustedSignature},
		},
		"rotate-key.yaml": {
			{"signed with the old key", "orders", "orders/api", []int{0}, true, policy.Verified},
			{"signed with the new key", "orders", "orders/api", []int{1}, true, policy.Verified},
			{"signed with another", "orders", "orders/api", []int{-1}, false, policy.NoTrustedSignature},
		},
	}
}

// manifests are the examples of what is judged.
var manifests = []string{"pod.yaml", "deployment.yaml"}

// settings are the examples that are neither policies nor judged by any; admin_test.go loads them.
var settings = []string{"registries.yaml", "rbac.yaml"}

// examples returns the names of the example files of a folder.
func examples(t testing.TB, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v, %v", folder, found, err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func TestEveryExampleDoesWhatItSays(t *testing.T) {
	t.Parallel()
	cases, more, most := exampleCases(), sigstoreCases(), paperCases()
	for _, file := range examples(t, "examples") {
		if slices.Contains(manifests, file) || slices.Contains(settings, file) || len(more[file])+len(most[file]) > 0 {
			continue
		}
		if len(cases[file]) == 0 {
			t.Errorf("examples/%s: nothing says what it does", file)
		}
		for _, c := range cases[file] {
			t.Run(strings.TrimSuffix(file, ".yaml")+": "+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, readFile(t, "examples/"+file))
			})
		}
	}
	if have := len(examples(t, "examples")); have != len(cases)+len(more)+len(most)+len(manifests)+len(settings) {
		t.Errorf("%d examples, but cases for %d, %d and %d, %d manifests and %d settings", have, len(cases), len(more), len(most), len(manifests), len(settings))
	}
}

// run pushes the image, signs it, and judges it by the example.
func (c exampleCase) run(t *testing.T, example string) {
	d := newDesk(t)
	documents, keys := d.local(t, example)
	image := c.image
	if host, _, _ := strings.Cut(image, "/"); !strings.Contains(host, ".") { // else it is one that nobody asks for
		repository, tag, byTag := strings.Cut(image, ":")
		digest := d.push(t, repository+":"+tag, c.signers, keys)
		image = digest.String()
		if byTag {
			image = digest.Context().Tag(tag).String()
		}
	}
	d.check(t, documents+namespaces, c.namespace, image, c.allowed, c.reason)
}

// meant are the warnings that examples bring and say why: what development.yaml and staging.yaml don't select is production.yaml's.
func meant() map[string][]string {
	escapes := []string{"spec.namespaceSelector: a namespace without the label environment escapes; NotIn and DoesNotExist select it"}
	return map[string][]string{"staging.yaml": escapes}
}

// TestNoExampleBringsAWarning: nobody begins by copying what /validate-policy warns of.
func TestNoExampleBringsAWarning(t *testing.T) {
	t.Parallel()
	for _, file := range slices.Concat(slices.Collect(maps.Keys(exampleCases())), slices.Collect(maps.Keys(sigstoreCases())), slices.Collect(maps.Keys(paperCases()))) {
		for document := range strings.SplitSeq(inTime(readFile(t, "examples/"+file)), "\n---\n") {
			raw, err := yaml.YAMLToJSONStrict([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(document, "apiVersion: pratique.dev/") {
				continue
			}
			problems, warnings := compile.Install{Pinning: true}.Check(raw)
			if len(problems) > 0 || !slices.Equal(warnings, meant()[file]) {
				t.Errorf("examples/%s: %q, %q", file, problems, warnings)
			}
		}
	}
}

// push pushes an image, signed.
func (d *desk) push(t testing.TB, reference string, signers []int, keys []papers.Key) name.Digest {
	t.Helper()
	if strings.HasSuffix(reference, ":") {
		reference += "some"
	}
	digest := d.reg.Push(t, reference, evilregistry.RandomImage(1))
	for i, n := range signers {
		key := papers.NewKey(t, papers.P256)
		if n >= 0 {
			key = keys[n]
		}
		if i%2 == 0 { // in both layouts, for both count
			papers.SignBundle(t, digest, key)
		} else {
			papers.SignLegacy(t, digest, key)
		}
	}
	return digest
}

func (d *desk) check(t testing.TB, documents, namespace, image string, allowed bool, reason policy.Reason) {
	t.Helper()
	decision := d.decide(t, documents, namespace, container(image))
	if decision.Allowed() != allowed || !slices.Contains(decision.Reasons(), reason) {
		t.Errorf("%s in %s: allowed %t for %v, want %t for %s\n%s",
			image, namespace, decision.Allowed(), decision.Reasons(), allowed, reason, decision.Message())
	}
}

func TestARevokedDigestIsRefusedWhateverItsSignatures(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	documents, keys := d.local(t, readFile(t, "examples/cluster-baseline.yaml")+"---\n"+readFile(t, "examples/revoke-digest.yaml")+namespaces)
	digest := d.push(t, "team/api:v1", []int{0}, keys)
	d.check(t, documents, "live", digest.String(), true, policy.Verified)
	const written = "9f2c0c1e5d0a4b7e8f6a3c2d1b0e9f8a7c6d5e4b3a29181706f5e4d3c2b1a090"
	if !strings.Contains(documents, written) {
		t.Fatalf("revoke-digest.yaml does not have the digest %s", written)
	}
	revoked := strings.ReplaceAll(documents, "sha256:"+written, digest.DigestStr())
	d.check(t, revoked, "live", digest.String(), false, policy.DeniedByPolicy)
	d.check(t, revoked, "live", digest.Context().Tag("v1").String(), false, policy.DeniedByPolicy)
}

func TestTheManifestsRunUnderTheFirstPolicyOnceSigned(t *testing.T) {
	t.Parallel()
	for _, file := range manifests {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			documents, keys := d.local(t, readFile(t, "examples/first-policy.yaml"))
			manifest, _ := d.local(t, readFile(t, "examples/"+file))
			images := admission.Images(podSpec(t, manifest))
			if file == "pod.yaml" && len(images) != 4 {
				t.Errorf("pod.yaml names %d images, and says that it shows every place but one", len(images))
			}
			if before := d.decide(t, documents, "shop", images...); before.Allowed() {
				t.Error("it is allowed before anything was signed")
			}
			for _, img := range images {
				pushed, _, byDigest := strings.Cut(strings.TrimPrefix(img.Reference, d.reg.Host()+"/"), "@")
				if byDigest {
					pushed += ":some"
				}
				d.push(t, pushed, []int{0}, keys)
			}
			if after := d.decide(t, documents, "shop", images...); !after.Allowed() {
				t.Error(after.Message())
			}
		})
	}
}

// podSpec reads a manifest as strictly as the API server does for kubectl.
func podSpec(t testing.TB, manifest string) *corev1.PodSpec {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(manifest), &pod); err == nil {
		return &pod.Spec
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(manifest), &deployment); err != nil {
		t.Fatal(err)
	}
	return &deployment.Spec.Template.Spec
}

// notYet makes sure that a document has nothing wrong with it but that this version can't do it, and returns the fields that it
// can't do.
func notYet(t testing.TB, document string) []string {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	obj, err := compile.Decode(raw)
	if err != nil {
		t.Fatalf("it isn't of the types: %v", err)
	}
	var fields []string
	for _, e := range compile.Validate(obj) {
		fields = append(fields, e.Field)
		if !strings.HasPrefix(e.Detail, "not supported yet") {
			t.Errorf("wrong, and not only too new: %v", e)
		}
	}
	if len(fields) == 0 {
		t.Error("it works: it isn't to come, it is here")
	}
	p, report := compile.Compiler{}.Compile(t.Context(), obj)
	if p.Unusable == "" || report.Reason != compile.ReasonNotSupported {
		t.Errorf("stored, it is %q for %s, want unusable for %s", p.Unusable, report.Reason, compile.ReasonNotSupported)
	}
	if _, err := compile.LoadFiles(compile.File{Name: "document", Reader: strings.NewReader(document)}); err == nil || !strings.Contains(err.Error(), "not supported yet") {
		t.Errorf("pratique verify -f says %v", err)
	}
	checkNames(t, raw)
	return fields
}

// checkNames makes sure that every list called by names authorities that are there: Validate doesn't look into what it can't do.
func checkNames(t testing.TB, raw []byte) {
	t.Helper()
	var doc struct {
		Spec struct {
			Authorities []struct{ Name string } `json:"authorities"`
		} `json:"spec"`
	}
	var tree any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			for key, child := range node {
				names, ok := child.([]any)
				if key != "by" || !ok {
					walk(child)
					continue
				}
				for _, who := range names {
					if !slices.ContainsFunc(doc.Spec.Authorities, func(a struct{ Name string }) bool { return a.Name == who }) {
						t.Errorf("by names %v, which is no authority", who)
					}
				}
			}
		}
	}
	walk(tree)
}

func TestTheExamplesAreListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, row := range readPage(t, "examples/README.md").rows(t, "file") {
		for _, link := range links(row[0]) {
			listed[link] = true
		}
	}
	for _, file := range examples(t, "examples") {
		if !listed[file] {
			t.Errorf("examples/README.md doesn't list %s", file)
		}
		delete(listed, file)
	}
	for file := range listed {
		t.Errorf("examples/README.md lists %s, which isn't there", file)
	}
}
