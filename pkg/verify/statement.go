package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
)

// The in-toto Statement types that tools write: cosign 2 the older, cosign 3 the newer.
const (
	statementV01 = "https://in-toto.io/Statement/v0.1"
	statementV1  = "https://in-toto.io/Statement/v1"
)

// Bounds of what is read before any signature is checked.
const (
	// maxMembers bounds the names of one object: a Statement has four, a bundle three, a subject seven.
	maxMembers = 64
	// maxSignatures bounds the text of an envelope's signatures, in bytes: there may be one, of 1 KiB.
	maxSignatures = 16 << 10
)

// payloadInToto is the DSSE payload type of an in-toto Statement. DSSE signs it along with the payload.
const payloadInToto = "application/vnd.in-toto+json"

// maxSubjects and maxSubjectDigests are sigstore-go's own bounds of a Statement.
const (
	maxSubjects       = 1024
	maxSubjectDigests = 32
)

// statement is what we need of an in-toto Statement.
type statement struct {
	predicateType string
	subjects      []v1.Hash // those with a sha256
	predicate     []byte    // a part of what was parsed; nil if there is none
}

// parseStatement reads an in-toto Statement strictly: a name that occurs twice, in whatever case, is an error at the levels
// that we read, since parsers differ in which one they believe (security.md row 82). The predicate isn't looked into.
func parseStatement(data []byte) (statement, error) {
	top, err := strictObject(data)
	if err != nil {
		return statement{}, err
	}
	kind, err := stringField(top, "_type")
	if err != nil {
		return statement{}, err
	}
	if kind != statementV01 && kind != statementV1 {
		return statement{}, fmt.Errorf("_type %q is no in-toto Statement", clip(kind))
	}
	var s statement
	if s.predicateType, err = stringField(top, "predicateType"); err != nil {
		return statement{}, err
	}
	s.predicate = top["predicate"]
	raw, err := elements(top["subject"], maxSubjects)
	if err != nil {
		return statement{}, fmt.Errorf("subject: %w", err)
	}
	if len(raw) == 0 {
		return statement{}, fmt.Errorf("no subjects: want 1 to %d", maxSubjects)
	}
	for _, r := range raw {
		h, ok, err := parseSubject(r)
		if err != nil {
			return statement{}, err
		}
		if ok {
			s.subjects = append(s.subjects, h)
		}
	}
	return s, nil
}

func parseSubject(data []byte) (v1.Hash, bool, error) {
	sub, err := strictObject(data)
	if err != nil {
		return v1.Hash{}, false, fmt.Errorf("subject: %w", err)
	}
	digests, err := strictObject(sub["digest"])
	if err != nil {
		return v1.Hash{}, false, fmt.Errorf("subject digest: %w", err)
	}
	if len(digests) > maxSubjectDigests {
		return v1.Hash{}, false, fmt.Errorf("%d digests of one subject: want at most %d", len(digests), maxSubjectDigests)
	}
	hex, err := stringField(digests, "sha256")
	if err != nil {
		return v1.Hash{}, false, nil // a subject by another algorithm is not about any image of ours
	}
	h, err := v1.NewHash("sha256:" + hex)
	if err != nil {
		return v1.Hash{}, false, fmt.Errorf("subject digest: %w", err)
	}
	return h, true, nil
}

// about tells whether the statement names the digest among its subjects.
func (s statement) about(h v1.Hash) bool {
	for _, sub := range s.subjects {
		if sub == h {
			return true
		}
	}
	return false
}

// beside are the subjects other than the digest, each once.
func (s statement) beside(h v1.Hash) (out []v1.Hash) {
	for _, sub := range s.subjects {
		if sub != h && !slices.Contains(out, sub) {
			out = append(out, sub)
		}
	}
	return out
}

// simpleSigning is what we need of a legacy payload (containers/image, "simple signing").
type simpleSigning struct {
	digest v1.Hash
}

// simpleSigningType is the critical.type that cosign writes.
const simpleSigningType = "cosign container image signature"

