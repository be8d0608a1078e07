package verify_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// then is a clock that stands at the time when things are signed.
func then() time.Time { return verifytest.Then() }

// find asks a new Verifier what an authority said in one paper.
func find(t testing.TB, a verify.Authority, image v1.Hash, now time.Time, papers ...verify.Candidate) verify.Findings {
	t.Helper()
	reg := verifytest.NewRegistry()
	for _, c := range papers {
		reg.Attach(image, c)
	}
	return one(t, newVerifier(t, verify.Options{Clock: func() time.Time { return now }}), reg, image, a, verify.Held)
}

// verified fails the test unless the paper is evidence of the authority, which it returns.
func verified(t testing.TB, a verify.Authority, image v1.Hash, now time.Time, paper verify.Candidate) verify.Evidence {
	t.Helper()
	f := find(t, a, image, now, paper)
	if len(f.Evidence) != 1 || len(f.Misses) != 0 || len(f.Unanswered) != 0 {
		t.Fatalf("not verified: misses %+v, unanswered %v", f.Misses, f.Unanswered)
	}
	if e := f.Evidence[0]; e.Subject() != image || e.Authority() != a.Fingerprint() {
		t.Fatalf("evidence about %s by %s", e.Subject(), e.Authority())
	}
	return f.Evidence[0]
}

// refused fails the test if the paper is evidence, or is missed for another reason than one of some.
func refused(t testing.TB, a verify.Authority, image v1.Hash, now time.Time, paper verify.Candidate, want ...verify.MissReason) verify.Miss {
	t.Helper()
	f := find(t, a, image, now, paper)
	if len(f.Evidence) != 0 {
		t.Fatalf("it became evidence: %+v", f.Evidence)
	}
	if len(f.Misses) != 1 || len(f.Unanswered) != 0 {
		t.Fatalf("misses %+v, unanswered %v: want one miss", f.Misses, f.Unanswered)
	}
	for _, w := range want {
		if f.Misses[0].Reason == w {
			return f.Misses[0]
		}
	}
	if len(want) > 0 {
		t.Fatalf("missed for %d (%s %s), want one of %v", f.Misses[0].Reason, f.Misses[0].Claimed, f.Misses[0].Why, want)
	}
	return f.Misses[0]
}

// object is a bundle as JSON, to be changed.
func object(t testing.TB, c verify.Candidate) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(c.Payload)))
	dec.UseNumber() // what isn't changed stays as it is
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// down goes down a JSON object; a number is an index.
func down(t testing.TB, v any, path ...any) map[string]any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	out, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("no object at %v", path)
	}
	return out
}

// flipped is a base64 text with its last byte changed.
func flipped(t testing.TB, text any) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text.(string))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	return base64.StdEncoding.EncodeToString(data)
}

// kind is a way of signing, and an authority that believes it.
type kind struct {
	name string
	by   verifytest.Signing
	// authority and stranger are the one that signs, and one of another name in the same trust.
	authority, stranger verify.Authority
	// expired is the same signer too late, or seen by a log that is out of its time; and when that is judged. Without it nothing expires.
	expired *verifytest.Signing
	window  verify.Authority // what believes it, if another
	late    time.Time
	// swap takes a part of another signature of the same signer's into this one: its log entries or timestamps.
	swap string
	seen bool // a time is verified
}

