package verify

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"regexp"
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
	// MaxCheckpoint and MaxCheckpointLines bound the checkpoint of an entry of Rekor v1, in bytes and lines. It has some 250 bytes in six
	// lines. All that are signatures by the log are verified, even of one text many times.
	MaxCheckpoint      = 4 << 10
	MaxCheckpointLines = 16
	// MaxTileCheckpoint and MaxTileCheckpointLines bound that of Rekor v2, to which each witness of the log (C2SP tlog-witness) adds a line. Of
	// one key one signature is verified, and x/mod's note package takes no more than 100.
	MaxTileCheckpoint      = 32 << 10
	MaxTileCheckpointLines = 104
	// maxProof bounds the hashes of a proof of inclusion: a tree of 2^64 leaves is as high.
	maxProof = 64
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

// modest tells what is too deep or too large in the ASN.1 of a certificate, key or timestamp. A length must be given for each element: what
// is read by BER's rules (X.690, 8.1.3.6) is read in more than one way.
func modest(der []byte) error {
	rest, err := modestElement(der, maxNesting)
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows its ASN.1")
	}
	return err
}

var errNoASN1 = errors.New("its ASN.1 can't be read")

// modestElement looks over one element, and returns what follows it.
func modestElement(in []byte, levels int) (rest []byte, err error) {
	if levels == 0 {
		return nil, fmt.Errorf("its ASN.1 is nested more than %d deep", maxNesting)
	}
	tag, content, rest, err := element(in)
	if err != nil {
		return nil, err
	}
	if tag&0x20 == 0 {
		if n := len(content); (tag == asn1.TagInteger || tag == asn1.TagBitString) && n > maxInteger {
			return nil, fmt.Errorf("a number or key of %d bytes, over the bound of %d", n, maxInteger)
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

// element reads the tag and length of one element.
func element(in []byte) (tag byte, content, rest []byte, err error) {
	if len(in) < 2 || in[0]&0x1f == 0x1f { // a tag of several bytes is in nothing that we read
		return 0, nil, nil, errNoASN1
	}
	tag, first := in[0], in[1]
	in = in[2:]
	length := int(first)
	if first >= 0x80 {
		n := int(first & 0x7f)
		if n == 0 {
			return 0, nil, nil, errors.New("its ASN.1 has an element without a length")
		}
		if n > 4 || n > len(in) {
			return 0, nil, nil, errNoASN1
		}
		length = 0
		for _, b := range in[:n] {
			length = length<<8 | int(b)
		}
		in = in[n:]
	}
	if length < 0 || length > len(in) {
		return 0, nil, nil, errNoASN1
	}
	return tag, in[:length], in[length:], nil
}

// treeID is how the first line of Rekor v1's checkpoints ends: Rekor v2's don't.
var treeID = regexp.MustCompile(` - [0-9]+$`)

// modestEntry looks over a log entry: that it is of a kind that is read, and has what a log keeps of that kind, with no key in it larger than any
// that signs. It refuses what sigstore-go would not bind to the signature: an entry of Rekor v2's with a checkpoint of Rekor v1's.
func modestEntry(e *protorekor.TransparencyLogEntry) error {
	proof := e.GetInclusionProof()
	body, checkpoint := e.GetCanonicalizedBody(), proof.GetCheckpoint().GetEnvelope()
	origin, _, _ := strings.Cut(checkpoint, "\n")
	most, mostLines := MaxTileCheckpoint, MaxTileCheckpointLines
	if treeID.MatchString(origin) {
		most, mostLines = MaxCheckpoint, MaxCheckpointLines
	}
	switch lines := strings.Count(checkpoint, "\n"); {
	case len(body) > MaxEntry:
		return fmt.Errorf("a body of %d bytes, over the bound of %d", len(body), MaxEntry)
	case len(checkpoint) > most:
		return fmt.Errorf("a checkpoint of %d bytes, over the bound of %d", len(checkpoint), most)
	case lines > mostLines:
		return fmt.Errorf("a checkpoint of %d lines, over the bound of %d", lines, mostLines)
	case len(proof.GetHashes()) > maxProof:
		return fmt.Errorf("a proof of %d hashes, over the bound of %d", len(proof.GetHashes()), maxProof)
	}
	kind, err := modestBody(body)
	if err != nil {
		return err
	}
	switch kind {
	case kindHashedRekord, kindDSSE, kindIntoto:
	case kindRekorV2:
		if treeID.MatchString(origin) {
			return errors.New("an entry of Rekor v2's with a checkpoint of Rekor v1's")
		}
	default: // cosign reads those, beside the bundle
		return fmt.Errorf("kind %s isn't read", clip(string(kind)))
	}
	return nil
}
