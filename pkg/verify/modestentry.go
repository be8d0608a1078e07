package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// keptBy are the parts that a log keeps of an entry of a kind, level by level from its spec, each level once: a question mark is after what
// need not be there, and brackets are after a list, which has one element. It is nil for kinds that aren't read.
//
// What is only in proposals for an entry is in none. An envelope with its payload, for one, would make Rekor's reading try each key that
// it has on each signature that it has: of 150 each, on P-521, 80 seconds.
func (k logKind) keptBy() map[string]string {
	const hash = "algorithm value"
	switch k {
	case kindHashedRekord:
		return map[string]string{
			"spec": "data signature", "spec.data": "hash", "spec.data.hash": hash,
			"spec.signature": "content publicKey", "spec.signature.publicKey": "content",
		}
	case kindDSSE:
		return map[string]string{
			"spec": "envelopeHash payloadHash signatures", "spec.envelopeHash": hash, "spec.payloadHash": hash,
			"spec.signatures[]": "signature verifier",
		}
	case kindIntoto:
		return map[string]string{
			"spec": "content", "spec.content": "envelope hash payloadHash", "spec.content.hash": hash, "spec.content.payloadHash": hash,
			"spec.content.envelope": "payloadType signatures", "spec.content.envelope.signatures[]": "keyid? publicKey sig",
		}
	case kindRekorV2:
		const in = "spec.hashedRekordV002"
		return map[string]string{
			"spec": "hashedRekordV002", in: "data signature", in + ".data": "algorithm digest", in + ".signature": "content verifier",
			in + ".signature.verifier":           "keyDetails publicKey? x509Certificate?",
			in + ".signature.verifier.publicKey": "rawBytes", in + ".signature.verifier.x509Certificate": "rawBytes",
		}
	case kindOldIntoto:
		return map[string]string{
			"spec": "content publicKey", "spec.content": "hash? payloadHash?", "spec.content.hash": hash, "spec.content.payloadHash": hash,
		}
	case kindOldRekord:
		return map[string]string{
			"spec": "data signature", "spec.data": "hash", "spec.data.hash": hash,
			"spec.signature": "content format? publicKey", "spec.signature.publicKey": "content",
		}
	}
	return nil
}

// modestBody looks over the body of a log entry, and returns its kind.
func modestBody(body []byte) (logKind, error) {
	top, err := strictObject(body)
	if err != nil {
		return "", err
	}
	name, nameErr := stringField(top, "kind")
	version, versionErr := stringField(top, "apiVersion")
	if err := errors.Join(nameErr, versionErr); err != nil {
		return "", err
	}
	kind := logKind(name + " " + version)
	kept := kind.keptBy()
	if kept == nil {
		return "", fmt.Errorf("kind %s isn't read", clip(string(kind)))
	}
	if len(top) != 3 || top["spec"] == nil {
		return "", errors.New("it doesn't have kind, apiVersion and spec alone")
	}
	r := entryReader{json.NewDecoder(bytes.NewReader(top["spec"])), kept}
	return kind, r.value("spec")
}

// entryReader reads what a log entry says of a signature, whose parts are known.
type entryReader struct {
	*json.Decoder
	kept map[string]string
}

// value reads what is at a place.
func (r entryReader) value(at string) error {
	tok, err := r.Token()
	if err != nil {
		return errors.New("broken JSON")
	}
	_, object := r.kept[at]
	_, list := r.kept[at+"[]"]
	text, isText := tok.(string)
	switch {
	case object && tok == json.Delim('{'):
		return r.object(at)
	case list && tok == json.Delim('['):
		if !r.More() {
			return fmt.Errorf("%s is empty: want one", at)
		}
		if err := r.value(at + "[]"); err != nil {
			return err
		}
		if r.More() {
			return fmt.Errorf("%s has several: want one", at)
		}
		_, err := r.Token()
		return err
	case !object && !list && isText:
		return modestText(text)
	}
	return fmt.Errorf("%s isn't what a log keeps there", at)
}

// object reads the members of an object, each of which must be one that is kept there, once.
func (r entryReader) object(at string) error {
	needed, seen := map[string]bool{}, map[string]bool{}
	for _, part := range strings.Fields(r.kept[at]) {
		name, optional := strings.CutSuffix(part, "?")
		needed[name] = !optional
	}
	for r.More() {
		tok, err := r.Token()
		name, ok := tok.(string)
		if err != nil || !ok {
			return errors.New("broken JSON")
		}
		if _, known := needed[name]; !known {
			return fmt.Errorf("%s has a %s, which no log keeps", at, clip(name))
		}
		if seen[name] {
			return fmt.Errorf("%s.%s occurs twice", at, name)
		}
		seen[name] = true
		if err := r.value(at + "." + name); err != nil {
			return err
		}
	}
	for name, need := range needed {
		if need && !seen[name] {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	_, err := r.Token()
	return err
}

// modestText looks over a text in a log entry, if it is PEM in base64: a key or certificate, and one alone, for Rekor's reading builds and checks
// the chain of several.
func modestText(text string) error {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil
	}
	if next, _ := pem.Decode(rest); next != nil {
		return errors.New("several keys or certificates in one text")
	}
	if err := modest(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w", clip(block.Type), err)
	}
	return nil
}
