package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// Signer is who signs in a cell, and who else says so.
type Signer string

// The signers. Rekor v2 tells no time, so that a timestamp always goes with it.
const (
	Key              Signer = "key"               // a key, seen by nobody
	KeyRekor1        Signer = "key-rekor1"        // a key, with an entry in Rekor v1
	KeyRekor2        Signer = "key-rekor2"        // a key, with an entry in Rekor v2 and a timestamp
	KeyTimestamp     Signer = "key-timestamp"     // a key, with a timestamp
	KeylessRekor1    Signer = "keyless-rekor1"    // a person whom Fulcio confirmed, with an entry in Rekor v1
	KeylessIntoto    Signer = "keyless-intoto"    // the same, with an entry of the old kind intoto 0.0.1
	KeylessRekor2    Signer = "keyless-rekor2"    // the same person, with an entry in Rekor v2 and a timestamp
	KeylessTimestamp Signer = "keyless-timestamp" // the same, with a timestamp and in no log
	PKI              Signer = "pki"               // a certificate of an own PKI for an email address, seen by nobody
	PKIRekor1        Signer = "pki-rekor1"        // the same, with an entry in Rekor v1
	PKITimestamp     Signer = "pki-timestamp"     // the same, with a timestamp
	PKIDNS           Signer = "pki-dns"           // a certificate that has a DNS name and no other
	PKISubject       Signer = "pki-subject"       // a certificate without any alternative name
)

// The identities that a verifier of the cells asks for. Keys are of [CellKey].
const (
	Developer      = "dev@example.com"                          // keyless, by Issuer
	Issuer         = "https://accounts.example.com"             // the issuer of Developer's tokens
	ReleaseEmail   = "release@acme.example"                     // of the PKI's certificate with an email address
	BuildHost      = "build.acme.example"                       // of the one with a DNS name
	ReleaseSubject = "CN=release,O=Acme"                        // of the one without, as RFC 4514 writes it
	OtherPerson    = "other@example.com"                        // who signs in the state OtherIdentity, keyless
	OtherTokens    = "https://login.example.net/oauth2/default" // the issuer, where that is another
	OtherEmail     = "intern@acme.example"                      // who signs in OtherIdentity, with a certificate
)

// SPDX is the predicate type of the cells' attestations.
const SPDX = "https://spdx.dev/Document"

// cellsFolder is where the second set is.
const cellsFolder = "testdata/signers"

// The states of samples, beside Signed and OtherDigest. The signer that is sought did sign in all but OtherIdentity and OtherIssuer.
const (
	// OtherIdentity: another key, another person by the same issuer, another
	// certificate of the same PKI.
	OtherIdentity State = "otheridentity"
	// OtherIssuer: the same name by somebody else: another issuer of tokens, or a
	// PKI of the same names.
	OtherIssuer State = "otherissuer"
	// Expired: the certificate wasn't valid any more when it was used.
	Expired State = "expired"
	// ExpiredIssuer: the certificate was valid and the one above it was not
	// (CVE-2026-24122).
	ExpiredIssuer State = "expiredissuer"
	// Forged: what was signed is changed to be about this image.
	Forged State = "forged"
	// Tampered: one byte of the signature is changed.
	Tampered State = "tampered"
	// TamperedProof: one byte of what the log or the timestamp authority says is
	// changed.
	TamperedProof State = "tamperedproof"
	// Swapped: the log entry, or where there is none the timestamp, is that of
	// another signature by the same signer.
	Swapped State = "swapped"
	// SwappedTimestamp: the same of the timestamp, where there is a log entry too.
	SwappedTimestamp State = "swappedtimestamp"
)

// Cell is one repository of the second set: a signer, a client, and where it
// leaves its papers, with an image for each state.
type Cell struct {
	// Name is the cell's folder in testdata/signers/layouts, and unique.
	Name     string   `json:"name"`
	Signer   Signer   `json:"signer"`
	Tool     Tool     `json:"tool"`
	Layout   Layout   `json:"layout"`
	Registry Registry `json:"registry"`
	// Attests says that the papers are attestations of an SPDX document.
	Attests bool `json:"attests,omitempty"`
	// Repository is "signers/" and Name.
	Repository string `json:"repository"`
	// Refused is what the tool says where it can't make this; then there are
	// neither samples nor a folder.
	Refused string   `json:"refused,omitempty"`
	Samples []Sample `json:"samples,omitempty"`

	root fs.FS
}

// Sample is one image of a cell, with its papers.
type Sample struct {
	// State is also the image's tag.
	State State `json:"state"`
	// Digest is the image's, "sha256:" and hex.
	Digest string `json:"digest"`
	// OtherDigest is the image that was signed, where that is another.
	OtherDigest string `json:"otherDigest,omitempty"`
	// Commands made the papers. $IMAGE is this image, by its digest, and $OTHER
	// the cell's image tagged "other"; $REKOR and the like stand for addresses,
	// $(token PERSON ISSUER) for a token. Lines that start with "then" no tool
	// does: cmd/make did, as anyone who may push could.
	Commands []string `json:"commands"`
}

// Place is where the papers are, for people.
func (c Cell) Place() string {
	if c.Layout == Legacy {
		return string(Legacy)
	}
	return string(c.Registry)
}

// Sample returns the sample of a state.
func (c Cell) Sample(s State) (Sample, bool) {
	for _, x := range c.Samples {
		if x.State == s {
			return x, true
		}
	}
	return Sample{}, false
}

// Cells returns the second set, in the order of SIGNERS.md.
func Cells() []Cell {
	root, err := fs.Sub(files, cellsFolder)
	if err != nil {
		panic(err) // only for a path that is not one
	}
	body, err := fs.ReadFile(root, "cells.json")
	if err != nil {
		panic(err) // compiled in
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var list []Cell
	if err := decoder.Decode(&list); err != nil {
		panic(err) // compiled in, and read by this package's own tests
	}
	for i := range list {
		list[i].root = root
	}
	return list
}

// CellFile returns a file of the second set: trusted_root.json is that of the
// Sigstore that made it, key.pub and other.pub are keys (PKIX, PEM), root.pem
// and intermediate.pem the PKI's certificates.
func CellFile(tb testing.TB, name string) []byte {
	tb.Helper()
	body, err := fs.ReadFile(files, path.Join(cellsFolder, name))
	if err != nil {
		tb.Fatalf("interop cells: %v", err)
	}
	return body
}

// ServeCell starts a registry of the cell's kind on loopback, over plain http,
// that holds the cell, and returns its host and port.
func ServeCell(tb testing.TB, c Cell) string {
	tb.Helper()
	contents, err := read(c.root, c.Name)
	if err != nil {
		tb.Fatal(err)
	}
	handler := NewRegistry(c.Registry)
	if err := push(tb.Context(), &http.Client{Transport: inProcess{handler}}, "http://registry.invalid", c.Repository, contents); err != nil {
		tb.Fatalf("cell %s: %v", c.Name, err)
	}
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// read reads a layout of a set.
func read(root fs.FS, name string) (layout.Contents, error) {
	dir, err := fs.Sub(root, path.Join("layouts", name))
	if err != nil {
		return layout.Contents{}, err
	}
	c, err := layout.Read(dir)
	if err != nil {
		return layout.Contents{}, fmt.Errorf("fixture %s: %w", name, err)
	}
	return c, nil
}

func push(ctx context.Context, client *http.Client, base, repository string, c layout.Contents) error {
	r := layout.Repository{Client: client, Base: base, Name: repository}
	return r.Push(ctx, c)
}
