package docs_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// exampleHost is the registry that the pages and the examples write.
const exampleHost = "registry.example.com"

// exampleHosts are all the registries whose images the examples are about, for short.
func exampleHosts() []string { return []string{exampleHost, "docker.io", "cr.l5d.io"} }

// desk judges as the webhook does, by policies from files and with a registry of its own: what the pages call registry.example.com
// is on loopback, and the keys that they show are replaced by keys of which the private half is known.
type desk struct {
	reg    *evilregistry.Registry
	client *registry.Client
	keys   map[string]papers.Key                                 // by the PEM that stands in the page
	fetch  func(context.Context, trust.MirrorConfig) trust.State // of the mirrors of TrustRoots; nil: none is asked
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	reg := evilregistry.New(t)
	return &desk{reg: reg, client: newClient(t, reg.Host()), keys: map[string]papers.Key{}}
}

func newClient(t testing.TB, host string) *registry.Client {
	t.Helper()
	client, err := registry.New(registry.Options{PlainHTTP: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var pemBlock = regexp.MustCompile(`(?m)^( *)-----BEGIN PUBLIC KEY-----\n(?:.*\n)*?( *)-----END PUBLIC KEY-----$`)

// local rewrites a text for this desk, and returns the keys that it has, in order of first appearance.
func (d *desk) local(t testing.TB, text string) (string, []papers.Key) {
	t.Helper()
	var order []papers.Key
	seen := map[string]bool{}
	text = pemBlock.ReplaceAllStringFunc(text, func(block string) string {
		pad := block[:strings.Index(block, "-")]
		is := strings.ReplaceAll(block, "\n"+pad, "\n")
		key, ok := d.keys[is]
		if !ok {
			key = papers.NewKey(t, papers.P256)
			d.keys[is] = key
		}
		if !seen[is] {
			seen[is] = true
			order = append(order, key)
		}
		return pad + strings.ReplaceAll(strings.TrimSpace(string(key.PublicPEM)), "\n", "\n"+pad)
	})
	for _, host := range exampleHosts() {
		text = strings.ReplaceAll(text, host, d.reg.Host())
	}
	return text, order
}

// Open implements admission.Registries.
func (d *desk) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(name.Repository) (admission.Registry, error) { return d.client.With(registry.Credentials{}), nil }, nil
}

// set is a fixed set of policies.
type set struct{ policies policy.Set }

// Set implements admission.PolicySource.
func (s set) Set(context.Context, string) (policy.Set, error) { return s.policies, nil }

// decide judges images of a namespace by the policies in some documents, which are local already: as those of a Pod, which
// /pin has been asked about before.
func (d *desk) decide(t testing.TB, documents, namespace string, images ...admission.Image) admission.Decision {
	t.Helper()
	e := d.evaluator(t, documents, namespace)
	pins := e.Pin(t.Context(), admission.Query{Namespace: namespace, Images: images})
	images = slices.Clone(images)
	for i := range images {
		for _, p := range pins {
			if images[i].Reference != p.Written || p.Unresolved != nil {
				continue
			}
			to, err := p.Reference()
			if err != nil {
				t.Fatal(err)
			}
			images[i].Reference = to
		}
	}
	return e.Decide(t.Context(), admission.Query{Namespace: namespace, Images: images})
}

// evaluator is the webhook's, by the policies in some documents.
func (d *desk) evaluator(t testing.TB, documents, namespace string) *admission.Evaluator {
	t.Helper()
	bundle := load(t, documents)
	bundle.Mirror = d.fetch
	policies, unresolved := bundle.Set(t.Context(), namespace, policy.UnmatchedAllow)
	if len(unresolved) > 0 {
		t.Fatalf("what policies refer to isn't there: %v", unresolved)
	}
	for _, p := range policies.All() {
		if p.Unusable != "" {
			t.Fatalf("policy %s can't be used: %s", p.Name, p.Unusable)
		}
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &admission.Evaluator{Policies: set{policies}, Registries: d, Verifier: verifier, Pinning: true, Clock: time.Now}
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// load loads documents as the CLI does.
func load(t testing.TB, documents string) *compile.Bundle {
	t.Helper()
	bundle, err := compile.LoadFiles(compile.File{Name: "documents", Reader: strings.NewReader(documents)})
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// container is one image of a Pod.
func container(reference string) admission.Image {
	return admission.Image{List: admission.Containers, Name: "main", Reference: reference}
}

// readFile reads a file by its path below the root.
func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
