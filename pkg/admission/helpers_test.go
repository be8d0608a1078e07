package admission_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// sets is a PolicySource of fixed sets by namespace.
type sets map[string]policy.Set

func (s sets) Set(_ context.Context, namespace string) (policy.Set, error) {
	set, ok := s[namespace]
	if !ok {
		return policy.Set{}, admission.ErrNamespaceUnknown
	}
	return set, nil
}

// always opens the same registry, whatever the repository.
func always(r admission.Registry) admission.Opener {
	return func(name.Repository) (admission.Registry, error) { return r, nil }
}

// hub is a registry in memory that knows tags.
type hub struct {
	*verifytest.Registry
	mu       sync.Mutex
	tags     map[string]v1.Hash
	resolves int
	asked    []string // the pull secrets asked for
	openErr  error
}

func newHub() *hub { return &hub{Registry: verifytest.NewRegistry(), tags: map[string]v1.Hash{}} }

func (h *hub) tag(ref string, d v1.Hash) {
	t, err := name.NewTag(ref)
	if err != nil {
		panic(err) // a literal of the tests
	}
	h.mu.Lock()
	h.tags[t.Name()] = d
	h.mu.Unlock()
}

// Resolve implements admission.Registry.
func (h *hub) Resolve(_ context.Context, t name.Tag) (name.Digest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resolves++
	d, ok := h.tags[t.Name()]
	if !ok {
		return name.Digest{}, &verify.FetchError{Kind: verify.NotFound, Host: t.RegistryStr(), Err: errors.New("no such tag")}
	}
	return t.Context().Digest(d.String()), nil
}

// Open implements admission.Registries.
func (h *hub) Open(_ context.Context, namespace string, secrets []string) (admission.Opener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range secrets {
		h.asked = append(h.asked, namespace+"/"+s)
	}
	return always(h), h.openErr
}

func newEvaluator(t testing.TB, s admission.PolicySource, r admission.Registries) *admission.Evaluator {
	t.Helper()
	v, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &admission.Evaluator{Policies: s, Registries: r, Verifier: v, Clock: time.Now}
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

func pattern(t testing.TB, s string) policy.Pattern {
	t.Helper()
	p, err := policy.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func about(t testing.TB, patterns ...string) policy.Matcher {
	t.Helper()
	var m policy.Matcher
	for _, s := range patterns {
		m.Include = append(m.Include, pattern(t, s))
	}
	return m
}

func signedBy(t testing.TB, images string, signers ...verifytest.Signer) *policy.Policy {
	t.Helper()
	r, err := policy.NewSignature([]verify.Authority{verifytest.Authority(t, "release", signers...)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Policy{
		Name: policy.Name{Namespace: "payments", Name: "production"}, Action: policy.ActionRequire, Digest: "sha256:p",
		Images: about(t, images), Requirements: []policy.Requirement{r}, References: policy.References{Tags: policy.TagsAllow},
	}
}

func containers(refs ...string) []admission.Image {
	var out []admission.Image
	for i, r := range refs {
		out = append(out, admission.Image{List: admission.Containers, Name: "c" + string(rune('a'+i)), Reference: r})
	}
	return out
}
