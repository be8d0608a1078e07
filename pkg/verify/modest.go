package verify

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// A bundle is taken apart before anything in it is verified, by code that trusts it more than it deserves: Rekor's verifies a signature with
// whatever key a log entry holds (of RSA with 262,144 bits: 2 seconds), and that which reads timestamps goes as deep as they are nested
// (40 MiB of that end the process, which no recover prevents). So bundles are looked over first, and refused where they
// aren't modest.

// Bounds of what comes with a bundle's signature.
const (
	// MaxEntries and MaxStamps bound the log entries and signed timestamps of one bundle: no threshold is higher.
	MaxEntries = maxThreshold
	MaxStamps  = maxThreshold
	// MaxEntry bounds the body of a log entry, in bytes. It holds a certificate in base64 twice over, and a signature.
	MaxEntry = 64 << 10
	// maxNesting bounds how deep the ASN.1 of a certificate or timestamp is nested: a certificate within a timestamp has some 12 levels.
	maxNesting = 32
	// maxInteger bounds an integer or bit string in them, in bytes: a key or signature of RSA with 8192 bits and what is around it.
	maxInteger = maxRSABits/8 + 64
)

// modestBundle looks over what the reading of a bundle would look into.
func modestBundle(pb *protobundle.Bundle) error {
	material := pb.GetVerificationMaterial()
	chain := material.GetX509CertificateChain().GetCertificates()
	if c := material.GetCertificate(); c != nil {
		chain = []*protocommon.X509Certificate{c}
	}
	entries, stamps := material.GetTlogEntries(), material.GetTimestampVerificationData().GetRfc3161Timestamps()
	switch {
	case len(chain) > MaxChain:
		return fmt.Errorf("a chain of %d certificates, over the bound of %d", len(chain), MaxChain)
	case len(entries) > MaxEntries:
		return fmt.Errorf("%d log entries, over the bound of %d", len(entries), MaxEntries)
	case len(stamps) > MaxStamps:
		return fmt.Errorf("%d signed timestamps, over the bound of %d", len(stamps), MaxStamps)
	}
	size := 0
	for _, c := range chain {
		if size += len(c.GetRawBytes()); size > MaxChainPEM {
			return fmt.Errorf("certificates of more than %d bytes", MaxChainPEM)
		}
		if err := modest(c.GetRawBytes()); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	for _, e := range entries {
		if err := modestEntry(e); err != nil {
			return fmt.Errorf("log entry: %w", err)
		}
	}
	return nil
}

// modestStamps leaves out the signed timestamps that aren't modest, and says why. Whoever may push could take them away as well, so that a
// signature that needs none stays good, and one that does is refused for want of it.
func modestStamps(pb *protobundle.Bundle) (notes []string) {
	data := pb.GetVerificationMaterial().GetTimestampVerificationData()
	if data == nil {
		return nil
	}
	data.Rfc3161Timestamps = slices.DeleteFunc(data.Rfc3161Timestamps, func(s *protocommon.RFC3161SignedTimestamp) bool {
		err := modest(s.GetSignedTimestamp())
		if n := len(s.GetSignedTimestamp()); n > MaxStampAnnotation {
			err = fmt.Errorf("%d bytes, over the bound of %d", n, MaxStampAnnotation)
		}
		if err != nil {
			notes = append(notes, "a signed timestamp can't be read: "+err.Error())
		}
		return err != nil
	})
	return notes
}

// modest tells what is too deep or too large in the ASN.1 of a certificate, key or timestamp (BER, X.690: CMS isn't always DER).
func modest(ber []byte) error {
	rest, err := modestElement(ber, maxNesting)
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows its ASN.1")
	}
	return err
}

var errNoASN1 = errors.New("its ASN.1 can't be read")

// modestElement reads one element, and returns what follows it.
func modestElement(in []byte, levels int) (rest []byte, err error) {
	if levels == 0 {
		return nil, fmt.Errorf("its ASN.1 is nested more than %d deep", maxNesting)
	}
	if len(in) < 2 || in[0]&0x1f == 0x1f { // a tag of several bytes is in nothing that we read
		return nil, errNoASN1
	}
	tag, first := in[0], in[1]
	in = in[2:]
	if first == 0x80 { // until an end of contents
		for tag&0x20 != 0 {
			if len(in) >= 2 && in[0] == 0 && in[1] == 0 {
				return in[2:], nil
			}
			if in, err = modestElement(in, levels-1); err != nil {
				return nil, err
			}
		}
		return nil, errNoASN1
	}
	length := int(first)
	if first > 0x80 {
		n := int(first & 0x7f)
		if n > 4 || n > len(in) {
			return nil, errNoASN1
		}
		length = 0
		for _, b := range in[:n] {
			length = length<<8 | int(b)
		}
		in = in[n:]
	}
	if length < 0 || length > len(in) {
		return nil, errNoASN1
	}
	content, rest := in[:length], in[length:]
	if tag&0x20 == 0 {
		if (tag == asn1.TagInteger || tag == asn1.TagBitString) && length > maxInteger {
			return nil, fmt.Errorf("a number or key of %d bytes, over the bound of %d", length, maxInteger)
		}
		return rest, nil
	}
	for len(content) > 0 {
		if content, err = modestElement(content, levels-1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// The kinds of log entry that are read, and what each has. There is no log with others that sigstore-go knows.
const (
	specHashedRekord = "data signature"
	specDSSE         = "envelopeHash payloadHash signatures"
	specIntoto       = "content"
	specRekorV2      = "hashedRekordV002"
)

// treeID is how the first line of Rekor v1's checkpoints ends: Rekor v2's don't.
var treeID = regexp.MustCompile(` - [0-9]+$`)

// modestEntry looks over a log entry: that it is of a kind that is read, and no key in it is larger than any that signs. It refuses what
// sigstore-go would not bind to the signature: an entry of Rekor v2's with a checkpoint of Rekor v1's.
func modestEntry(e *protorekor.TransparencyLogEntry) error {
	body := e.GetCanonicalizedBody()
	if len(body) > MaxEntry {
		return fmt.Errorf("a body of %d bytes, over the bound of %d", len(body), MaxEntry)
	}
	top, err := strictObject(body)
	if err != nil {
		return err
	}
	kind, kindErr := stringField(top, "kind")
	version, versionErr := stringField(top, "apiVersion")
	spec, err := strictObject(top["spec"])
	if err = errors.Join(kindErr, versionErr, err); err != nil {
		return err
	}
	origin, _, _ := strings.Cut(e.GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n")
	v1 := treeID.MatchString(origin)
	switch parts := strings.Join(slices.Sorted(maps.Keys(spec)), " "); kind + " " + version + " " + parts {
	case string(kindHashedRekord) + " " + specHashedRekord, string(kindDSSE) + " " + specDSSE, string(kindIntoto) + " " + specIntoto:
	case "hashedrekord 0.0.2 " + specRekorV2:
		if v1 {
			return errors.New("an entry of Rekor v2's with a checkpoint of Rekor v1's")
		}
	default:
		return fmt.Errorf("kind %s %s with %s isn't read", clip(kind), clip(version), clip(parts))
	}
	return modestKeys(body)
}

// modestKeys looks over every text in a log entry that is PEM in base64, wherever it is: Rekor's own reading is of names in any case.
func modestKeys(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("broken JSON")
		}
		text, ok := tok.(string)
		if !ok {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if err := modest(block.Bytes); err != nil {
				return fmt.Errorf("%s: %w", clip(block.Type), err)
			}
		}
	}
}
