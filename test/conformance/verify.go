package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// verify asks the authority that the arguments describe about the bundle and the artifact.
func (a arguments) verify(ctx context.Context, now time.Time) error {
	text, err := read(a.bundle, maxBundle)
	if err != nil {
		return fmt.Errorf("--bundle: %w", err)
	}
	has, err := holds(text)
	if err != nil {
		return fmt.Errorf("--bundle: %w", err)
	}
	about, err := artifactOf(a.artifact)
	if err != nil {
		return err
	}
	authority, err := a.authority(has)
	if err != nil {
		return err
	}
	_, err = authority.Bundle(ctx, text, about, now)
	return err
}

// held counts what a bundle carries beside its signature.
type held struct{ entries, timestamps int }

// holds counts. It says nothing about whether any of it is good.
func holds(text []byte) (held, error) {
	var b protobundle.Bundle
	if err := protojson.Unmarshal(text, &b); err != nil {
		return held{}, errors.New("not a Sigstore bundle")
	}
	m := b.GetVerificationMaterial()
	return held{
		entries: len(m.GetTlogEntries()), timestamps: len(m.GetTimestampVerificationData().GetRfc3161Timestamps()),
	}, nil
}

// authority is whom to believe, and on which terms.
func (a arguments) authority(has held) (verify.Authority, error) {
	text := trust.PublicGood()
	if a.root != "" {
		var err error
		if text, err = read(a.root, verify.MaxTrustedRoot); err != nil {
			return verify.Authority{}, fmt.Errorf("--trusted-root: %w", err)
		}
	}
	r, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return verify.Authority{}, fmt.Errorf("--trusted-root: %w", err)
	}
	thresholds := verify.DefaultThresholds()
	if len(r.CTLogs()) == 0 {
		thresholds.SCTs = 0
	}
	t, err := verify.NewTrust([][]byte{text}, thresholds)
	if err != nil {
		return verify.Authority{}, fmt.Errorf("--trusted-root: %w", err)
	}
	if a.key != "" {
		return a.keyHolder(t, keyTerms(r, has))
	}
	id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: a.issuer, Subject: a.identity})
	if err != nil {
		return verify.Authority{}, err
	}
	return verify.NewKeylessAuthority("certificate", t, []verify.Identity{id}, keylessTerms(r, has))
}

func (a arguments) keyHolder(t *verify.Trust, terms verify.Terms) (verify.Authority, error) {
	text, err := read(a.key, verify.MaxPolicyPEM)
	if err != nil {
		return verify.Authority{}, fmt.Errorf("--key: %w", err)
	}
	keys, err := verify.ParseKeys(text)
	if err != nil {
		return verify.Authority{}, fmt.Errorf("--key: %w", err)
	}
	if len(keys) != 1 {
		return verify.Authority{}, fmt.Errorf("--key: %d keys, want one", len(keys))
	}
	terms.Trust = t
	return verify.NewKeyAuthority("key", keys, terms)
}

// keyTerms demand of a key's bundle that what it carries is good: an entry in a log, and a timestamp wherever the trusted root could
// judge one. What it doesn't carry isn't demanded, for a key needs no time.
func keyTerms(r *root.TrustedRoot, has held) verify.Terms {
	terms := verify.Terms{Log: verify.Optional, Timestamp: verify.Optional}
	if has.entries > 0 {
		terms.Log = verify.Required
	}
	if has.timestamps > 0 && len(r.TimestampingAuthorities()) > 0 {
		terms.Timestamp = verify.Required
	}
	return terms
}

// keylessTerms demand what the trusted root's instance gives: an entry in its log if it has one, else a timestamp. A timestamp that is there
// must be good in either case, as far as the trusted root could judge it.
func keylessTerms(r *root.TrustedRoot, has held) verify.Terms {
	terms := verify.Terms{Log: verify.Required, Timestamp: verify.Optional}
	switch stampers := len(r.TimestampingAuthorities()); {
	case len(r.RekorLogs()) == 0:
		terms = verify.Terms{Log: verify.Optional, Timestamp: verify.Required}
	case stampers > 0 && has.timestamps > 0:
		terms.Timestamp = verify.Required
	}
	return terms
}
