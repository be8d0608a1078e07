package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// namespace is where everything is measured.
const namespace = "shop"

// maker makes images, keys and signatures outside a test: what fails there panics, and guard makes an error of it.
type maker struct{ testing.TB }

func (maker) Helper()                           {}
func (maker) Context() context.Context          { return context.Background() }
func (maker) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (maker) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// guard makes an error of what a maker panics with.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
}

// policyOf asks for a signature by one key on every image of a registry.
func policyOf(host string, pem []byte) string {
	return fmt.Sprintf(`apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: signed, namespace: %s}
spec:
  images: {include: ["%s/**"]}
  references: {tags: Allow}
  authorities:
  - name: release
    key: {data: %q}
  require:
    signature: {by: [release]}
`, namespace, host, pem)
}

// evaluator is the webhook's engine in this process, over the policies of a document and with one set of credentials.
func evaluator(ctx context.Context, document, host string, creds registry.Credentials) (*admission.Evaluator, error) {
	bundle, err := compile.LoadFiles(compile.File{Name: "policy", Reader: strings.NewReader(document)})
	if err != nil {
		return nil, err
	}
	set, unresolved := bundle.Set(ctx, namespace, policy.UnmatchedDeny)
	if len(unresolved) > 0 {
		return nil, fmt.Errorf("policy: %v", unresolved)
	}
	client, err := registry.New(registry.Options{PlainHTTP: []string{host}})
	if err != nil {
		return nil, err
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: only{set}, Registries: opened{client, creds}, Verifier: verifier, Clock: time.Now}, nil
}

// only is one set of policies.
type only struct{ set policy.Set }

// Set implements admission.PolicySource.
func (o only) Set(context.Context, string) (policy.Set, error) { return o.set, nil }

// opened opens every repository with the same credentials.
type opened struct {
	client *registry.Client
	creds  registry.Credentials
}

// Open implements admission.Registries.
func (o opened) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(repository name.Repository) (admission.Registry, error) {
		return o.client.With(o.creds.For(repository)), nil
	}, nil
}

// median of an odd number of measurements; of an even one, the upper of the two in the middle.
func median[T interface{ ~int | ~int64 | ~float64 }](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// round shortens a time for people.
func round(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d us", d.Round(time.Microsecond).Microseconds())
}

// processorTimeOf is what this process has used of the processors.
func processorTimeOf() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}
