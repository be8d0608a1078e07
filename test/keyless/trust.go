package keyless

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// backdated is how long before the start everything is valid: clocks are read at
// several places, in whole seconds at some.
const backdated = time.Minute

// TrustedRoot returns the text of a trusted_root.json that has all parts that
// run.
func (s *Stack) TrustedRoot() []byte { return slices.Clone(s.root) }

func (s *Stack) trustedRoot() ([]byte, error) {
	from := s.started.Add(-backdated).UTC().Truncate(time.Second)
	longAgo := from.Add(-caLife) // for what may have a clock that is behind
	log := func(url string, id []byte, key crypto.PublicKey, from time.Time) map[string]*root.TransparencyLog {
		return map[string]*root.TransparencyLog{hex.EncodeToString(id): {
			BaseURL: url, ID: id, ValidityPeriodStart: from, HashFunc: crypto.SHA256, PublicKey: key, SignatureHashFunc: crypto.SHA256,
		}}
	}
	authorities := []root.CertificateAuthority{&root.FulcioCertificateAuthority{
		Root: s.fulcio.root, ValidityPeriodStart: from, URI: "https://fulcio.example.com",
		Intermediates: []*x509.Certificate{s.fulcio.intermediate},
	}}
	var stamps []root.TimestampingAuthority
	if s.stamps != nil {
		last := len(s.stamps.chain) - 1
		stamps = append(stamps, &root.SigstoreTimestampingAuthority{
			Root: s.stamps.chain[last], Intermediates: s.stamps.chain[1:last], Leaf: s.stamps.chain[0],
			ValidityPeriodStart: from, URI: "https://timestamp.example.com",
		})
	}
	if s.off != nil {
		stamps = append(stamps, &root.SigstoreTimestampingAuthority{
			Root: s.off.chain[1], Leaf: s.off.chain[0], ValidityPeriodStart: longAgo, URI: "https://off.timestamp.example.com",
		})
	}
	var ctLogs map[string]*root.TransparencyLog
	if s.ct != nil {
		ctLogs = log("https://ctlog.example.com", s.ct.id[:], s.ct.key.Public(), from)
	}
	logs := map[string]*root.TransparencyLog{}
	if s.rekor != nil {
		maps.Copy(logs, log("https://"+rekor1Host, s.rekor.id[:], s.rekor.key.Public(), longAgo))
	}
	if s.tiles != nil {
		maps.Copy(logs, log("https://"+rekor2Host, s.tiles.id, s.tiles.key, from))
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, ctLogs, stamps, logs)
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	return trusted.MarshalJSON()
}

// SigningConfig returns the text of a signing config (cosign3 --signing-config)
// that names fulcio, the issuer and, of the parts given, at most one log and one
// timestamp authority: a signature gets an entry in that and a timestamp of this.
func (s *Stack) SigningConfig(parts ...Part) ([]byte, error) {
	service := func(url string, version uint32) []root.Service {
		return []root.Service{{URL: url, MajorAPIVersion: version, ValidityPeriodStart: s.started.Add(-backdated), Operator: "keyless"}}
	}
	var logs, stamps []root.Service
	for _, p := range parts {
		url := map[Part]string{RekorV1: s.Rekor1, RekorV2: s.Rekor2, Timestamp: s.Timestamping, OffTimestamp: s.OffTimestamping}[p]
		if url == "" {
			return nil, fmt.Errorf("signing config: %s doesn't run, or isn't signed with", p)
		}
		switch p {
		case RekorV1:
			logs = append(logs, service(url, 1)...)
		case RekorV2:
			logs = append(logs, service(url, 2)...)
		case Timestamp, OffTimestamp:
			stamps = append(stamps, service(url, 1)...)
		}
	}
	if len(logs) > 1 || len(stamps) > 1 {
		return nil, errors.New("signing config: a client takes one log and one timestamp authority: name one")
	}
	anyOf := func(services []root.Service) root.ServiceConfiguration {
		if len(services) == 0 {
			return root.ServiceConfiguration{}
		}
		return root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	}
	config, err := root.NewSigningConfig(root.SigningConfigMediaType02, service(s.Fulcio, 1), service(EmailIssuer, 1), logs, anyOf(logs), stamps, anyOf(stamps))
	if err != nil {
		return nil, fmt.Errorf("signing config: %w", err)
	}
	return config.MarshalJSON()
}
