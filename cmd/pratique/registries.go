package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// evaluator makes the webhook's engine over one set of policies.
func (f *verifyFlags) evaluator(set policy.Set) (*admission.Evaluator, error) {
	client, err := registry.New(registry.Options{
		PlainHTTP: f.plainHTTP, UserAgent: "pratique/" + version, Guard: registry.NewGuard(registry.GuardOptions{}),
	})
	if err != nil {
		return nil, wrong("--plain-http: %w", err)
	}
	creds, err := f.credentials()
	if err != nil {
		return nil, err
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: fixed{set}, Registries: shell{client, creds}, Verifier: verifier, Pinning: f.pin}, nil
}

// credentials reads the docker config: the one named, or else docker's own if it is there.
func (f *verifyFlags) credentials() (registry.Credentials, error) {
	path := f.config
	if path == "" {
		dir := os.Getenv("DOCKER_CONFIG")
		if home, err := os.UserHomeDir(); dir == "" && err == nil {
			dir = filepath.Join(home, ".docker")
		}
		path = filepath.Join(dir, "config.json")
		if _, err := os.Stat(path); dir == "" || err != nil {
			return registry.Credentials{}, nil
		}
	}
	data, err := readInput(path)
	if err != nil {
		return registry.Credentials{}, wrong("--registry-config: %w", err)
	}
	creds, err := registry.ParseDockerConfig(data)
	if err != nil {
		return registry.Credentials{}, wrong("--registry-config %s: %w", path, err)
	}
	return creds, nil
}

// fixed is the one set of policies that is asked.
type fixed struct{ set policy.Set }

// Set implements admission.PolicySource.
func (f fixed) Set(context.Context, string) (policy.Set, error) { return f.set, nil }

// shell opens registries with the credentials of whoever runs the CLI.
type shell struct {
	client *registry.Client
	creds  registry.Credentials
}

// Open implements admission.Registries.
func (s shell) Open(context.Context, string, []string) (admission.Opener, error) {
	return func(repository name.Repository) (admission.Registry, error) {
		return s.client.With(s.creds.For(repository)), nil
	}, nil
}
