package trust_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pratique-dev/pratique/internal/trust"
)

func ExampleNewMirror() {
	m, err := trust.NewMirror(trust.MirrorConfig{URL: trust.PublicGoodMirror}, trust.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// m.Refresh(ctx) would ask it. Until then:
	s := m.State()
	fmt.Println(s.TrustedRoot == nil, errors.Is(s.Err, trust.ErrNotFetched))

	_, err = trust.NewMirror(trust.MirrorConfig{URL: "https://tuf.example.com"}, trust.Options{})
	fmt.Println(err)
	// Output:
	// true true
	// root is missing: it may be left out for https://tuf-repo-cdn.sigstore.dev alone
}

func ExampleNewKeeper() {
	k, err := trust.NewKeeper(trust.Options{OnChange: func(c trust.MirrorConfig) { fmt.Println("compile again what uses", c.URL) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	wanted := trust.MirrorConfig{URL: trust.PublicGoodMirror, RefreshEvery: 6 * time.Hour}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a real one runs until the process ends, and would fetch the root at once
	k.Set([]trust.MirrorConfig{wanted})
	fmt.Println(k.State(wanted).Err)
	fmt.Println(k.State(trust.MirrorConfig{URL: "https://tuf.example.com"}).Err)
	k.Set(nil)
	fmt.Println(k.Start(ctx))
	// Output:
	// the mirror was not asked yet
	// this mirror is not followed: https://tuf.example.com
	// <nil>
}

func ExampleCheckText() {
	fmt.Println(trust.CheckText(trust.PublicGood()))
	fmt.Println(trust.CheckText([]byte(`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)))
	// Output:
	// <nil>
	// the trusted root names no certificate authority, log or timestamp authority
}
