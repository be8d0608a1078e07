package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// modestStamps leaves out the signed timestamps that aren't modest, and says why. Whoever may push could take them away as well, so that a
// signature that needs none stays good, and one that does is refused for want of it.
func modestStamps(pb *protobundle.Bundle) (notes []string) {
	data := pb.GetVerificationMaterial().GetTimestampVerificationData()
	if data == nil {
		return nil
	}
	data.Rfc3161Timestamps = slices.DeleteFunc(data.Rfc3161Timestamps, func(s *protocommon.RFC3161SignedTimestamp) bool {
		err := modestStamp(s.GetSignedTimestamp())
		if err != nil {
			notes = append(notes, "a signed timestamp can't be read: "+err.Error())
		}
		return err != nil
	})
	return notes
}

// The tags of what a timestamp is made of (RFC 3161 2.4.2, RFC 5652 5.1).
const (
	tagSequence = 0x30
	tagSet      = 0x31
	tagExplicit = 0xa0 // what is in a ContentInfo, and the certificates beside it
	tagCRLs     = 0xa1
)

// signedDataOID is id-signedData (RFC 5652, 5.1) as it is written: 1.2.840.113549.1.7.2.
const signedDataOID = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"

// modestStamp looks over a signed timestamp, before what reads it does: that verifies the signatures of all signers, twice for each
// authority that is trusted, with certificates that come along. A timestamp is signed by its authority alone (RFC 3161, 2.4.2).
func modestStamp(stamp []byte) error {
	if n := len(stamp); n > MaxStampAnnotation {
		return fmt.Errorf("%d bytes, over the bound of %d", n, MaxStampAnnotation)
	}
	if err := modest(stamp); err != nil {
		return err
	}
	token, err := tokenOf(stamp)
	switch {
	case err != nil:
		return err
	case len(token.certificates) > MaxChain:
		return fmt.Errorf("%d certificates, over the bound of %d", len(token.certificates), MaxChain)
	case len(token.signers) != 1:
		return fmt.Errorf("%d signers: want one", len(token.signers))
	}
	return nil
}

// stampToken is what a timestamp says of who signed it.
type stampToken struct {
	certificates [][]byte // that came along, if any
	signers      [][]byte // SignerInfo (RFC 5652, 5.3)
}

// tokenOf takes a signed timestamp apart, whose ASN.1 is modest.
func tokenOf(stamp []byte) (stampToken, error) {
	errOther := errors.New("it is no response with a token of signed data")
	response := parts(stamp) // of status and token
	if tagsOf(response) != string([]byte{tagSequence, tagSequence}) {
		return stampToken{}, errOther
	}
	token := parts(response[1])
	if tagsOf(token) != string([]byte{asn1.TagOID, tagExplicit}) || string(token[0]) != signedDataOID {
		return stampToken{}, errOther
	}
	in := parts(token[1])
	if tagsOf(in) != string([]byte{tagSequence}) {
		return stampToken{}, errOther
	}
	data := parts(in[0])
	tags := []byte(tagsOf(data))
	want := []byte{asn1.TagInteger, tagSet, tagSequence}
	for _, optional := range []byte{tagExplicit, tagCRLs} {
		if slices.Contains(tags, optional) {
			want = append(want, optional)
		}
	}
	if !bytes.Equal(tags, append(want, tagSet)) {
		return stampToken{}, errOther
	}
	out := stampToken{signers: parts(data[len(data)-1])}
	if tags[3] == tagExplicit {
		out.certificates = parts(data[3])
	}
	return out, nil
}

// mayBeBy tells whether a timestamp may be by an authority: it names the authority's certificate as its signer's, and has no other that could
// be taken for it. One that doesn't is never verified, for that would be with whatever key came along.
func (s stampToken) mayBeBy(authority root.TimestampingAuthority) bool {
	tsa, ok := authority.(*root.SigstoreTimestampingAuthority)
	if !ok || tsa.Leaf == nil {
		return true // by any certificate that leads to its root
	}
	if len(s.signers) != 1 {
		return false
	}
	signer := parts(s.signers[0])
	if len(signer) < 2 {
		return false
	}
	if id := parts(signer[1]); len(id) != 2 || !named(tsa.Leaf, id[0], id[1]) {
		return false
	}
	return !slices.ContainsFunc(s.certificates, func(c []byte) bool {
		if bytes.Equal(c, tsa.Leaf.Raw) {
			return false
		}
		certificate := parts(c)
		if len(certificate) == 0 {
			return true
		}
		in := parts(certificate[0]) // RFC 5280, 4.1: version, serial number, algorithm, issuer
		if len(in) > 0 && in[0][0] == tagExplicit {
			in = in[1:]
		}
		return len(in) < 3 || named(tsa.Leaf, in[2], in[0])
	})
}

// named tells whether a certificate is the one of an issuer and a serial number, in DER.
func named(c *x509.Certificate, issuer, serial []byte) bool {
	_, number, _, err := element(serial)
	return err == nil && bytes.Equal(issuer, c.RawIssuer) && new(big.Int).SetBytes(number).Cmp(c.SerialNumber) == 0
}

// byWhomTheyName is trusted material whose timestamp authorities look at no timestamps but those that may be theirs.
type byWhomTheyName struct{ root.TrustedMaterial }

// TimestampingAuthorities implements root.TrustedMaterial.
func (b byWhomTheyName) TimestampingAuthorities() []root.TimestampingAuthority {
	inner := b.TrustedMaterial.TimestampingAuthorities()
	out := make([]root.TimestampingAuthority, 0, len(inner))
	for _, tsa := range inner {
		out = append(out, whomItNames{tsa})
	}
	return out
}

type whomItNames struct{ root.TimestampingAuthority }

// Verify implements root.TimestampingAuthority.
func (w whomItNames) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	token, err := tokenOf(stamp)
	if err != nil {
		return nil, err
	}
	if !token.mayBeBy(w.TimestampingAuthority) {
		return nil, errors.New("it is signed by another")
	}
	return w.TimestampingAuthority.Verify(stamp, signature)
}

// stampChecks is how many pairs there are of a timestamp that came with a signature and an authority that is trusted and may have made it.
func (o *opened) stampChecks(t Terms) (n int) {
	if t.Trust == nil || o.stamps == 0 {
		return 0
	}
	authorities := t.Trust.material.TimestampingAuthorities()
	for _, s := range o.bundle.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		token, err := tokenOf(s.GetSignedTimestamp())
		if err != nil {
			continue
		}
		for _, a := range authorities {
			if token.mayBeBy(a) {
				n++
			}
		}
	}
	if o.stamped != nil { // each is tried on two messages
		n *= 2
	}
	return n
}

// parts are the elements within an element that is modest.
func parts(of []byte) (out [][]byte) {
	_, content, _, err := element(of)
	for len(content) > 0 && err == nil {
		var rest []byte
		if _, _, rest, err = element(content); err == nil {
			out, content = append(out, content[:len(content)-len(rest)]), rest
		}
	}
	return out
}

// tagsOf are the tags of some elements.
func tagsOf(all [][]byte) string {
	tags := make([]byte, 0, len(all))
	for _, e := range all {
		tags = append(tags, e[0])
	}
	return string(tags)
}
