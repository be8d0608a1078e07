package registry_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/registry"
)

func ExampleNew() {
	guard := registry.NewGuard(registry.GuardOptions{DenyPrivate: true})
	guard.SetServiceRanges([]netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")})
	client, err := registry.New(registry.Options{Guard: guard, PlainHTTP: []string{"registry.test:5000"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	anonymous := client.With(registry.Credentials{})
	fmt.Println(anonymous == client.With(registry.Credentials{}))
	// Output: true
}

func ExampleNewGuard() {
	guard := registry.NewGuard(registry.GuardOptions{})
	fmt.Println(guard.Check(netip.MustParseAddr("93.184.216.34")))
	fmt.Println(guard.Check(netip.MustParseAddr("::ffff:169.254.169.254")))
	// Output:
	// <nil>
	// 169.254.169.254 is a metadata address of a cloud, never asked
}

func ExampleParseDockerConfig() {
	creds, err := registry.ParseDockerConfig([]byte(`{"auths": {"ghcr.io/acme": {"username": "robot", "password": "secret"}}}`))
	fmt.Println(creds, err)
	// Output: [credentials] <nil>
}

func ExampleParseRegistries() {
	registries, err := registry.ParseRegistries([]byte(`
registries:
- prefix: registry.example.com/team
  mirror: mirror.example.net/cache
- prefix: contoso.azurecr.io
  auth: {acr: {}}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := registry.New(registry.Options{Registries: registries})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	_, err = registry.ParseRegistries([]byte(`registries: [{prefix: contoso.azurecr.io.evil.example, auth: {acr: {}}}]`))
	fmt.Println(err)
	// Output: registries[0] (contoso.azurecr.io.evil.example): auth: acr: "contoso.azurecr.io.evil.example" isn't exactly such a registry: want NAME.azurecr.io, NAME.azurecr.cn or NAME.azurecr.us; for another give a Secret (auth: {secretRef: ...})
}

func ExampleClient_Writer() {
	client, err := registry.New(registry.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	repo, err := name.NewRepository("registry.example.com/team/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	writer, err := client.Writer(registry.Credentials{}, repo)
	fmt.Println(writer, err)
	// Output: [writer to registry.example.com/team/app] <nil>
}

func ExampleBundle() {
	created := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	artifact := registry.Bundle([]byte(`{}`), "https://pratique.dev/attestation/approval/v1", created)
	fmt.Println(artifact.Type)
	fmt.Println(artifact.Annotations["org.opencontainers.image.created"])
	// Output:
	// application/vnd.dev.sigstore.bundle.v0.3+json
	// 2026-11-22T10:00:00Z
}
