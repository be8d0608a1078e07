package promote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/promote"
)

// A person approves an image: what a policy's approvals ask for.
func ExampleParseSigningKey() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	// Read from a file, most keys are encrypted, and their password is asked for.
	key, err := promote.ParseSigningKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil {
		panic(err)
	}
	approval, err := predicate.NewApproval("production", time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), "smoke tests looked at", "CHG-4711")
	if err != nil {
		panic(err)
	}
	image, err := name.NewDigest("registry.example.com/payments/api@sha256:" + strings.Repeat("0", 64))
	if err != nil {
		panic(err)
	}
	bundle, err := key.Sign(context.Background(), promote.Statement{
		Subjects: []name.Digest{image}, PredicateType: predicate.TypeApproval, Predicate: approval,
	}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(bundle.PredicateType)
	// Output:
	// https://pratique.dev/attestation/approval/v1
}

// A timestamp server is named by its URL; whether it is trusted is for policies to say.
func ExampleNewTimestampServer() {
	_, err := promote.NewTimestampServer("timestamp.example.com", nil)
	fmt.Println(err)
	// Output:
	// not the URL of a timestamp server: want https://HOST/PATH
}
