package papers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// The two statement types in use; cosign writes the old one for attestations.
const (
	statementV1  = "https://in-toto.io/Statement/v1"
	statementV01 = "https://in-toto.io/Statement/v0.1"
)

// object is a JSON object whose fields keep their order and may repeat.
type object []field

type field struct {
	key   string
	value any
}

// MarshalJSON writes the fields as they stand.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", f.key, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// digest is what the payload names as its subject.
func (s *spec) digest(image name.Digest) string {
	if s.claimDigest != "" {
		return s.claimDigest
	}
	return image.DigestStr()
}

// simpleSigning is the payload of a legacy signature
// (containers-signature(5), as cosign fills it in).
func (s *spec) simpleSigning(image name.Digest) ([]byte, error) {
	reference := image.Context().Name()
	if s.claimReference != nil {
		reference = *s.claimReference
	}
	manifest := object{}
	if s.duplicate != "" {
		manifest = append(manifest, field{"docker-manifest-digest", s.duplicate})
	}
	manifest = append(manifest, field{"docker-manifest-digest", s.digest(image)})
	return s.finish(object{
		{"critical", object{
			{"identity", object{{"docker-reference", reference}}},
			{"image", manifest},
			{"type", s.criticalType},
		}},
		{"optional", s.claims()}, // null when there is none, as cosign writes it
	})
}

// statement is an in-toto statement about the image.
func (s *spec) statement(image name.Digest, predicateType string, predicate any) ([]byte, error) {
	kind := s.statementType
	if kind == "" {
		kind = statementV01
		if predicateType == SignaturePredicate {
			kind = statementV1
		}
	}
	o := object{{"_type", kind}}
	if s.duplicate != "" {
		o = append(o, field{"subject", []any{s.subject(image, predicateType, s.duplicate)}})
	}
	o = append(o, field{"predicateType", predicateType})
	if s.nullSubject {
		o = append(o, field{"subject", nil})
	} else {
		var subjects []any
		for i := range s.moreSubjects {
			other := sha256.Sum256(fmt.Appendf(nil, "subject %d", i))
			subjects = append(subjects, s.subject(image, predicateType, fmt.Sprintf("sha256:%x", other)))
		}
		o = append(o, field{"subject", append(subjects, s.subject(image, predicateType, s.digest(image)))})
	}
	if !s.noPredicate {
		o = append(o, field{"predicate", predicate})
	}
	return s.finish(o)
}

// subject is one subject of a statement. cosign names the repository in
// attestations; in signatures it leaves the name out and has annotations, if
// only empty ones.
func (s *spec) subject(image name.Digest, predicateType, digest string) object {
	var o object
	switch {
	case s.claimReference != nil:
		o = append(o, field{"name", *s.claimReference})
	case predicateType != SignaturePredicate:
		o = append(o, field{"name", image.Context().Name()})
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	o = append(o, field{"digest", object{{algorithm, hex}}})
	switch claims := s.claims(); {
	case len(claims) > 0:
		o = append(o, field{"annotations", claims})
	case predicateType == SignaturePredicate:
		o = append(o, field{"annotations", object{}})
	}
	return o
}

// claims are the signed annotations, with the padding among them.
func (s *spec) claims() map[string]any {
	if s.padding == 0 {
		return s.optional
	}
	out := map[string]any{"padding": strings.Repeat("A", s.padding)}
	maps.Copy(out, s.optional)
	return out
}

func (s *spec) finish(o object) ([]byte, error) {
	payload, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("papers: payload: %w", err)
	}
	if s.rewritePayload != nil {
		payload = s.rewritePayload(payload)
	}
	return payload, nil
}

// pae is DSSE's pre-authentication encoding, the bytes under an envelope's
// signature: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// sign signs and, if told to, spoils the signature.
func (s *spec) sign(k Key, message []byte) ([]byte, error) {
	signature, err := k.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("papers: sign with %s: %w", k.Kind, err)
	}
	if s.mangle {
		signature[len(signature)-1] ^= 1
	}
	return signature, nil
}
