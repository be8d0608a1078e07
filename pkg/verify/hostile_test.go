package verify_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// pemOf is a key of P-521 in PEM, in base64, as a log keeps one.
func pemOf(t testing.TB) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return b64(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// intoto is an entry of intoto 0.0.2 with so many signatures, and with the payload if it says so: with that, Rekor's reading would try each
// key on each signature.
func intoto(t testing.TB, signatures int, payload bool) map[string]any {
	t.Helper()
	one := map[string]any{"sig": b64([]byte(b64([]byte{0x30, 6, 2, 1, 1, 2, 1, 1}))), "publicKey": pemOf(t)}
	envelope := map[string]any{"payloadType": "x", "signatures": slices.Repeat([]any{one}, signatures)}
	if payload {
		envelope["payload"] = b64([]byte(b64([]byte("x"))))
	}
	sum := map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%064d", 0)}
	return map[string]any{"kind": "intoto", "apiVersion": "0.0.2", "spec": map[string]any{
		"content": map[string]any{"envelope": envelope, "hash": sum, "payloadHash": sum},
	}}
}

func TestRow76_ALogEntryHasWhatALogKeepsAndNothingElse(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	key := verifytest.NewSigner(t, 1)
	trust := s.Trust(t, verify.DefaultThresholds())
	a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, verify.Terms{Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	good := s.Sign(t, verifytest.Signing{Key: &key, Logs: v1Log()}, image)
	verified(t, a, image, then(), good)
	spec := func(change func(spec map[string]any)) func(map[string]any) {
		return entryOnly(body(t, func(b map[string]any) { change(down(t, b, "spec")) }))
	}
	instead := func(with map[string]any) func(map[string]any) {
		kind, version := with["kind"], with["apiVersion"]
		return func(e map[string]any) {
			text, err := json.Marshal(with)
			if err != nil {
				t.Fatal(err)
			}
			e["canonicalizedBody"], e["kindVersion"] = b64(text), map[string]any{"kind": kind, "version": version}
		}
	}
	hashed := func(key any) map[string]any {
		return map[string]any{"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": map[string]any{
			"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%064d", 0)}},
			"signature": map[string]any{"content": "AAAA", "publicKey": key},
		}}
	}
	two := mustDecode(t, pemOf(t))
	two = append(two, mustDecode(t, pemOf(t))...)
	checkpoint := func(change func(string) string) func(map[string]any) {
		return func(e map[string]any) {
			c := down(t, e, "inclusionProof", "checkpoint")
			c["envelope"] = change(c["envelope"].(string))
		}
	}
	for what, tc := range map[string]struct {
		change func(entry map[string]any)
		want   string
	}{
		"an envelope with its payload, and 150 keys for 150 signatures": {instead(intoto(t, 150, true)), "payload, which no log keeps"},
		"an envelope with its payload":                                  {instead(intoto(t, 1, true)), "payload, which no log keeps"},
		"an envelope of two signatures":                                 {instead(intoto(t, 2, false)), "want one"},
		"an envelope of none":                                           {instead(intoto(t, 0, false)), "want one"},
		"two signatures": {spec(func(s map[string]any) {
			s["signatures"] = slices.Repeat(s["signatures"].([]any), 2)
		}), "want one"},
		"a signature that is a text":       {spec(func(s map[string]any) { s["signatures"] = "x" }), "isn't what a log keeps"},
		"a signature that is no list":      {spec(func(s map[string]any) { s["signatures"] = s["signatures"].([]any)[0] }), "isn't what a log keeps"},
		"a hash that is a list":            {spec(func(s map[string]any) { s["payloadHash"] = []any{s["payloadHash"]} }), "isn't what a log keeps"},
		"a number for a text":              {spec(func(s map[string]any) { down(t, s, "payloadHash")["value"] = 1 }), "isn't what a log keeps"},
		"an object for a text":             {spec(func(s map[string]any) { down(t, s, "payloadHash")["value"] = map[string]any{} }), "isn't what a log keeps"},
		"no hash":                          {spec(func(s map[string]any) { delete(s, "payloadHash") }), "has no payloadHash"},
		"something beside a hash":          {spec(func(s map[string]any) { down(t, s, "payloadHash")["more"] = "x" }), "more, which no log keeps"},
		"a name in other letters":          {spec(func(s map[string]any) { s["ProposedContent"] = "x" }), "ProposedContent, which no log keeps"},
		"something beside kind and spec":   {entryOnly(body(t, func(b map[string]any) { b["more"] = "x" })), "alone"},
		"a key by its address":             {instead(hashed(map[string]any{"url": "https://example.com"})), "url, which no log keeps"},
		"a chain of keys":                  {instead(hashed(map[string]any{"content": b64(two)})), "several keys"},
		"the kind of a legacy object":      {instead(oldRekord(t)), "isn't read"},
		"a checkpoint of 6000 signatures":  {checkpoint(func(c string) string { return c + strings.Repeat(lastLine(c), 6000) }), "over the bound of 4096"},
		"a checkpoint of many short lines": {checkpoint(func(c string) string { return c + strings.Repeat("\n", 17) }), "over the bound of 16"},
		"a checkpoint of one long line":    {checkpoint(func(c string) string { return c + strings.Repeat("x", 4096) }), "over the bound of 4096"},
		"a proof of 65 hashes": {func(e map[string]any) {
			down(t, e, "inclusionProof")["hashes"] = slices.Repeat([]any{b64(make([]byte, 32))}, 65)
		}, "over the bound of 64"},
	} {
		t.Run(what, func(t *testing.T) {
			b := object(t, good)
			tc.change(down(t, b, "verificationMaterial", "tlogEntries", 0))
			if miss := refused(t, a, image, then(), verifytest.Pack(b), verify.MissMalformed); !strings.Contains(miss.Claimed, tc.want) {
				t.Errorf("missed because %s, want %q", miss.Claimed, tc.want)
			}
		})
	}
	t.Run("a part that is there twice", func(t *testing.T) {
		b := object(t, good)
		e := down(t, b, "verificationMaterial", "tlogEntries", 0)
		e["canonicalizedBody"] = b64([]byte(strings.Replace(string(mustDecode(t, e["canonicalizedBody"])), `"signature":`, `"signature":"x","signature":`, 1)))
		if miss := refused(t, a, image, then(), verifytest.Pack(b), verify.MissMalformed); !strings.Contains(miss.Claimed, "occurs twice") {
			t.Errorf("missed because %s", miss.Claimed)
		}
	})
}