func kinds(t testing.TB, s *verifytest.Sigstore) []kind {
	t.Helper()
	trust := s.Trust(t, verify.DefaultThresholds())
	must := func(a verify.Authority, err error) verify.Authority {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	identity := func(subject string) []verify.Identity {
		id, err := verify.NewIdentity(verify.IdentitySpec{Issuer: verifytest.Someone().Issuer, Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		return []verify.Identity{id}
	}
	key, other, someone := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Someone()
	byKey := func(s verifytest.Signer, terms verify.Terms) verify.Authority {
		return must(verify.NewKeyAuthority("key", []verify.Key{s.Key()}, terms))
	}
	keyless := func(subject string, terms verify.Terms) verify.Authority {
		return must(verify.NewKeylessAuthority("keyless", trust, identity(subject), terms))
	}
	logged, stamped := verify.Terms{Log: verify.Required, Trust: trust}, verify.Terms{Log: verify.Optional, Timestamp: verify.Required}
	before := verifytest.All()
	before.RekorV1 = new(verifytest.Window)
	*before.RekorV1 = verifytest.Before()
	expiredLog := verify.Terms{Log: verify.Required, Trust: s.TrustOf(t, before, verify.DefaultThresholds())}

	short := verifytest.Window{From: then().Add(-time.Hour), Until: then().Add(time.Hour)}
	pki := verifytest.NewPKI(t, verifytest.Always()).Intermediate(t, verifytest.Always())
	holder := pki.Issue(t, verifytest.Leaf{Emails: []string{"lead@corp.example"}, Valid: short})
	late := then().Add(2 * time.Hour)
	outdated := someone
	outdated.Valid = verifytest.Window{From: then().Add(-time.Hour), Until: then().Add(-time.Minute)}

	v1Logs, v2Logs := []verifytest.Log{verifytest.RekorV1}, []verifytest.Log{verifytest.RekorV2}
	return []kind{
		{name: "a key", by: verifytest.Signing{Key: &key}, authority: byKey(key, verify.Terms{}), stranger: byKey(other, verify.Terms{})},
		{name: "a key with a log entry", by: verifytest.Signing{Key: &key, Logs: v1Logs}, authority: byKey(key, logged), stranger: byKey(other, logged),
			expired: &verifytest.Signing{Key: &key, Logs: v1Logs}, window: byKey(key, expiredLog), swap: "tlogEntries", seen: true},
		{name: "keyless in Rekor v1", by: verifytest.Signing{Person: &someone, Logs: v1Logs}, authority: keyless(someone.Subject, verify.Terms{}), stranger: keyless("x@example.com", verify.Terms{}),
			expired: &verifytest.Signing{Person: &outdated, Logs: v1Logs}, swap: "tlogEntries", seen: true},
		{name: "keyless in Rekor v2", by: verifytest.Signing{Person: &someone, Logs: v2Logs, Stamps: []int{0}}, authority: keyless(someone.Subject, verify.Terms{}), stranger: keyless("x@example.com", verify.Terms{}),
			expired: &verifytest.Signing{Person: &outdated, Logs: v2Logs, Stamps: []int{0}}, swap: "tlogEntries", seen: true},
		{name: "keyless with a timestamp alone", by: verifytest.Signing{Person: &someone, Stamps: []int{0}}, authority: keyless(someone.Subject, stamped), stranger: keyless("x@example.com", stamped),
			expired: &verifytest.Signing{Person: &outdated, Stamps: []int{0}}, swap: "timestampVerificationData", seen: true},
		{name: "a certificate of an own PKI", by: verifytest.Signing{Holder: &holder, Chain: true},
			authority: pki.Authority(t, "pki", verify.Terms{}, "lead@corp.example"), stranger: pki.Authority(t, "pki", verify.Terms{}, "x@corp.example"),
			expired: &verifytest.Signing{Holder: &holder, Chain: true}, late: late},
		{name: "a certificate of an own PKI with a log entry", by: verifytest.Signing{Holder: &holder, Chain: true, Logs: v1Logs},
			authority: pki.Authority(t, "pki", logged, "lead@corp.example"), stranger: pki.Authority(t, "pki", logged, "x@corp.example"),
			expired: &verifytest.Signing{Holder: &holder, Chain: true, Logs: v1Logs, At: late}, swap: "tlogEntries", seen: true},
	}
}

func TestEverySignerIsVerifiedAndRefusedForWhatIsWrong(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigstore(t), verifytest.Digest("image")
	for _, k := range kinds(t, s) {
		t.Run(k.name+" is verified", func(t *testing.T) {
			t.Parallel()
			e := verified(t, k.authority, image, then(), s.Sign(t, k.by, image))
			if e.PredicateType() != verify.CosignSign || e.Form() != verify.FormBundle || e.Who() == "" || e.Key() == (verify.Fingerprint{}) || e.Signer() == (verify.Fingerprint{}) {
				t.Errorf("evidence %+v", e)
			}
			if got := e.Time(); got.Equal(then()) != k.seen || got.IsZero() == k.seen {
				t.Errorf("verified time %s", got)
			}
		})
		t.Run(k.name+" is refused with another identity", func(t *testing.T) {
			t.Parallel()
			refused(t, k.stranger, image, then(), s.Sign(t, k.by, image), verify.MissOtherSigner)
		})
		t.Run(k.name+" is refused for another digest", func(t *testing.T) {
			t.Parallel()
			refused(t, k.authority, image, then(), s.Sign(t, k.by, verifytest.Digest("other")), verify.MissOtherSubject)
		})
		t.Run(k.name+" is refused with a changed signature", func(t *testing.T) {
			t.Parallel()
			b := object(t, s.Sign(t, k.by, image))
			sig := down(t, b, "dsseEnvelope", "signatures", 0)
			sig["sig"] = flipped(t, sig["sig"])
			refused(t, k.authority, image, then(), verifytest.Pack(b), verify.MissUnproven, verify.MissOtherSigner)
		})
		t.Run(k.name+" is refused with a changed payload", func(t *testing.T) {
			t.Parallel()
			b := object(t, s.Sign(t, k.by, verifytest.Digest("other")))
			down(t, b, "dsseEnvelope")["payload"] = base64.StdEncoding.EncodeToString(verifytest.Statement(image, verify.CosignSign))
			refused(t, k.authority, image, then(), verifytest.Pack(b), verify.MissUnproven, verify.MissOtherSigner)
		})
		if k.expired != nil {
			t.Run(k.name+" is refused when it has expired", func(t *testing.T) {
				t.Parallel()
				a, now := k.authority, then()
				if k.window.Name() != "" {
					a = k.window
				}
				if !k.late.IsZero() {
					now = k.late
				}
				refused(t, a, image, now, s.Sign(t, *k.expired, image), verify.MissUnproven)
			})
		}
		if k.swap != "" {
			t.Run(k.name+" is refused with the "+k.swap+" of another signature", func(t *testing.T) {
				t.Parallel()
				b, other := object(t, s.Sign(t, k.by, image)), object(t, s.Sign(t, k.by, verifytest.Digest("other")))
				down(t, b, "verificationMaterial")[k.swap] = down(t, other, "verificationMaterial")[k.swap]
				refused(t, k.authority, image, then(), verifytest.Pack(b), verify.MissUnproven)
			})
			t.Run(k.name+" is refused without its "+k.swap, func(t *testing.T) {
				t.Parallel()
				b := object(t, s.Sign(t, k.by, image))
				delete(down(t, b, "verificationMaterial"), k.swap)
				refused(t, k.authority, image, then(), verifytest.Pack(b), verify.MissUnproven)
			})
		}
		t.Run(k.name+" is refused by the trust in another instance", func(t *testing.T) {
			t.Parallel()
			for _, o := range kinds(t, verifytest.NewSigstore(t)) {
				if o.name != k.name || k.name == "a key" {
					continue
				}
				f := find(t, o.authority, image, then(), s.Sign(t, k.by, image))
				if len(f.Evidence) != 0 {
					t.Errorf("it became evidence: %+v", f.Evidence)
				}
			}
		})
	}
}

// TestABundleIsVerifiedByItself: the same through Authority.Bundle, for files and digests, whatever signs.
func TestABundleIsVerifiedByItself(t *testing.T) {
	t.Parallel()
	s, data := verifytest.NewSigstore(t), []byte("a file")
	sum := verifytest.Digest(string(data))
	text := func(b map[string]any) []byte {
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	digest := func(h v1.Hash) verify.Artifact {
		d, err := hex.DecodeString(h.Hex)
		if err != nil {
			t.Fatal(err)
		}
		return verify.ArtifactDigest([32]byte(d))
	}
	for _, k := range kinds(t, s) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			blob, statement := text(s.Blob(t, k.by, data)), s.Statement(t, k.by, sum, "https://example.com/type").Payload
			for what, tc := range map[string]struct {
				text  []byte
				about verify.Artifact
				good  bool
				as    string
			}{
				"a file that was signed":            {blob, verify.ArtifactOf(data), true, ""},
				"another file":                      {blob, verify.ArtifactOf([]byte("another")), false, ""},
				"no file":                           {blob, verify.Artifact{}, false, ""},
				"another digest":                    {blob, digest(verifytest.Digest("another")), false, ""},
				"a file that a statement is about":  {statement, verify.ArtifactOf(data), true, "https://example.com/type"},
				"a digest that a statement names":   {statement, digest(sum), true, "https://example.com/type"},
				"a digest that no statement names":  {statement, digest(verifytest.Digest("another")), false, ""},
				"a file that no statement is about": {statement, verify.ArtifactOf(nil), false, ""},
				"no bundle at all":                  {[]byte("{}"), verify.ArtifactOf(data), false, ""},
			} {
				out, err := k.authority.Bundle(t.Context(), tc.text, tc.about, then())
				if (err == nil) != tc.good || out.PredicateType != tc.as || (out.Who != "") != tc.good {
					t.Errorf("%s: %+v, %v", what, out, err)
				}
				if err == nil && !out.Time.IsZero() != k.seen {
					t.Errorf("%s: time %s", what, out.Time)
				}
				if _, err := k.stranger.Bundle(t.Context(), tc.text, tc.about, then()); err == nil {
					t.Errorf("%s: by a stranger", what)
				}
			}
		})
	}
	if _, err := (verify.Authority{}).Bundle(t.Context(), []byte("{}"), verify.ArtifactOf(data), then()); err == nil {
		t.Error("an authority that nobody made verified something")
	}
}