// parseSimpleSigning reads a legacy payload as strictly as a Statement.
func parseSimpleSigning(data []byte) (simpleSigning, error) {
	top, err := strictObject(data)
	if err != nil {
		return simpleSigning{}, err
	}
	critical, err := strictObject(top["critical"])
	if err != nil {
		return simpleSigning{}, fmt.Errorf("critical: %w", err)
	}
	kind, err := stringField(critical, "type")
	if err != nil {
		return simpleSigning{}, err
	}
	if kind != simpleSigningType {
		return simpleSigning{}, fmt.Errorf("critical.type %q: want %q", clip(kind), simpleSigningType)
	}
	image, err := strictObject(critical["image"])
	if err != nil {
		return simpleSigning{}, fmt.Errorf("critical.image: %w", err)
	}
	text, err := stringField(image, "docker-manifest-digest")
	if err != nil {
		return simpleSigning{}, err
	}
	h, err := v1.NewHash(text)
	if err != nil {
		return simpleSigning{}, fmt.Errorf("docker-manifest-digest: %w", err)
	}
	return simpleSigning{digest: h}, nil
}

// strictObject splits one JSON object into its members, which are parts of the text, and refuses duplicate names, names that differ in case
// only, and anything after the object. Whether names are there twice further inside is for who looks there.
func strictObject(data []byte) (map[string]json.RawMessage, error) {
	members, err := strictMembers(data)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(members))
	for name, at := range members {
		out[name] = at.of(data)
	}
	return out, nil
}

// span is a part of a text.
type span struct{ from, to int }

func (s span) of(text []byte) []byte { return text[s.from:s.to:s.to] }

// strictMembers is strictObject, and says where the members are.
func strictMembers(data []byte) (map[string]span, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true)) // reads a bytes.Buffer in place
	tok, err := dec.ReadToken()
	if err != nil || tok.Kind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	out, seen := map[string]span{}, map[string]bool{}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, errors.New("broken JSON object")
		}
		key := tok.String()
		folded := strings.ToLower(key)
		if seen[folded] {
			return nil, fmt.Errorf("%q occurs twice", clip(key))
		}
		if len(seen) == maxMembers {
			return nil, fmt.Errorf("more than %d names in one object", maxMembers)
		}
		seen[folded] = true
		v, err := dec.ReadValue()
		if err != nil {
			return nil, errors.New("broken JSON object")
		}
		end := int(dec.InputOffset())
		out[key] = span{end - len(v), end}
	}
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '}' {
		return nil, errors.New("broken JSON object")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return out, nil
}

// elements returns the elements of a JSON list, which are parts of the text. It stops at the bound.
func elements(data []byte, most int) (out []json.RawMessage, _ error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '[' {
		return nil, errors.New("not a list")
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, errors.New("broken JSON list")
		}
		if len(out) == most {
			return nil, fmt.Errorf("more than %d", most)
		}
		end := int(dec.InputOffset())
		out = append(out, span{end - len(v), end}.of(data))
	}
	return out, nil // what follows it was read with the object that it is in
}

func stringField(obj map[string]json.RawMessage, key string) (string, error) {
	var s *string
	if err := json.Unmarshal(obj[key], &s); err != nil || s == nil || *s == "" {
		return "", fmt.Errorf("%s is no string", key)
	}
	return *s, nil
}

// clip shortens what a stranger wrote, for messages.
func clip(s string) string {
	const most = 96
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// parseEnvelope reads a DSSE envelope in JSON (DSSE 1.0.2) strictly, with the one signature that a bundle may carry.
func parseEnvelope(data []byte) (*protodsse.Envelope, error) {
	top, err := strictObject(data)
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	env := &protodsse.Envelope{}
	if env.PayloadType, err = stringField(top, "payloadType"); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	if env.Payload, err = decodePayload(top["payload"]); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	if len(top["signatures"]) > maxSignatures {
		return nil, fmt.Errorf("envelope: signatures of more than %d bytes", maxSignatures)
	}
	var sigs []struct {
		KeyID string `json:"keyid"`
		Sig   []byte `json:"sig"`
	}
	if err := json.Unmarshal(top["signatures"], &sigs); err != nil || len(sigs) != 1 {
		return nil, errors.New("envelope: want exactly one signature")
	}
	env.Signatures = []*protodsse.Signature{{Sig: sigs[0].Sig, Keyid: sigs[0].KeyID}}
	return env, nil
}
