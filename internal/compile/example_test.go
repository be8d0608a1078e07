package compile_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
)

const typo = `{
  "apiVersion": "pratique.dev/v1alpha1",
  "kind": "ImagePolicy",
  "metadata": {"name": "production", "namespace": "payments"},
  "spec": {"images": {"include": ["registry.example.com/**"]}, "require": {"signature": {"by": ["release"], "atleast": 2}}}
}`

func ExampleDecode() {
	_, err := compile.Decode([]byte(typo))
	fmt.Println(err)
	// Output: unknown field "spec.require.signature.atleast": did you mean atLeast?
}

func ExampleValidate() {
	obj, err := compile.Decode([]byte(strings.Replace(typo, `, "atleast": 2`, "", 1)))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range compile.Validate(obj) {
		fmt.Println(e)
	}
	// Output: spec.require.signature.by[0]: Invalid value: "release" is not defined; spec.authorities has: none
}

func ExampleInstall_Check() {
	problems, warnings := compile.Install{}.Check([]byte(`{
  "apiVersion": "pratique.dev/v1alpha1",
  "kind": "ImagePolicy",
  "metadata": {"name": "production", "namespace": "payments"},
  "spec": {"images": {"include": ["**"]}, "references": {"tags": "Pin"}, "allow": {"reason": "a trial"}}
}`))
	fmt.Println(len(problems), "problems")
	fmt.Println(strings.Join(warnings, "\n"))
	// Output:
	// 0 problems
	// spec.references.tags: Pin, but this install doesn't pin: tags are refused with the digest to use
	// spec.images.include[0]: with allow, every image of any host gets in without papers as far as this policy goes
}

func ExampleLoadFiles() {
	bundle, err := compile.LoadFiles(compile.File{Name: "policy.yaml", Reader: strings.NewReader(`
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: production, namespace: payments}
spec:
  images: {include: ["registry.example.com/**"]}
  authorities:
  - name: release
    key: {secretRef: {name: cosign-pub, key: cosign.pub}}
  require: {signature: {by: [release]}}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	set, unresolved := bundle.Set(context.Background(), "payments", policy.UnmatchedDeny)
	fmt.Println(len(set.Namespaced), unresolved)
	// Output: 1 [ImagePolicy payments/production: authority release: Secret payments/cosign-pub: not among the files]
}

func ExampleLoadFiles_trustRoot() {
	bundle, err := compile.LoadFiles(compile.File{Name: "keyless.yaml", Reader: strings.NewReader(`
apiVersion: pratique.dev/v1alpha1
kind: TrustRoot
metadata: {name: corp}
spec:
  sources:
  - public: {}
---
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: production, namespace: payments}
spec:
  images: {include: ["registry.example.com/**"]}
  authorities:
  - name: ci
    keyless:
      trustRoot: corp
      identities:
      - issuer: https://token.actions.githubusercontent.com
        subject: https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main
  require: {signature: {by: [ci]}}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle.Mirror = compile.FetchMirror(trust.Options{}) // for TrustRoots that follow one; this one doesn't
	set, unresolved := bundle.Set(context.Background(), "payments", policy.UnmatchedDeny)
	fmt.Println(set.Namespaced[0].Summary(), len(unresolved))
	// Output: require signature by ci 0
}