// entryOnly is a change of an entry.
func entryOnly(change func(material, entry map[string]any)) func(map[string]any) {
	return func(e map[string]any) { change(nil, e) }
}

func lastLine(checkpoint string) string {
	return checkpoint[strings.LastIndex(checkpoint, "\n\n")+2:]
}

func oldRekord(t testing.TB) map[string]any {
	t.Helper()
	return map[string]any{"kind": "rekord", "apiVersion": "0.0.1", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%064d", 0)}},
		"signature": map[string]any{"content": "AAAA", "format": "x509", "publicKey": map[string]any{"content": pemOf(t)}},
	}}
}

// TestRow49_ALegacyEntryOfManySignaturesIsNotRead: it is as if it weren't there, and people are told of it.
func TestRow49_ALegacyEntryOfManySignaturesIsNotRead(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	key := verifytest.NewSigner(t, 1)
	c := s.LegacyAttestation(t, verifytest.Signing{Key: &key, Logs: v1Log()}, verifytest.Statement(image, verify.CosignSign), verifytest.Intoto, false)
	var note map[string]any
	if err := json.Unmarshal([]byte(c.Paper.Annotations[verifytest.LogAnnotation]), &note); err != nil {
		t.Fatal(err)
	}
	entry, err := json.Marshal(intoto(t, 150, true))
	if err != nil {
		t.Fatal(err)
	}
	trust := s.Trust(t, verify.DefaultThresholds())
	demand := func(d verify.Demand) verify.Authority {
		a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, verify.Terms{Trust: trust, Log: d})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if e := examinedOnce(t, demand(verify.Required), image, c); e.evidence.Time().IsZero() {
		t.Fatal("the entry as it was made tells no time")
	}
	down(t, note, "Payload")["body"] = b64(entry)
	text, err := json.Marshal(note)
	if err != nil {
		t.Fatal(err)
	}
	c.Paper.Annotations[verifytest.LogAnnotation] = string(text)
	if e := examinedOnce(t, demand(verify.Optional), image, c); !e.evidence.Time().IsZero() {
		t.Error("the entry told a time")
	}
	if e := examinedOnce(t, demand(verify.Required), image, c); e.miss == nil || !strings.Contains(e.miss.Why, "payload, which no log keeps") {
		t.Errorf("missed because of %+v", e.miss)
	}
}

