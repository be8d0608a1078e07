package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/demo/documents"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// What examples/production.yaml wants of the build.
const (
	program   = "acme/app"
	workflow  = "release.yaml"
	branch    = "refs/heads/main"
	builderID = "https://github.com/" + program + "/.github/workflows/" + workflow + "@" + branch
)

const day = 24 * time.Hour

// desk writes and signs papers: with three keys by the code of pratique attest, and keyless by an instance of Sigstore in memory.
type desk struct {
	client                 *registry.Client
	sigstore               *verifytest.Sigstore
	release, scanner, lead promote.SigningKey
	now                    time.Time
}

func newDesk(reg *evilregistry.Registry) (*desk, error) {
	d := &desk{sigstore: verifytest.NewSigstore(maker{}), now: time.Now()}
	var err error
	if d.client, err = registry.New(registry.Options{PlainHTTP: []string{reg.Host()}}); err != nil {
		return nil, err
	}
	for _, key := range []*promote.SigningKey{&d.release, &d.scanner, &d.lead} {
		if *key, err = newKey(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// newKey makes a key.
func newKey() (promote.SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return promote.SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return promote.SigningKey{}, err
	}
	return promote.ParseSigningKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
}

// paper is what is said of an image, and by whom.
type paper struct {
	kind string
	text []byte
	by   *promote.SigningKey // nil: the workflow, keyless
}

// papers are all that the policy asks for.
func (d *desk) papers(image name.Digest) []paper {
	packages := []documents.Package{{Name: "musl", Version: "1.2.5-r10", License: "MIT"}, {Name: "libcrypto3", Version: "3.5.4-r0", License: "Apache-2.0"}}
	return []paper{
		{verify.CosignSign, []byte("{}"), &d.release},
		{documents.TypeSPDX, documents.SPDX(image.Context().Name(), d.now, packages...), &d.scanner},
		{documents.TypeScan, documents.Scan(image.Context().Name(), d.now), &d.scanner},
		{documents.TypeProvenance, documents.Provenance(program, workflow, branch), nil},
		{documents.TypeTestResult, documents.TestResult(true, "smoke"), nil},
		{predicate.TypeApproval, d.approval("production"), &d.lead},
	}
}

// copyleft is an SBOM with a package that the policy denies.
func (d *desk) copyleft() []byte {
	return documents.SPDX("gpl", d.now,
		documents.Package{Name: "musl", Version: "1.2.5-r10", License: "MIT"},
		documents.Package{Name: "busybox", Version: "1.37.0-r18", License: "GPL-2.0-only"})
}

// critical is a scan with findings of every kind, and stale a clean one that is too old.
func (d *desk) critical() []byte {
	return documents.Scan("critical", d.now,
		documents.Finding{ID: "CVE-2026-1111", Severity: "CRITICAL", Package: "openssl", Version: "3.0.1", Fixed: "3.0.2"},
		documents.Finding{ID: "CVE-2026-2222", Severity: "CRITICAL", Package: "zlib", Version: "1.2"},
		documents.Finding{ID: "CVE-2026-3333", Severity: "LOW", Package: "busybox", Version: "1.36.1"})
}

func (d *desk) stale() []byte { return documents.Scan("stale", d.now.Add(-8*day)) }

func high() documents.Finding {
	return documents.Finding{ID: "CVE-2023-12345", Severity: "HIGH", Package: "libexpat", Version: "2.5.0-r0", Fixed: "2.6.0-r0"}
}

// high is a scan with one high finding.
func (d *desk) high() []byte { return documents.Scan("excused", d.now, high()) }

// staged is an approval for another environment.
func (d *desk) staged() []byte { return d.approval("staging") }

func (d *desk) approval(environment string) []byte {
	text, err := predicate.NewApproval(environment, d.now.Add(-2*time.Hour), "smoke tests looked at", "CHG-4711")
	if err != nil {
		panic(err)
	}
	return text
}

// sign signs a paper and keeps it with the image.
func (d *desk) sign(ctx context.Context, image name.Digest, p paper) error {
	if p.by == nil {
		return d.keyless(image, p)
	}
	a := promote.Attestor{Key: *p.by, Store: store{d.client}}
	_, err := a.Attest(ctx, image, promote.Statement{Subjects: []name.Digest{image}, PredicateType: p.kind, Predicate: p.text})
	return err
}

// keyless signs as the workflow that built the image.
func (d *desk) keyless(image name.Digest, p paper) error {
	hash, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return err
	}
	bundle, err := json.Marshal(d.sigstore.Envelope(maker{}, workflowKey(), verifytest.StatementOf(p.kind, p.text, hash)))
	if err != nil {
		return err
	}
	papers.PushBundle(maker{}, image, p.kind, bundle)
	return nil
}

// store keeps papers in the image's repository.
type store struct{ client *registry.Client }

// Attach implements promote.Store.
func (s store) Attach(ctx context.Context, image name.Digest, b promote.Bundle) (name.Digest, error) {
	w, err := s.client.Writer(registry.Credentials{}, image.Context())
	if err != nil {
		return name.Digest{}, err
	}
	digest, err := w.Attach(ctx, image, registry.Bundle(b.JSON, b.PredicateType, time.Now()))
	if err != nil {
		return name.Digest{}, fmt.Errorf("%s: %w", image, err)
	}
	return image.Context().Digest(digest.String()), nil
}
