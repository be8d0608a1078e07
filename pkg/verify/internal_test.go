package verify

import (
	"encoding/json"
	"os"
	"path/filepath"
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

// FuzzExamine: nothing that a stranger writes becomes evidence of a key's, a person's or a certificate's, or makes us panic beyond the recover.
func FuzzExamine(f *testing.F) {
	keys, err := ParseKeys([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt\nIqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWww==\n-----END PUBLIC KEY-----"))
	if err != nil {
		f.Fatal(err)
	}
	held, err := NewKeyAuthority("release", keys, Terms{})
	if err != nil {
		f.Fatal(err)
	}
	authorities := append(strangers(f), held)
	image := v1.Hash{Algorithm: "sha256", Hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	f.Add(uint8(1), []byte(`{"critical":{"image":{"docker-manifest-digest":"`+image.String()+`"},"type":"cosign container image signature"}}`), "AAAA")
	f.Add(uint8(2), []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AAAA"}]}`), "")
	f.Add(uint8(3), []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{}]},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`), "")
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Hex + `"}}],"predicateType":"` + CosignSign + `"}`)
	for _, name := range []string{"keyless-v1", "keyless-v2", "keyless-stamp", "certificate", "certificate-v01", "key-logged"} {
		var b map[string]any // as good as can be, but for what was signed
		if err := json.Unmarshal(readFixture(f, name+".json"), &b); err != nil {
			f.Fatal(err)
		}
		b["dsseEnvelope"].(map[string]any)["payload"] = statement
		text, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(3), text, "")
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, sig string) {
		c := Candidate{Payload: payload, Paper: Paper{Kind: Kind(kind % 4), Annotations: map[string]string{signatureAnnotation: sig}}}
		for _, a := range authorities {
			ev, miss, err := Signatures(a).examine(t.Context(), image, &sealed{Candidate: c}, &budget{}, time.Unix(1790856000, 0))
			if err != nil || miss == nil || ev != (Evidence{}) {
				t.Fatalf("a stranger's candidate became evidence of %s: %+v", a.name, ev)
			}
		}
	})
}

// strangers are authorities who never signed the image of FuzzExamine, by what is below testdata/bundles.
func strangers(f *testing.F) []Authority {
	f.Helper()
	trust, err := NewTrust([][]byte{readFixture(f, "trusted_root.json")}, DefaultThresholds())
	if err != nil {
		f.Fatal(err)
	}
	roots, err := ParseRoots(readFixture(f, "roots.pem"))
	if err != nil {
		f.Fatal(err)
	}
	id, err := NewIdentity(IdentitySpec{Issuer: "https://issuer.example.com", Subject: "dev@example.com"})
	if err != nil {
		f.Fatal(err)
	}
	lead, err := NewCertificateIdentity("lead@corp.example", "")
	if err != nil {
		f.Fatal(err)
	}
	var out []Authority
	for _, terms := range []Terms{{Trust: trust}, {Trust: trust, Log: Optional, Timestamp: Required}} {
		person, err := NewKeylessAuthority("keyless", trust, []Identity{id}, terms)
		if err != nil {
			f.Fatal(err)
		}
		own, err := NewCertificateAuthority("certificate", roots, []CertificateIdentity{lead}, terms)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, person, own)
	}
	return out
}

func readFixture(f *testing.F, name string) []byte {
	f.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "bundles", name))
	if err != nil {
		f.Fatal(err)
	}
	return data
}