// outcome is what came of one paper.
type outcome struct {
	evidence verify.Evidence
	miss     *verify.Miss
}

func examinedOnce(t testing.TB, a verify.Authority, image v1.Hash, c verify.Candidate) outcome {
	t.Helper()
	e, miss, err := verify.Examine(t.Context(), verify.Signatures(a), image, c, then())
	if err != nil {
		t.Fatal(err)
	}
	return outcome{e, miss}
}

// strangeStamp is a timestamp of P-521, signed by somebody so often, with so many certificates: each of its signatures is good.
func strangeStamp(t testing.TB, signers, certificates int) []byte {
	t.Helper()
	issuer, err := asn1.Marshal(pkix.Name{}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return stampAs(t, issuer, big.NewInt(1), signers, certificates)
}

// stampAs is the same by somebody whose certificate is of an issuer, with a serial number.
func stampAs(t testing.TB, issuer []byte, serial *big.Int, signers, certificates int) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: verifytest.Always().From, NotAfter: verifytest.Always().Until}
	c, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{RawSubject: issuer}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	tlv := func(tag byte, parts ...[]byte) []byte {
		out, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), IsCompound: tag&0x20 != 0, Tag: int(tag & 0x1f), Bytes: slices.Concat(parts...)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	oid := func(arcs ...int) []byte {
		out, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	number, err := asn1.Marshal(serial)
	if err != nil {
		t.Fatal(err)
	}
	one := []byte{2, 1, 1}
	sha256, sha512of := oid(2, 16, 840, 1, 101, 3, 4, 2, 1), tlv(0x30, oid(2, 16, 840, 1, 101, 3, 4, 2, 3))
	info := tlv(0x30, one, oid(1, 2, 3), tlv(0x30, tlv(0x30, sha256), tlv(4, make([]byte, 32))), one, tlv(0x18, []byte("20200101000000Z")))
	sum := sha512.Sum512(info)
	sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signer := tlv(0x30, one, tlv(0x30, issuer, number), sha512of, tlv(0x30, oid(1, 2, 840, 10045, 4, 3, 4)), tlv(4, sig))
	var certified []byte
	if certificates > 0 {
		certified = tlv(0xa0, slices.Repeat(c, certificates))
	}
	data := tlv(0x30, []byte{2, 1, 3}, tlv(0x31, sha512of), tlv(0x30, oid(1, 2, 840, 113549, 1, 9, 16, 1, 4), tlv(0xa0, tlv(4, info))),
		certified, tlv(0x31, slices.Repeat(signer, signers)))
	return tlv(0x30, tlv(0x30, []byte{2, 1, 0}), tlv(0x30, oid(1, 2, 840, 113549, 1, 7, 2), tlv(0xa0, data)))
}

