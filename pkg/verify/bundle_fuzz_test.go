package verify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// fuzzed are authorities of each kind, and who signs for them, by what is below testdata/bundles.
func fuzzed(f *testing.F) map[string][]verify.Authority {
	f.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", "bundles", name))
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	trust, err := verify.NewTrust([][]byte{read("trusted_root.json")}, verify.DefaultThresholds())
	if err != nil {
		f.Fatal(err)
	}
	roots, err := verify.ParseRoots(read("roots.pem"))
	if err != nil {
		f.Fatal(err)
	}
	keys, err := verify.ParseKeys(read("key.pem"))
	if err != nil {
		f.Fatal(err)
	}
	lead, err := verify.NewCertificateIdentity("lead@corp.example", "")
	if err != nil {
		f.Fatal(err)
	}
	someone := verifytest.Someone()
	who := [3]string{"key " + keys[0].Fingerprint().String(), someone.Subject + " (" + someone.Issuer + ")", "lead@corp.example"}
	out := map[string][]verify.Authority{}
	for _, terms := range []verify.Terms{
		{Trust: trust}, {Trust: trust, Log: verify.Required}, {Trust: trust, Log: verify.Optional, Timestamp: verify.Required}, {Trust: trust, Log: verify.Optional},
	} {
		held, err := verify.NewKeyAuthority("key", keys, terms)
		if err != nil {
			f.Fatal(err)
		}
		own, err := verify.NewCertificateAuthority("certificate", roots, []verify.CertificateIdentity{lead}, terms)
		if err != nil {
			f.Fatal(err)
		}
		for i, a := range []verify.Authority{held, keyless(f, trust, terms), own} {
			out[who[i]] = append(out[who[i]], a)
		}
	}
	return out
}

// addBundles gives the fuzzer what is below testdata/bundles to begin with: it starts behind every check, and has to break one.
func addBundles(f *testing.F, add func(text []byte)) {
	f.Helper()
	files, err := filepath.Glob("testdata/bundles/*.json")
	if err != nil || len(files) < 8 {
		f.Fatalf("%d bundles, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(text)
	}
}

// only fails the test unless nothing but what was signed is believed: a signature on this image, at that time, by that signer.
func only(t *testing.T, authorities map[string][]verify.Authority, text []byte) (verified int) {
	t.Helper()
	digest := func(h v1.Hash) verify.Artifact {
		d, err := hex.DecodeString(h.Hex)
		if err != nil {
			t.Fatal(err)
		}
		return verify.ArtifactDigest([32]byte(d))
	}
	for who, as := range authorities {
		for _, a := range as {
			if out, err := a.Bundle(t.Context(), text, digest(verifytest.Digest("other")), then()); err == nil {
				t.Fatalf("%s is believed about an image that nobody signed: %+v", a.Name(), out)
			}
			out, err := a.Bundle(t.Context(), text, digest(verifytest.Digest("image")), then())
			if err != nil {
				continue
			}
			verified++
			if out.Who != who || out.PredicateType != verify.CosignSign || !out.Time.IsZero() && !out.Time.Equal(then()) || out.Time.IsZero() && a.Name() == "keyless" {
				t.Fatalf("%s is believed to have said what nobody did: %+v", a.Name(), out)
			}
		}
	}
	return verified
}

// FuzzBundle: whatever a bundle says, nothing is believed but what was signed.
func FuzzBundle(f *testing.F) {
	authorities := fuzzed(f)
	addBundles(f, func(text []byte) { f.Add(text) })
	f.Fuzz(func(t *testing.T, text []byte) { only(t, authorities, text) })
}

// FuzzEnvelope: the same of an envelope in a bundle whose certificate, key, log entries and timestamps are good. None that differs is believed.
func FuzzEnvelope(f *testing.F) {
	authorities := fuzzed(f)
	var bundles []map[string]any
	addBundles(f, func(text []byte) {
		var b map[string]any
		if err := json.Unmarshal(text, &b); err != nil {
			f.Fatal(err)
		}
		env, ok := b["dsseEnvelope"].(map[string]any)
		if !ok {
			return // the trusted root
		}
		sig := down(f, env, "signatures", 0)["sig"]
		f.Add(uint8(len(bundles)), env["payloadType"].(string), mustDecode(f, env["payload"]), mustDecode(f, sig), "", uint8(1))
		bundles = append(bundles, b)
	})
	image := verifytest.Digest("image")
	f.Fuzz(func(t *testing.T, which uint8, kind string, payload, sig []byte, keyid string, times uint8) {
		b := bundles[int(which)%len(bundles)]
		signed := mustDecode(t, down(t, b, "dsseEnvelope")["payload"])
		var sigs []any
		for range times % 4 {
			sigs = append(sigs, map[string]any{"sig": base64.StdEncoding.EncodeToString(sig), "keyid": keyid})
		}
		text, err := json.Marshal(map[string]any{
			"mediaType": b["mediaType"], "verificationMaterial": b["verificationMaterial"],
			"dsseEnvelope": map[string]any{"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload), "signatures": sigs},
		})
		if err != nil {
			t.Skip("no text that JSON can hold")
		}
		if only(t, authorities, text) > 0 && (!bytes.Equal(payload, signed) || kind != "application/vnd.in-toto+json" || len(sigs) != 1) {
			t.Fatal("an envelope that nobody signed is believed")
		}
		for _, as := range authorities {
			for _, a := range as {
				c := verify.Candidate{Payload: text, Paper: verify.Paper{Kind: verify.Referrer, Place: verify.PlaceReferrers}}
				ev, miss, err := verify.Examine(t.Context(), verify.Signatures(a), image, c, then())
				if err != nil || (miss == nil) == (ev == verify.Evidence{}) {
					t.Fatalf("neither evidence nor a miss: %v", err)
				}
				if miss == nil && !bytes.Equal(payload, signed) {
					t.Fatalf("evidence that nobody signed: %+v", ev)
				}
			}
		}
	})
}
