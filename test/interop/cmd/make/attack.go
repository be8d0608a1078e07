package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// The annotations of a legacy layer.
const (
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	logAnnotation       = "dev.sigstore.cosign/bundle"
	stampAnnotation     = "dev.sigstore.cosign/rfc3161timestamp"
)

// attack makes of true papers what a state promises, beside the state's image. It returns what it did.
func attack(c interop.Cell, in layout.Contents, state interop.State, image, other string) (string, error) {
	own, errOwn := take(c, in, image)
	theirs, err := take(c, in, other)
	if err != nil {
		return "", err
	}
	var p paper
	var did string
	switch state {
	case interop.OtherDigest:
		p, did = theirs, "then lay the paper of $OTHER, as it is, beside $IMAGE"
	case interop.Forged:
		did = "then lay the paper of $OTHER beside $IMAGE, with this digest in place of that in what is signed"
		p, err = forge(c, theirs, other, image)
	case interop.Tampered:
		did = "then change the last byte of the signature"
		p, err = onSignature(c, own, flip)
	case interop.TamperedProof:
		p, did, err = tamperProof(c, own)
	case interop.Swapped:
		p, did, err = swap(c, own, theirs)
	case interop.SwappedTimestamp:
		did = "then put the timestamp of $OTHER's signature in place of this one's"
		p, err = swapStamp(c, own, theirs)
	default:
		return "", errors.New("no attack of that name")
	}
	if err != nil {
		return "", err
	}
	if state != interop.OtherDigest && state != interop.Forged && errOwn != nil {
		return "", errOwn
	}
	return did, lay(c, in, image, p)
}

// flip changes the last byte.
func flip(b []byte) []byte {
	out := bytes.Clone(b)
	out[len(out)-1] ^= 1
	return out
}

// enveloped are the names that lead to the envelope in the payload of a cell's papers.
func enveloped(c interop.Cell) []any {
	if c.Layout == interop.Bundle {
		return []any{"dsseEnvelope"}
	}
	return nil
}

// simple tells whether the signed payload is the paper's own, and the signature an annotation.
func simple(c interop.Cell) bool { return c.Layout == interop.Legacy && !c.Attests }

// forge names another image in what is signed.
func forge(c interop.Cell, p paper, from, to string) (paper, error) {
	_, was, _ := strings.Cut(from, ":")
	_, is, _ := strings.Cut(to, ":")
	missing := false
	rename := func(b []byte) []byte {
		missing = !bytes.Contains(b, []byte(was))
		return bytes.ReplaceAll(b, []byte(was), []byte(is))
	}
	var err error
	if simple(c) {
		p.payload = rename(p.payload)
	} else {
		p.payload, err = bytesAt(p.payload, rename, append(enveloped(c), "payload")...)
	}
	if missing {
		return p, fmt.Errorf("what is signed doesn't name %s", from)
	}
	return p, err
}

// onSignature changes the signature.
func onSignature(c interop.Cell, p paper, change func([]byte) []byte) (paper, error) {
	var err error
	if !simple(c) {
		p.payload, err = bytesAt(p.payload, change, append(enveloped(c), "signatures", 0, "sig")...)
		return p, err
	}
	sig, err := base64.StdEncoding.DecodeString(p.annotations[signatureAnnotation])
	if err != nil {
		return p, err
	}
	p.annotations[signatureAnnotation] = base64.StdEncoding.EncodeToString(change(sig))
	return p, nil
}

// Where bundles have what others say about them.
var (
	logs   = []any{"verificationMaterial", "tlogEntries"}
	stamps = []any{"verificationMaterial", "timestampVerificationData"}
)

// tamperProof changes one byte of what the log says, or where there is none the timestamp authority.
func tamperProof(c interop.Cell, p paper) (paper, string, error) {
	k := kindOf(c.Signer)
	logged := k.rekor1 || k.rekor2
	did := "then change the last byte of the timestamp"
	path := append(stamps[:2:2], "rfc3161Timestamps", 0, "signedTimestamp")
	annotation, field := stampAnnotation, "SignedRFC3161Timestamp"
	switch {
	case k.rekor1:
		did = "then change the last byte of the signed entry timestamp"
		path = append(logs[:2:2], 0, "inclusionPromise", "signedEntryTimestamp")
	case k.rekor2:
		var err error
		p.payload, err = at(p.payload, otherTree, append(logs[:2:2], 0, "inclusionProof", "checkpoint", "envelope")...)
		return p, "then change one byte of the tree's hash in the checkpoint", err
	}
	var err error
	if c.Layout == interop.Bundle {
		p.payload, err = bytesAt(p.payload, flip, path...)
		return p, did, err
	}
	if logged {
		annotation, field = logAnnotation, "SignedEntryTimestamp"
	}
	text, err := bytesAt([]byte(p.annotations[annotation]), flip, field)
	p.annotations[annotation] = string(text)
	return p, did, err
}

// otherTree changes the first byte of the third line of a checkpoint, which has the tree's hash in base64 (C2SP tlog-checkpoint).
func otherTree(envelope json.RawMessage) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(envelope, &text); err != nil {
		return nil, err
	}
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[2] == "" {
		return nil, errors.New("a checkpoint of fewer than three lines")
	}
	first := "A"
	if strings.HasPrefix(lines[2], first) {
		first = "B"
	}
	lines[2] = first + lines[2][1:]
	return json.Marshal(strings.Join(lines, "\n"))
}

// swap puts the log entry of another signature in place of this one's, or where there is none the timestamp.
func swap(c interop.Cell, own, theirs paper) (paper, string, error) {
	k := kindOf(c.Signer)
	if !k.rekor1 && !k.rekor2 {
		p, err := swapStamp(c, own, theirs)
		return p, "then put the timestamp of $OTHER's signature in place of this one's", err
	}
	did := "then put the log entry of $OTHER's signature in place of this one's"
	p, err := exchange(c, own, theirs, logAnnotation, logs)
	return p, did, err
}

func swapStamp(c interop.Cell, own, theirs paper) (paper, error) {
	return exchange(c, own, theirs, stampAnnotation, stamps)
}

// exchange puts a part of theirs in place of one's own.
func exchange(c interop.Cell, own, theirs paper, annotation string, path []any) (paper, error) {
	if c.Layout == interop.Legacy {
		if own.annotations[annotation] == "" || theirs.annotations[annotation] == "" {
			return own, fmt.Errorf("no annotation %s", annotation)
		}
		own.annotations[annotation] = theirs.annotations[annotation]
		return own, nil
	}
	v, err := value(theirs.payload, path...)
	if err != nil {
		return own, err
	}
	own.payload, err = put(own.payload, v, path...)
	return own, err
}