// TestRow49_ATimestampOfManySignersIsNotRead: what reads it would verify them all, twice for each authority.
func TestRow49_ATimestampOfManySignersIsNotRead(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	key := verifytest.NewSigner(t, 1)
	demand := func(d verify.Demand) verify.Authority {
		a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, verify.Terms{Trust: s.Trust(t, verify.DefaultThresholds()), Timestamp: d})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	good := s.Sign(t, verifytest.Signing{Key: &key, Stamps: []int{0}}, image)
	verified(t, demand(verify.Required), image, then(), good)
	for what, tc := range map[string]struct {
		stamp []byte
		want  string
	}{
		"one signer":               {strangeStamp(t, 1, 1), "it is signed by another"},
		"a whole chain":            {strangeStamp(t, 1, verify.MaxChain), "it is signed by another"},
		"no signer":                {strangeStamp(t, 0, 1), "0 signers"},
		"two signers":              {strangeStamp(t, 2, 1), "2 signers"},
		"two hundred signers":      {strangeStamp(t, 200, 1), "200 signers"},
		"eleven certificates":      {strangeStamp(t, 1, verify.MaxChain+1), "11 certificates"},
		"not granted, and nothing": {deep(t, 2), "no response"},
	} {
		bundle := object(t, good)
		down(t, bundle, "verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0)["signedTimestamp"] = b64(tc.stamp)
		legacy := s.LegacySignature(t, verifytest.Signing{Key: &key}, verifytest.SimpleSigning(image), verifytest.HashedRekord)
		legacy.Paper.Annotations[verifytest.StampAnnotation] = `{"SignedRFC3161Timestamp":"` + b64(tc.stamp) + `"}`
		for layout, paper := range map[string]verify.Candidate{"bundle": verifytest.Pack(bundle), "legacy": legacy} {
			t.Run(what+", "+layout, func(t *testing.T) {
				verified(t, demand(verify.Optional), image, then(), paper)
				miss := refused(t, demand(verify.Required), image, then(), paper, verify.MissUnproven)
				if !strings.Contains(miss.Why, tc.want) {
					t.Errorf("missed because %s, want %q", miss.Why, tc.want)
				}
			})
		}
	}
}

// TestRow49_ATimestampIsVerifiedWithTheKeyOfWhomItNames: not with a key that came along, which may be as slow as there are.
func TestRow49_ATimestampIsVerifiedWithTheKeyOfWhomItNames(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	key, trust := verifytest.NewSigner(t, 1), s.Trust(t, verify.DefaultThresholds())
	leaf := verify.Material(trust).TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority).Leaf
	a, err := verify.NewKeyAuthority("key", []verify.Key{key.Key()}, verify.Terms{Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	good := s.Sign(t, verifytest.Signing{Key: &key, Stamps: []int{0}}, image)
	const bare = 2 // the signature, and once more with what it may be stamped with
	for what, tc := range map[string]struct {
		stamp []byte
		pairs int
	}{
		"a stranger's":                                {strangeStamp(t, 1, 1), 0},
		"a stranger's without a certificate":          {strangeStamp(t, 1, 0), 0},
		"one with a twin of the certificate it names": {stampAs(t, leaf.RawIssuer, leaf.SerialNumber, 1, 1), 0},
		"one by another key":                          {stampAs(t, leaf.RawIssuer, leaf.SerialNumber, 1, 0), 1},
		"one of something else":                       {s.Stamp(t, 0, []byte("something else"), then()), 1},
	} {
		b := object(t, good)
		down(t, b, "verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0)["signedTimestamp"] = b64(tc.stamp)
		found, checks, err := verify.Spent(t.Context(), verify.Signatures(a), image, then(), verifytest.Pack(b))
		if err != nil || len(found) != 1 || !found[0].Time().IsZero() || checks != bare+tc.pairs {
			t.Errorf("%s: %d evidence for %d checks, want %d: %v", what, len(found), checks, bare+tc.pairs, err)
		}
	}
}

// twins are certificates of CAs that all have the name of another, and issue each other: so that each may be tried on each.
func twins(t testing.TB, of *x509.Certificate, n int) (out []*x509.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), RawSubject: of.RawSubject, NotBefore: of.NotBefore, NotAfter: of.NotAfter,
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			SubjectKeyId: []byte{byte(i)}, AuthorityKeyId: []byte{99}, // so that none is a root
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestRow53_AChainCostsWhatBuildingItMayTake(t *testing.T) {
	t.Parallel()
	pki := verifytest.NewPKI(t, verifytest.Always())
	for range 3 {
		pki = pki.Intermediate(t, verifytest.Always())
	}
	h := pki.Issue(t, verifytest.Leaf{DNS: []string{"ci.example.com"}})
	issuer := h.Chain[0]
	for what, tc := range map[string]struct {
		above []*x509.Certificate
		want  int
	}{
		"nothing":                       {nil, 0},
		"three that lead up":            {h.Chain, 3},
		"the same in another order":     {[]*x509.Certificate{h.Chain[2], h.Chain[0], h.Chain[1]}, 3},
		"three beside":                  {twins(t, pki.Roots()[0], 3)[:2], 0},
		"two of one name":               {twins(t, issuer, 2), 4},
		"three of one name":             {twins(t, issuer, 3), 15},
		"nine of one name, up to where": {twins(t, issuer, 9), 100}, // crypto/x509 gives up
	} {
		if got := verify.Climbs(h.Certificate, tc.above); got != tc.want {
			t.Errorf("%s: %d checks, want %d", what, got, tc.want)
		}
	}
}

// TestRow53_WhatAChainMayTakeIsPaidForBeforeItIsBuilt: by whichever kind of authority builds one.
func TestRow53_WhatAChainMayTakeIsPaidForBeforeItIsBuilt(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	for _, c := range crowds(t, image) {
		if c.name != "keyless" && c.name != "certificate" {
			continue
		}
		for n, most := range map[int]int{1: 120, 4: 480, 6: verify.MaxChecks, 20: verify.MaxChecks} {
			var papers []verify.Candidate
			for range n {
				papers = append(papers, c.junk())
			}
			found, checks, err := verify.Spent(t.Context(), verify.Signatures(c.a), image, then(), papers...)
			if len(found) != 0 || checks > most || checks < min(n*100, 400) || (err == nil) != (n < 5) {
				t.Errorf("%s: %d cost %d checks, %v", c.name, n, checks, err)
			}
		}
	}
}

// crowd is a good paper, and what somebody may put beside it to keep it from being seen.
type crowd struct {
	name string
	a    verify.Authority
	good verify.Candidate
	most int // checks that the good one may cost by itself
	junk func() verify.Candidate
}

func crowds(t testing.TB, image v1.Hash) []crowd {
	t.Helper()
	s, evil, someone := verifytest.NewSigstore(t), verifytest.NewSigstore(t), verifytest.Someone()
	trust := s.Trust(t, verify.DefaultThresholds())
	stamp := map[string]any{"signedTimestamp": b64(s.Stamp(t, 0, []byte("something else"), then()))}
	stamps := func(c verify.Candidate) verify.Candidate {
		b := object(t, c)
		all := slices.Repeat([]any{stamp}, verify.MaxStamps)
		down(t, b, "verificationMaterial")["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": all}
		return verifytest.Pack(b)
	}
	twinned := func(c verify.Candidate) verify.Candidate { // its chain is of nine of one name
		b := object(t, c)
		chain := down(t, b, "verificationMaterial", "x509CertificateChain")
		all := chain["certificates"].([]any)[:1]
		leaf, err := x509.ParseCertificate(mustDecode(t, all[0].(map[string]any)["rawBytes"]))
		if err != nil {
			t.Fatal(err)
		}
		issuer := *leaf
		issuer.RawSubject = leaf.RawIssuer
		for _, c := range twins(t, &issuer, verify.MaxChain-1) {
			all = append(all, map[string]any{"rawBytes": b64(c.Raw)})
		}
		chain["certificates"] = all
		return verifytest.Pack(b)
	}
	own, eroot := verifytest.NewPKI(t, verifytest.Always()), verifytest.NewPKI(t, verifytest.Always())
	pki := own.Intermediate(t, verifytest.Always()).Intermediate(t, verifytest.Always())
	epki := eroot.Intermediate(t, verifytest.Always())
	ci := verifytest.Leaf{DNS: []string{"ci.example.com"}}
	h, eh := pki.Issue(t, ci), epki.Issue(t, ci)
	signers, keys := make([]verifytest.Signer, verify.MaxKeys), []verify.Key(nil)
	for i := range signers {
		signers[i] = verifytest.NewSigner(t, byte(i+1))
		keys = append(keys, signers[i].Key())
	}
	held := func(terms verify.Terms, keys ...verify.Key) verify.Authority {
		a, err := verify.NewKeyAuthority("keys", keys, terms)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, last, stranger := signers[0], signers[len(signers)-1], verifytest.NewSigner(t, 200)
	return []crowd{
		{"keyless", keyless(t, trust, verify.Terms{}), s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log()}, image), 1, func() verify.Candidate {
			return twinned(evil.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Version: "0.2", Chain: true}, image))
		}},
		{"keyless, with a chain and a timestamp", keyless(t, trust, verify.Terms{}), s.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log(), Stamps: []int{0}, Version: "0.2", Chain: true}, image), 4, func() verify.Candidate {
			return stamps(evil.Sign(t, verifytest.Signing{Person: &someone, Logs: v1Log()}, image))
		}},
		{"certificate", own.Authority(t, "pki", verify.Terms{}, "ci.example.com"), s.Sign(t, verifytest.Signing{Holder: &h, Version: "0.2", Chain: true}, image), 3, func() verify.Candidate {
			return twinned(s.Sign(t, verifytest.Signing{Holder: &eh, Version: "0.2", Chain: true}, image))
		}},
		{"certificate, seen by a log and an authority", own.Authority(t, "pki", verify.Terms{Trust: trust, Log: verify.Required, Timestamp: verify.Required}, "ci.example.com"),
			s.Sign(t, verifytest.Signing{Holder: &h, Logs: v1Log(), Stamps: []int{1}, Version: "0.2", Chain: true}, image), 6, func() verify.Candidate {
				return stamps(twinned(s.Sign(t, verifytest.Signing{Holder: &eh, Logs: v1Log(), Version: "0.2", Chain: true}, image)))
			}},
		{"a key", held(verify.Terms{}, one.Key()), s.Sign(t, verifytest.Signing{Key: &one}, image), 1, func() verify.Candidate {
			return s.Sign(t, verifytest.Signing{Key: &stranger}, image)
		}},
		{"a key, seen by a log and an authority", held(verify.Terms{Trust: trust, Log: verify.Required, Timestamp: verify.Required}, one.Key()),
			s.Sign(t, verifytest.Signing{Key: &one, Logs: v1Log(), Stamps: []int{0}}, image), 4, func() verify.Candidate {
				return stamps(s.Sign(t, verifytest.Signing{Key: &one}, image)) // the good signature itself, beside what is slow
			}},
		{"64 keys, the last", held(verify.Terms{}, keys...), s.Sign(t, verifytest.Signing{Key: &last}, image), 1, func() verify.Candidate {
			return s.Sign(t, verifytest.Signing{Key: &stranger}, image)
		}},
		{"64 keys, a legacy signature", held(verify.Terms{}, keys...), verifytest.LegacySignature(signers[verify.MaxFirstChecks-1], image), 8, func() verify.Candidate {
			return verifytest.LegacySignature(stranger, image)
		}},
	}
}

