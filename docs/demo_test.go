package docs_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/bed"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// leftOut marks in the transcript what was left out.
const leftOut = "[...]"

// transcript returns the lines of the README's transcript of the demo.
func transcript(t testing.TB) []string {
	t.Helper()
	return marked(t, "transcript")
}

// marked returns the lines of the README's block of text that is marked so.
func marked(t testing.TB, as string) []string {
	t.Helper()
	for _, b := range readPage(t, "README.md").blocks(t) {
		if b.is("text", as) {
			return b.lines
		}
	}
	t.Fatalf("README.md has no block marked text %s", as)
	return nil
}

// runAlike are what differs from one run of the demo to the next, each with what stands for it.
func runAlike() []struct {
	is    *regexp.Regexp
	alike string
} {
	return []struct {
		is    *regexp.Regexp
		alike string
	}{
		{regexp.MustCompile(`127\.0\.0\.1:\d+`), "REGISTRY"},
		{regexp.MustCompile(`\[ *\d+\.\d s\]`), "[SECONDS]"},
		{regexp.MustCompile(`\(\d+ s\)`), "(SECONDS)"},
		{regexp.MustCompile(` +\d+s$`), " AGE"},
		{regexp.MustCompile(`debugger-[a-z0-9]{5}`), "debugger-NAME"},
		{regexp.MustCompile(`SHA256:[0-9a-f]{12}\.\.\.`), "SHA256:KEY"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\d( \d\d:\d\d UTC|T00:00:00Z)?`), "DATE"},
		{regexp.MustCompile(`attestation of type \S+,`), "attestation of type ANY,"},           // of several that are as near
		{regexp.MustCompile(`(policies: shop/signed)=sha256:[0-9a-f]{12}\.\.\.`), "$1=DIGEST"}, // of keys that are new each time
	}
}

// alike makes two runs' lines equal where they say the same.
func alike(line string) string {
	line = short(strings.TrimRight(line, " \n"))
	for _, d := range runAlike() {
		line = d.is.ReplaceAllString(line, d.alike)
	}
	return line
}

func TestTheTranscriptIsTheDemos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the demo starts an API server, which go test -short doesn't")
	}
	compare(t, transcript(t))
}

func TestTheTranscriptOfThePapersIsTheirDemos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the demo starts an API server, which go test -short doesn't")
	}
	compare(t, marked(t, "papers"), "-papers")
}

// compare runs the demo, and compares what it says with a transcript.
func compare(t testing.TB, transcript []string, flags ...string) {
	t.Helper()
	demo := exec.CommandContext(t.Context(), "go", append([]string{"run", "./test/demo"}, flags...)...)
	demo.Dir = root
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo ended with %v:\n%s", err, out)
	}
	var said []string
	for line := range strings.Lines(string(out)) {
		said = append(said, alike(line))
	}
	at, free := 0, false
	for i, line := range transcript {
		if line == leftOut {
			free = true
			continue
		}
		if line == "" && free {
			continue // around the mark
		}
		want := alike(line)
		from := at
		for free && at < len(said) && said[at] != want {
			at++
		}
		if at >= len(said) || said[at] != want {
			t.Fatalf("README.md, line %d of the transcript:\n%s\nafter line %d the demo said:\n%s", i+1, want, from,
				strings.Join(said[from:min(from+5, len(said))], "\n"))
		}
		at, free = at+1, false
	}
	for _, line := range said[at:] {
		if line != "" && !strings.HasPrefix(line, "Next: ") {
			t.Errorf("the transcript ends, and the demo goes on without a mark: %s", line)
		}
	}
}

// builtByWorkflow is the demo's policy for what a workflow signs.
const builtByWorkflow = `apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: demo}
spec: {sources: [{data: '%s'}]}
---
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: built, namespace: web}
spec:
  images: {include: ["%s/web/**"]}
  authorities: [{name: ci, keyless: {trustRoot: demo, identities: [{issuer: "%s", subject: "%s"}]}}]
  require: {signature: {by: [ci]}}
`

func TestTheTranscriptsRefusalsAreWordedAsTheCodeWordsThem(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	documents, keys := d.local(t, readFile(t, "examples/first-policy.yaml"))
	d.wares(t, keys[0])
	trial := strings.Replace(documents, "namespace: shop", "namespace: trial", 1)
	trial = withSpec(t, trial, "mode: Warn")
	sigstore := verifytest.NewSigstore(t)
	forked := d.reg.Push(t, "web/fork:v1", evilregistry.RandomImage(5))
	bed.SignKeyless(t, sigstore, bed.Workflow("mallory/web"), forked)
	keyless := fmt.Sprintf(builtByWorkflow, sigstore.TrustedRoot(t), d.reg.Host(), bed.Workflow("acme/web").Issuer, bed.Workflow("acme/web").Subject)
	image := func(repository string) string {
		tag := d.reg.Repo(repository).Tag("v1")
		desc, err := remote.Get(tag, d.reg.Options()...)
		if err != nil {
			t.Fatal(err)
		}
		return tag.Context().Digest(desc.Digest.String()).String()
	}
	api, tool, wrong := image("shop/api"), image("shop/tool"), image("shop/copy")
	in := func(list admission.List, name, reference string) admission.Image {
		return admission.Image{List: list, Name: name, Reference: reference}
	}
	readme := strings.Split(alikeAll(transcript(t)), "\n")
	refusals := 0
	for _, c := range []struct {
		what, documents, namespace string
		images                     []admission.Image
		refused                    bool
	}{
		{"an unsigned Pod", documents, "shop", []admission.Image{in(admission.Containers, "tool", tool)}, true},
		{"an unsigned ephemeral container", documents, "shop", []admission.Image{in(admission.EphemeralContainers, "debugger-aaaaa", tool)}, true},
		{"an unsigned image volume", documents, "shop", []admission.Image{in(admission.Containers, "api", api), in(admission.ImageVolumes, "data", tool)}, true},
		{"a wrongly signed Pod", documents, "shop", []admission.Image{in(admission.Containers, "copy", wrong)}, true},
		{"keyless, a fork's", keyless, "web", []admission.Image{in(admission.Containers, "fork", forked.String())}, true},
		{"an unsigned Deployment", documents, "shop", []admission.Image{in(admission.Containers, "tool", tool)}, true},
		{"a Warn policy", trial, "trial", []admission.Image{in(admission.Containers, "tool", tool)}, false},
		{"the tag, moved", documents, "shop", []admission.Image{in(admission.Containers, "web2", d.reg.Host()+"/shop/api:v1")}, true},
	} {
		if c.what == "the tag, moved" {
			d.move(t, tool)
		}
		decision := d.decide(t, c.documents, c.namespace, c.images...)
		if decision.Allowed() == c.refused {
			t.Errorf("%s: allowed is %t", c.what, decision.Allowed())
		}
		var says []string
		if c.refused {
			refusals++
			for line := range strings.SplitSeq(decision.Message(), "\n") {
				says = append(says, alike("  "+line))
			}
		}
		for _, w := range decision.Warnings() {
			says = append(says, alike("  Warning: "+w))
		}
		if len(says) == 0 || !follows(readme, says) {
			t.Errorf("%s: the transcript doesn't have, line by line:\n%s", c.what, strings.Join(says, "\n"))
		}
	}
	pinned := strings.Replace(api, "@", ":v1@", 1)
	if !follows(readme, []string{alike("  " + pinned)}) {
		t.Errorf("the transcript doesn't have the pinned image %s", alike(pinned))
	}
	if n := strings.Count(strings.Join(readme, "\n"), "denied the request:"); n != refusals {
		t.Errorf("the transcript has %d refusals, of which %d were compared", n, refusals)
	}
}

// move makes shop/api:v1 name another image.
func (d *desk) move(t testing.TB, to string) {
	t.Helper()
	digest, err := name.NewDigest(to)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(digest, d.reg.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(d.reg.Repo("shop/api").Tag("v1"), img, d.reg.Options()...); err != nil {
		t.Fatal(err)
	}
	// What a tag names is held for some seconds: ask as somebody who hasn't asked before.
	*d = desk{reg: d.reg, client: newClient(t, d.reg.Host()), keys: d.keys}
}

func alikeAll(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintln(&b, alike(line))
	}
	return b.String()
}

// follows tells whether some lines stand one after another in a text; the first may be the end of a line.
func follows(text, lines []string) bool {
	for i := range len(text) - len(lines) + 1 {
		ok := strings.HasSuffix(text[i], strings.TrimSpace(lines[0]))
		for n := 1; ok && n < len(lines); n++ {
			ok = text[i+n] == lines[n]
		}
		if ok {
			return true
		}
	}
	return false
}
