package promote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// BundleType is the media type of what is written: a Sigstore bundle v0.3.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Bounds of a statement.
const (
	// MaxSubjects bounds its images: an index of the most children that are read, and itself.
	MaxSubjects = 65
	// MaxPredicateType bounds the bytes of a predicate type: the longest in use has some eighty.
	MaxPredicateType = 1 << 10
)

// What in-toto and DSSE call themselves.
const (
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// Statement is what is to be said about images. The zero Statement says nothing, and is refused.
type Statement struct {
	// Subjects are the images, by digest. Several are the children of an index, and the index.
	Subjects []name.Digest
	// PredicateType is a URI; verify.CosignSign makes the statement a signature.
	PredicateType string
	// Predicate is what is said, in JSON. Of a signature it is an empty object.
	Predicate []byte
}

// Check tells what of a predicate a webhook could not read. One of a type that no reader knows must be fit for rules in CEL.
func Check(predicateType string, text []byte) error {
	if len(predicateType) > MaxPredicateType {
		return fmt.Errorf("a predicate type of %d bytes: at most %d", len(predicateType), MaxPredicateType)
	}
	if u, err := url.Parse(predicateType); err != nil || !u.IsAbs() || strings.ContainsFunc(predicateType, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("predicate type %q: want a URI, such as %s", predicateType, predicate.TypeSPDX)
	}
	if predicateType == verify.CosignSign {
		if !bytes.Equal(bytes.TrimSpace(text), []byte("{}")) {
			return errors.New("a signature says nothing but that: its predicate is {}")
		}
		return nil
	}
	var err error
	if read(predicateType) {
		_, err = predicate.Read(predicateType, text)
	} else {
		_, err = predicate.ReadWhole(text)
	}
	if err != nil {
		return fmt.Errorf("it can't be read as %s: %w", predicateType, err)
	}
	return nil
}

// read tells whether a predicate type has a reader.
func read(predicateType string) bool {
	for k := predicate.KindSBOM; k.Types() != nil; k++ {
		for _, t := range k.Types() {
			if begin, open := strings.CutSuffix(t, "*"); predicateType == t || open && strings.HasPrefix(predicateType, begin) {
				return true
			}
		}
	}
	return false
}

// subject is a subject as in-toto writes it.
type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// text is the Statement in JSON (in-toto attestation framework, v1).
func (s Statement) text() ([]byte, error) {
	if len(s.Subjects) == 0 || len(s.Subjects) > MaxSubjects {
		return nil, fmt.Errorf("a statement about %d images: want 1 to %d", len(s.Subjects), MaxSubjects)
	}
	if err := Check(s.PredicateType, s.Predicate); err != nil {
		return nil, err
	}
	subjects := make([]subject, 0, len(s.Subjects))
	for _, image := range s.Subjects {
		algorithm, hex, _ := strings.Cut(image.DigestStr(), ":")
		if algorithm != "sha256" || hex == "" {
			return nil, fmt.Errorf("%s: want a sha256 digest", image)
		}
		subjects = append(subjects, subject{image.Context().Name(), map[string]string{algorithm: hex}})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Type          string          `json:"_type"`
		Subject       []subject       `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}{statementType, subjects, s.PredicateType, s.Predicate})
	if err != nil {
		return nil, fmt.Errorf("the statement can't be written: %w", err)
	}
	if out.Len() > verify.MaxPayload {
		return nil, fmt.Errorf("a statement of %d bytes: over the bound of %d that one may have", out.Len(), verify.MaxPayload)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Bundle is a signed statement. The zero Bundle is none.
type Bundle struct {
	// JSON is the bundle, of media type BundleType.
	JSON []byte
	// PredicateType is what it says something about.
	PredicateType string
	// Stamped is when a timestamp server saw it; zero if none did.
	Stamped time.Time
}

// Sign signs a statement, and has the timestamp server see the signature if there is one; nil for none.
func (k SigningKey) Sign(ctx context.Context, s Statement, stamps *TimestampServer) (Bundle, error) {
	if k.signer == nil {
		return Bundle{}, errors.New("no key to sign with")
	}
	text, err := s.text()
	if err != nil {
		return Bundle{}, err
	}
	options := sign.BundleOptions{Context: ctx}
	if stamps != nil {
		options.TimestampAuthorities = []*sign.TimestampAuthority{stamps.authority(ctx)}
	}
	b, err := sign.Bundle(&sign.DSSEData{Data: text, PayloadType: payloadType}, keypair{k}, options)
	if err != nil {
		return Bundle{}, fmt.Errorf("could not sign: %w", asked(stamps, err))
	}
	out := Bundle{PredicateType: s.PredicateType}
	if stamps != nil {
		if out.Stamped, err = stamped(b); err != nil {
			return Bundle{}, fmt.Errorf("could not sign: %w", asked(stamps, err))
		}
	}
	if out.JSON, err = protojson.Marshal(b); err != nil {
		return Bundle{}, fmt.Errorf("the bundle can't be written: %w", err)
	}
	return out, nil
}

// Store keeps papers.
type Store interface {
	// Attach keeps a bundle where papers of the image are looked for, and returns the manifest that holds it.
	Attach(ctx context.Context, image name.Digest, b Bundle) (name.Digest, error)
}

// Attestor says things about images in the name of whoever has the key. Key and Store are needed.
type Attestor struct {
	Key   SigningKey
	Store Store
	// Stamps sees what is signed, so that others than the signer tell when that was; nil for none.
	Stamps *TimestampServer
}

// Paper is a statement that was signed and kept.
type Paper struct {
	Bundle
	// At is the manifest that holds it.
	At name.Digest
}

// Attest signs a statement and keeps it with an image, which is one of its subjects. Nothing is kept of what could not be signed.
func (a Attestor) Attest(ctx context.Context, image name.Digest, s Statement) (Paper, error) {
	if !slices.ContainsFunc(s.Subjects, func(d name.Digest) bool { return d.DigestStr() == image.DigestStr() }) {
		return Paper{}, fmt.Errorf("the statement isn't about %s, with which it would be kept", image)
	}
	b, err := a.Key.Sign(ctx, s, a.Stamps)
	if err != nil {
		return Paper{}, err
	}
	at, err := a.Store.Attach(ctx, image, b)
	if err != nil {
		return Paper{}, fmt.Errorf("it is signed, but could not be kept: %w", err)
	}
	return Paper{b, at}, nil
}