func TestRow46_OneGoodPaperAmong63OfJunkIsFoundInAnyOrder(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	for _, c := range crowds(t, image) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			found, checks, err := verify.Spent(t.Context(), verify.Signatures(c.a), image, then(), c.good)
			if err != nil || len(found) != 1 || checks > c.most {
				t.Fatalf("by itself: %d evidence for %d checks, want at most %d: %v", len(found), checks, c.most, err)
			}
			junk := make([]verify.Candidate, verify.MaxVerified-1)
			for i := range junk {
				junk[i] = c.junk()
			}
			for _, at := range []int{0, 1, verify.MaxVerified / 2, verify.MaxVerified - 1} {
				papers := slices.Insert(slices.Clone(junk), at, c.good)
				found, checks, err := verify.Spent(t.Context(), verify.Signatures(c.a), image, then(), papers...)
				if len(found) != 1 || found[0].Source() != c.good.Paper.Digest || checks > verify.MaxChecks {
					t.Errorf("place %d: %d evidence, %d checks, %v", at, len(found), checks, err)
				}
			}
			f := find(t, c.a, image, then(), append(junk, c.good)...)
			if len(f.Evidence) != 1 {
				t.Errorf("a Verifier has %d evidence, unanswered %v", len(f.Evidence), f.Unanswered)
			}
		})
	}
}

