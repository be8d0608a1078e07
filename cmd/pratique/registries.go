package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/net/http/httpproxy"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/internal/registry/cloud"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// evaluator makes the webhook's engine over one set of policies.
func (f *verifyFlags) evaluator(set policy.Set) (*admission.Evaluator, error) {
	registries, err := f.shell(named(set))
	if err != nil {
		return nil, err
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: fixed{set}, Registries: registries, Verifier: verifier, Pinning: f.pin, Clock: time.Now}, nil
}

// shell makes what speaks to registries. Behind a proxy only hosts that are named are asked.
func (f *verifyFlags) shell(named func(host string) bool) (shell, error) {
	options := registry.Options{
		PlainHTTP: f.plainHTTP, UserAgent: "pratique/" + version, Guard: registry.NewGuard(registry.GuardOptions{}),
		Proxy: httpproxy.FromEnvironment().ProxyFunc(), Named: named,
		ECR: cloud.NewECR(cloud.Options{}), GAR: cloud.NewGAR(cloud.Options{}), ACR: cloud.NewACR(cloud.Options{}),
		OnLoginError: func(prefix string, err error) {
			fmt.Fprintf(os.Stderr, "note: --registries: the credential of %s can't be got: %v\n", prefix, err)
		},
	}
	if f.list != "" {
		list, err := registry.LoadRegistries(f.list)
		if err != nil {
			return shell{}, wrong("--registries: %w", err)
		}
		options.Registries = list
	}
	client, err := registry.New(options)
	if err != nil {
		return shell{}, wrong("--plain-http, --registries: %w", err)
	}
	creds, err := f.credentials()
	if err != nil {
		return shell{}, err
	}
	return shell{client, creds}, nil
}

// named tells whether a policy names a host: behind a proxy no others are asked.
func named(set policy.Set) func(host string) bool {
	return func(host string) bool {
		for _, p := range set.All() {
			if slices.ContainsFunc(p.Images.Include, func(i policy.Pattern) bool { return i.MatchesHost(host) }) {
				return true
			}
		}
		return false
	}
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
func (s shell) Open(ctx context.Context, _ string, _ []string) (admission.Opener, error) {
	return func(repository name.Repository) (admission.Registry, error) {
		return s.client.Open(ctx, s.creds, repository)
	}, nil
}
