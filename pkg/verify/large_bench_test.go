package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// attested is a large paper by a P-256 key, as cosign makes it.
type attested struct {
	authority verify.Authority
	question  verify.Question
	image     v1.Hash
	paper     verify.Candidate
	payload   []byte
}

func attest(t testing.TB, bytes int) attested {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := verify.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.NewKeyAuthority("release", keys, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	const kind = "application/vnd.in-toto+json"
	image := verifytest.Digest("image")
	payload := verifytest.StatementOf(predicate.TypeSPDX, spdx(bytes), image)
	sum := sha256.Sum256(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	hint := sha256.Sum256(der)
	paper := verifytest.Pack(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": base64.StdEncoding.EncodeToString(hint[:])}},
		"dsseEnvelope": map[string]any{
			"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload),
			"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(sig)}},
		},
	})
	return attested{a, sboms(t, a), image, paper, payload}
}

// facts goes all the way from the bytes of the envelope to facts.
func (a attested) facts(t testing.TB) {
	t.Helper()
	e, miss, err := verify.Examine(t.Context(), a.question, a.image, a.paper, then())
	if miss != nil || err != nil {
		t.Fatalf("%+v, %v", miss, err)
	}
	if f, err := e.Facts(); err != nil || f == nil {
		t.Fatal(err)
	}
}

// plain is what the bytes cost whoever wants to know what is in them: to hash them, to decode them, and to look at each token.
func (a attested) plain(t testing.TB) {
	t.Helper()
	payload, err := base64.StdEncoding.DecodeString(a.encoded())
	if err != nil {
		t.Fatal(err)
	}
	sha256.Sum256(payload)
	dec := json.NewDecoder(bytes.NewReader(payload))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func (a attested) encoded() string {
	_, rest, _ := bytes.Cut(a.paper.Payload, []byte(`"payload":"`))
	inner, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(inner)
}

// BenchmarkLargeSBOM takes 20 MiB of SPDX from an envelope's bytes to facts. Its ratio is to hashing, decoding and tokenizing the same bytes, in
// the same run; it wants at most 3. Its bytes, for each byte of payload, the envelope included, are all that is allocated, of which the peak is a part; they want at most 3.
func BenchmarkLargeSBOM(b *testing.B) {
	a := attest(b, 20<<20)
	var ours, plain time.Duration
	var before, after runtime.MemStats
	var allocated uint64
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		a.facts(b)
		ours += time.Since(start)
		runtime.ReadMemStats(&after)
		allocated += after.TotalAlloc - before.TotalAlloc
		start = time.Now()
		a.plain(b)
		plain += time.Since(start)
	}
	b.ReportMetric(float64(ours)/float64(plain), "ratio")
	b.ReportMetric(float64(allocated)/float64(b.N)/float64(len(a.payload))+float64(len(a.paper.Payload))/float64(len(a.payload)), "x-payload")
	b.ReportMetric(float64(len(a.payload)>>20), "MiB")
}
