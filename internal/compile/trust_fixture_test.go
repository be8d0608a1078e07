package compile

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// trustRoot returns a TrustRoot with a spec given in YAML.
func trustRoot(name, spec string) string {
	return "apiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: " + name + ", generation: 1}\nspec:\n" + indent(spec, 2) + "\n"
}

// inlineRoot returns a TrustRoot of texts.
func inlineRoot(name string, texts ...[]byte) string {
	var spec strings.Builder
	spec.WriteString("sources:\n")
	for _, text := range texts {
		spec.WriteString("- data: " + quoted(string(text)) + "\n")
	}
	return trustRoot(name, spec.String())
}

// bySomeone returns a spec that wants a signature by verifytest's someone, as a TrustRoot confirms it.
func bySomeone(root, terms string) string {
	p := verifytest.Someone()
	return "images: {include: [registry.example.com/**]}\nauthorities: [{name: ci, keyless: {trustRoot: " + root + ", identities: [{issuer: " + quoted(p.Issuer) + ", subject: " + quoted(p.Subject) + "}]}" + terms + "}]\nrequire: {signature: {by: [ci]}}"
}

// signedBySomeone is a registry in which an instance has signed an image for verifytest's someone.
func signedBySomeone(t testing.TB, s *verifytest.Sigstore, logs []verifytest.Log, stamps ...int) (*verifytest.Registry, v1.Hash) {
	t.Helper()
	image, p := verifytest.Digest("app"), verifytest.Someone()
	r := verifytest.NewRegistry()
	r.Attach(image, s.Sign(t, verifytest.Signing{Person: &p, Logs: logs, Stamps: stamps}, image))
	return r, image
}

// outcome judges an image by a policy, with all that a registry has of it.
func outcome(t testing.TB, p *policy.Policy, r *verifytest.Registry, image v1.Hash) policy.Outcome {
	t.Helper()
	v, err := verify.NewVerifier(verify.Options{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ref := reference(t, "registry.example.com/app@"+image.String())
	digest, err := name.NewDigest("registry.example.com/app@" + image.String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	known := func(_ v1.Hash, q verify.Question) verify.Findings {
		return v.Findings(ctx, r, digest, []verify.Question{q}, verify.Held)[0]
	}
	return p.Judge(policy.Image{Reference: ref, Digest: image}, known).Outcome()
}
