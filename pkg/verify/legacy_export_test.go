package verify

import (
	"crypto/x509"
	"testing"

	"github.com/sigstore/cosign/v2/pkg/cosign"
)

// CertificatesOf reads the certificates of an annotation, for the tests outside of this package.
func CertificatesOf(text string) ([]*x509.Certificate, error) { return certificatesOf(text, MaxChain) }

func TestRow61_APanicWhileAnOldEntryIsVerifiedIsNoProof(t *testing.T) {
	t.Parallel()
	w, err := (&oldEntry{}).seen(t.Context(), Terms{}, cosign.CheckOpts{}, nil, &budget{}) // there is no trust to look into
	if err == nil || w != (Witness{}) {
		t.Fatalf("seen by %+v, %v; want an error", w, err)
	}
}
