package verifytest

import (
	"bytes"
	"fmt"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// StatementOf returns an in-toto Statement with a predicate (JSON) about some digests.
func StatementOf(predicateType string, predicate []byte, subjects ...v1.Hash) []byte {
	var b bytes.Buffer
	b.WriteString(`{"_type":"https://in-toto.io/Statement/v1","subject":[`)
	for i, h := range subjects {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"image","digest":{"sha256":%q}}`, h.Hex)
	}
	fmt.Fprintf(&b, `],"predicateType":%q,"predicate":`, predicateType)
	b.Write(predicate)
	b.WriteByte('}')
	return b.Bytes()
}

// Attest returns a bundle, signed by a bare key, that states a predicate (JSON) about some digests.
func Attest(s Signer, predicateType string, predicate []byte, subjects ...v1.Hash) verify.Candidate {
	return BundleOf(s, StatementOf(predicateType, predicate, subjects...), "0.3")
}

// Attest returns a bundle that states a predicate (JSON) about some digests.
func (s *Sigstore) Attest(tb testing.TB, by Signing, predicateType string, predicate []byte, subjects ...v1.Hash) verify.Candidate {
	tb.Helper()
	return packed(verify.Referrer, verify.PlaceReferrers, s.Envelope(tb, by, StatementOf(predicateType, predicate, subjects...)))
}
