package verify

import (
	"encoding/json"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// FuzzRow91_KeysDoNotCollide: distinct lists of parts have distinct hashes, wherever their seams are.
func FuzzRow91_KeysDoNotCollide(f *testing.F) {
	f.Add("ab", "c", "a", "bc")
	f.Add("", "x", "x", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		same := a == c && b == d
		if got := digestOf([]byte(a), []byte(b)) == digestOf([]byte(c), []byte(d)); got != same {
			t.Errorf("(%q, %q) and (%q, %q): same hash %t", a, b, c, d, got)
		}
		x, y := key{repository: a, digest: b}, key{repository: c, digest: d}
		if (x == y) != same {
			t.Errorf("cache keys of (%q, %q) and (%q, %q) are the same: %t", a, b, c, d, x == y)
		}
	})
}

// FuzzStrictObject: what is accepted is an object, with each name once.
func FuzzStrictObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":1,"A":2}`, `{"a":{"b":[1,2]}} x`, `[`, `{"a"`, `null`, `{"a":1}{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strictObject(data)
		if err != nil {
			return
		}
		var loose map[string]json.RawMessage
		if err := json.Unmarshal(data, &loose); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if len(loose) != len(got) {
			t.Fatalf("%d members, encoding/json has %d", len(got), len(loose))
		}
	})
}

// FuzzExamine: nothing that a stranger writes becomes evidence, or makes us panic beyond the recover.
func FuzzExamine(f *testing.F) {
	keys, err := ParseKeys([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt\nIqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWww==\n-----END PUBLIC KEY-----"))
	if err != nil {
		f.Fatal(err)
	}
	a, err := NewKeyAuthority("release", keys, Terms{})
	if err != nil {
		f.Fatal(err)
	}
	image := v1.Hash{Algorithm: "sha256", Hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	f.Add(uint8(1), []byte(`{"critical":{"image":{"docker-manifest-digest":"`+image.String()+`"},"type":"cosign container image signature"}}`), "AAAA")
	f.Add(uint8(2), []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AAAA"}]}`), "")
	f.Add(uint8(3), []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{}]},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`), "")
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, sig string) {
		c := Candidate{Payload: payload, Paper: Paper{Kind: Kind(kind % 4), Annotations: map[string]string{signatureAnnotation: sig}}}
		ev, miss, err := Signatures(a).examine(t.Context(), image, &sealed{Candidate: c}, &budget{}, time.Unix(1700000000, 0))
		if err != nil || miss == nil || ev != (Evidence{}) {
			t.Fatalf("a stranger's candidate became evidence: %+v", ev)
		}
	})
}