// TestRow46_APaperThatCostsMoreThanItsShareIsJudgedWithTheRest: where others leave something, and no further.
func TestRow46_APaperThatCostsMoreThanItsShareIsJudgedWithTheRest(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	var keys []verify.Key
	for i := range verify.MaxKeys {
		keys = append(keys, verifytest.NewSigner(t, byte(i+1)).Key())
	}
	a, err := verify.NewKeyAuthority("keys", keys, verify.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	good := verifytest.LegacySignature(verifytest.NewSigner(t, verify.MaxKeys), image)
	stranger := verifytest.NewSigner(t, 200)
	for n, want := range map[int]int{0: 1, 7: 1, 8: 0} { // eight of 64 keys each, one more, and there is nothing left
		papers := append(slices.Repeat([]verify.Candidate{verifytest.LegacySignature(stranger, image)}, n), good)
		found, checks, err := verify.Spent(t.Context(), verify.Signatures(a), image, then(), papers...)
		if len(found) != want || checks > verify.MaxChecks || (err == nil) != (want == 1) {
			t.Errorf("after %d others: %d evidence, %d checks, %v", n, len(found), checks, err)
		}
		if want == 1 && checks != (n+1)*verify.MaxKeys {
			t.Errorf("after %d others: %d checks, want each key once for each", n, checks)
		}
	}
}

// brief is a context that ends after it was asked so often.
type brief struct {
	context.Context
	left *int
}

// Err implements context.Context.
func (b brief) Err() error {
	if *b.left--; *b.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestRow46_WhatWasFoundWhenTheTimeEndedCounts: one slow paper doesn't take away what was found before it.
func TestRow46_WhatWasFoundWhenTheTimeEndedCounts(t *testing.T) {
	t.Parallel()
	image, key, stranger := verifytest.Digest("image"), verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	q, reg := verify.Signatures(verifytest.Authority(t, "key", key)), verifytest.NewRegistry()
	papers := []verify.Candidate{verifytest.Bundle(key, image, verify.CosignSign, "0.3"), verifytest.LegacySignature(stranger, image)}
	v := newVerifier(t, verify.Options{Clock: then})
	var partial int
	for n := range 16 {
		left := n
		f := verify.Judge(brief{t.Context(), &left}, v, reg, at(image), q, papers...)
		if done := left >= 0; done != (len(f.Unanswered) == 0) {
			t.Fatalf("ended after %d: %t, unanswered %v", n, !done, f.Unanswered)
		}
		if len(f.Unanswered) == 0 {
			if len(f.Evidence) != 1 || len(f.Misses) != 1 {
				t.Fatalf("%+v", f)
			}
			break
		}
		if f.Unanswered[0].Answer() {
			t.Errorf("ended after %d: %v is told as an answer", n, f.Unanswered[0])
		}
		if partial += len(f.Evidence); len(f.Misses) != 0 {
			t.Errorf("ended after %d: misses %+v", n, f.Misses)
		}
		if _, held := v.Size(); held != 0 {
			t.Errorf("ended after %d: what is known in part is held", n)
		}
	}
	if partial == 0 {
		t.Error("the evidence was never found before the time ended")
	}
}

// TestRow50_NothingIsReadOnceTheTimeHasEnded: to read a paper is work as well.
func TestRow50_NothingIsReadOnceTheTimeHasEnded(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := verify.Signatures(verifytest.Authority(t, "key", verifytest.NewSigner(t, 1)))
	broken := verify.Candidate{Paper: verify.Paper{Kind: verify.Referrer}, Payload: []byte("{")} // if it were read, it would be a miss
	if _, miss, err := verify.Examine(ctx, q, image, broken, then()); err == nil || miss != nil {
		t.Errorf("missed %+v, %v", miss, err)
	}
	if _, _, err := verify.Spent(ctx, q, image, then(), broken, broken); err == nil {
		t.Error("two were examined")
	}
}
