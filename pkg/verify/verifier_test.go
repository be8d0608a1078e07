package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

var repository = name.MustParseReference("registry.example/app:1").Context()

func at(h v1.Hash) name.Digest { return repository.Digest(h.String()) }

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}
func (c *clock) pass(d time.Duration) { c.mu.Lock(); c.now = c.now.Add(d); c.mu.Unlock() }

func newVerifier(t testing.TB, o verify.Options) *verify.Verifier {
	t.Helper()
	v, err := verify.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func one(t testing.TB, v *verify.Verifier, f verify.Fetcher, h v1.Hash, a verify.Authority, fresh verify.Freshness) verify.Findings {
	t.Helper()
	out := v.Findings(t.Context(), f, at(h), verify.SignaturesBy(a), fresh)
	if len(out) != 1 {
		t.Fatalf("%d findings for one authority", len(out))
	}
	return out[0]
}

func TestEveryLayoutSignedByTheAuthorityIsEvidence(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	for what, c := range map[string]verify.Candidate{
		"a legacy signature": verifytest.LegacySignature(s, image),
		"a bundle v0.1":      verifytest.Bundle(s, image, verify.CosignSign, "0.1"),
		"a bundle v0.2":      verifytest.Bundle(s, image, verify.CosignSign, "0.2"),
		"a bundle v0.3":      verifytest.Bundle(s, image, verify.CosignSign, "0.3"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Attach(image, c)
			f := one(t, newVerifier(t, verify.Options{}), reg, image, verifytest.Authority(t, "release", s), verify.Held)
			if len(f.Evidence) != 1 || len(f.Misses) != 0 || len(f.Unanswered) != 0 {
				t.Fatalf("findings %+v, want one piece of evidence", f)
			}
			e := f.Evidence[0]
			if e.Subject() != image || e.Signer() != s.Key().Fingerprint() || e.PredicateType() != verify.CosignSign {
				t.Errorf("evidence is about %s by %s of type %s", e.Subject(), e.Signer(), e.PredicateType())
			}
		})
	}
}

func TestWhatIsNoEvidenceIsAMissThatSaysWhy(t *testing.T) {
	t.Parallel()
	s, other, image := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Digest("image")
	mangled := verifytest.LegacySignature(s, image)
	mangled.Payload = append([]byte(nil), mangled.Payload...)
	mangled.Payload[len(mangled.Payload)-2] = ' '
	wrongPayloadType := verifytest.SignPayload(s, []byte(`{"critical":{"image":{"docker-manifest-digest":"`+image.String()+`"},"type":"atomic container signature"}}`))
	twice := `{"critical":{"image":{"docker-manifest-digest":"` + verifytest.Digest("x").String() + `","docker-manifest-digest":"` + image.String() + `"},"type":"cosign container image signature"}}`
	for what, tc := range map[string]struct {
		c    verify.Candidate
		want verify.MissReason
	}{
		"a legacy signature by another key":       {verifytest.LegacySignature(other, image), verify.MissOtherSigner},
		"a bundle by another key":                 {verifytest.Bundle(other, image, verify.CosignSign, "0.3"), verify.MissOtherSigner},
		"a legacy signature for another digest":   {verifytest.LegacySignature(s, verifytest.Digest("x")), verify.MissOtherSubject},
		"a bundle for another digest":             {verifytest.Bundle(s, verifytest.Digest("x"), verify.CosignSign, "0.3"), verify.MissOtherSubject},
		"a payload changed after it was signed":   {mangled, verify.MissMalformed},
		"a payload of another type":               {wrongPayloadType, verify.MissMalformed},
		"a payload that names the digest twice":   {verifytest.SignPayload(s, []byte(twice)), verify.MissMalformed},
		"a statement with two subject lists":      {verifytest.BundleOf(s, []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"`+image.Hex+`"}}],"Subject":[],"predicateType":"`+verify.CosignSign+`"}`), "0.3"), verify.MissMalformed},
		"a statement with a null subject":         {verifytest.BundleOf(s, []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[null],"predicateType":"`+verify.CosignSign+`"}`), "0.3"), verify.MissMalformed},
		"a statement without a subject":           {verifytest.BundleOf(s, []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"`+verify.CosignSign+`"}`), "0.3"), verify.MissMalformed},
		"a bundle of an unknown version":          {verifytest.Bundle(s, image, verify.CosignSign, "0.9"), verify.MissMalformed},
		"a legacy attestation of an SBOM":         {verifytest.LegacyAttestation(s, image, "https://spdx.dev/Document", "https://spdx.dev/Document"), verify.MissOtherType},
		"something that isn't JSON":               {verify.Candidate{Payload: []byte("\x00"), Paper: verify.Paper{Kind: verify.Referrer, Digest: verifytest.Digest("junk")}}, verify.MissMalformed},
		"a bundle with a certificate, under keys": {certificateBundle(image), verify.MissMalformed},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Attach(image, tc.c)
			f := one(t, newVerifier(t, verify.Options{}), reg, image, verifytest.Authority(t, "release", s), verify.Held)
			if len(f.Evidence) != 0 {
				t.Fatalf("it became evidence: %+v", f.Evidence)
			}
			if len(f.Misses) != 1 || f.Misses[0].Reason != tc.want {
				t.Errorf("misses %+v, want one of reason %d", f.Misses, tc.want)
			}
		})
	}
}

// certificateBundle has a certificate where a key's bundle has a hint.
func certificateBundle(v1.Hash) verify.Candidate {
	doc := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"AAAA"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`
	return verify.Candidate{Payload: []byte(doc), Paper: verify.Paper{Kind: verify.Referrer, Digest: verifytest.Digest(doc)}}
}

func TestAnAttestationIsNoSignature(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	reg.Attach(image, verifytest.Bundle(s, image, "https://spdx.dev/Document", "0.3")) // without a hint, so it is fetched
	f := one(t, newVerifier(t, verify.Options{}), reg, image, verifytest.Authority(t, "release", s), verify.Held)
	if len(f.Evidence) != 0 || len(f.Misses) != 1 || f.Misses[0].Reason != verify.MissOtherType || f.Misses[0].Claimed != "https://spdx.dev/Document" {
		t.Fatalf("findings %+v, want a miss that names the SBOM's type", f)
	}
}

// TestWhatIsGoneIsNotKeptBecauseAnotherPlaceFails: an outage keeps only what the failing place may still have.
func TestWhatIsGoneIsNotKeptBecauseAnotherPlaceFails(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	authority := verifytest.Authority(t, "release", s)
	for what, tc := range map[string]struct {
		place verify.Place
		kept  bool
	}{
		"the place it was in fails":     {verify.PlaceSignatures, true},
		"another fails, and it is gone": {verify.PlaceReferrers, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg, c := verifytest.NewRegistry(), newClock()
			reg.Sign(s, image)
			v := newVerifier(t, verify.Options{Clock: c.Now})
			one(t, v, reg, image, authority, verify.Held)
			reg.Clear(image)
			reg.FailPlace(&verify.FetchError{Place: tc.place, Err: errors.New("429")})
			c.pass(23 * time.Hour)
			f := one(t, v, reg, image, authority, verify.Held)
			if (len(f.Evidence) == 1) != tc.kept || f.Stale != tc.kept {
				t.Errorf("evidence %d, stale %t", len(f.Evidence), f.Stale)
			}
		})
	}
	t.Run("it is listed and can't be fetched", func(t *testing.T) {
		reg, c := verifytest.NewRegistry(), newClock()
		reg.Sign(s, image)
		v := newVerifier(t, verify.Options{Clock: c.Now})
		one(t, v, reg, image, authority, verify.Held)
		reg.FailFetch(&verify.FetchError{Place: verify.PlaceSignatures, Err: errors.New("503")})
		c.pass(time.Hour)
		if f := one(t, v, reg, image, authority, verify.Held); len(f.Evidence) != 1 || !f.Stale {
			t.Errorf("findings %+v", f)
		}
	})
}

// TestARegistryThatHangsIsAnOutageToo: who runs out of time is served what is held, marked, and every time alike.
func TestARegistryThatHangsIsAnOutageToo(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	authority := verifytest.Authority(t, "release", s)
	reg, c := verifytest.NewRegistry(), newClock()
	reg.Sign(s, image)
	v := newVerifier(t, verify.Options{Clock: c.Now})
	one(t, v, reg, image, authority, verify.Held)
	c.pass(time.Hour)
	defer reg.Block()()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		f := v.Findings(ctx, reg, at(image), verify.SignaturesBy(authority), verify.Held)[0]
		if len(f.Evidence) != 1 || !f.Stale || len(f.Unanswered) == 0 {
			t.Fatalf("findings %+v", f)
		}
	}
}

func TestSignatureChecksAreBounded(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	var many []verifytest.Signer
	for i := range byte(verify.MaxKeys) {
		many = append(many, verifytest.NewSigner(t, i))
	}
	authority, junk := verifytest.Authority(t, "many", many...), verifytest.NewSigner(t, 200)
	reg := verifytest.NewRegistry()
	for i := range verify.MaxVerified {
		reg.Attach(image, verifytest.SignPayload(junk, fmt.Appendf(nil, `{"critical":{"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":{"n":%d}}`, image, i)))
	}
	f := one(t, newVerifier(t, verify.Options{}), reg, image, authority, verify.Anew)
	if len(f.Evidence) != 0 || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.TooMany {
		t.Errorf("findings %+v", f)
	}
	t.Run("a bundle that hints at its key costs one", func(t *testing.T) {
		reg := verifytest.NewRegistry()
		for _, s := range many {
			reg.Attach(image, verifytest.Bundle(s, image, verify.CosignSign, "0.3"))
		}
		if f := one(t, newVerifier(t, verify.Options{}), reg, image, authority, verify.Anew); len(f.Evidence) != verify.MaxVerified || len(f.Unanswered) != 0 {
			t.Errorf("%d pieces of evidence, unanswered %v", len(f.Evidence), f.Unanswered)
		}
	})
	t.Run("who has no time gets no answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f := newVerifier(t, verify.Options{}).Findings(ctx, reg, at(image), verify.SignaturesBy(authority), verify.Held)[0]
		if len(f.Evidence) != 0 || len(f.Unanswered) == 0 {
			t.Errorf("findings %+v", f)
		}
	})
}

func TestFailuresAreKeptBriefly(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	var long []*verify.FetchError
	for range 64 {
		long = append(long, &verify.FetchError{Kind: verify.NotFound, Place: verify.PlaceReferrers, Host: "r.example", Err: errors.New(strings.Repeat("x", 4096))})
	}
	reg.FailPlace(append(long, &verify.FetchError{Err: errors.New("503")})...)
	v := newVerifier(t, verify.Options{})
	f := one(t, v, reg, image, verifytest.Authority(t, "release", s), verify.Held)
	if len(f.Unanswered) != verify.MaxUnanswered || f.Unanswered[0].Kind != verify.Unavailable {
		t.Fatalf("%d failures kept, the first %s", len(f.Unanswered), f.Unanswered[0].Kind)
	}
	reg.FailPlace(long...)
	f = one(t, v, reg, image, verifytest.Authority(t, "release", s), verify.Anew)
	bytes, _ := v.Size()
	if n := len(f.Unanswered[0].Err.Error()); n > 400 || bytes < int64(n*len(f.Unanswered)) {
		t.Errorf("a failure of %d bytes is held, and %d bytes are counted", n, bytes)
	}
}

func TestRow61_NoErrorIsTakenForSuccess(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	boom := &verify.FetchError{Err: errors.New("boom")}
	for what, harm := range map[string]func(*verifytest.Registry){
		"listing fails":                   func(r *verifytest.Registry) { r.Fail(boom) },
		"listing fails with a bare error": func(r *verifytest.Registry) { r.Fail(errors.New("bare")) },
		"one place doesn't answer":        func(r *verifytest.Registry) { r.FailPlace(boom) },
		"fetching fails":                  func(r *verifytest.Registry) { r.Sign(verifytest.NewSigner(t, 9), image); r.FailFetch(boom) },
		"the image is not there": func(r *verifytest.Registry) {
			r.Fail(&verify.FetchError{Kind: verify.NotFound, Err: errors.New("404")})
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			harm(reg)
			f := one(t, newVerifier(t, verify.Options{}), reg, image, verifytest.Authority(t, "release", s), verify.Held)
			if len(f.Evidence) != 0 || len(f.Unanswered) == 0 {
				t.Fatalf("findings %+v: want no evidence, and that something is unanswered", f)
			}
		})
	}
	if f := (verify.Findings{}); len(f.Evidence) != 0 {
		t.Fatal("the zero Findings has evidence")
	}
	if e := (verify.Evidence{}); e.Subject() == image || e.PredicateType() == verify.CosignSign {
		t.Fatal("the zero Evidence is about something")
	}
}

func TestRow89_EachPartOfTheKeyAloneIsAMiss(t *testing.T) {
	t.Parallel()
	s, other := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	image, image2 := verifytest.Digest("image"), verifytest.Digest("image2")
	base, creds := verifytest.NewRegistry(), verifytest.NewRegistry()
	creds.Creds = verify.Access{1}
	for _, r := range []*verifytest.Registry{base, creds} {
		r.Sign(s, image)
		r.Sign(s, image2)
	}
	elsewhere := name.MustParseReference("registry.example/other:1").Context()
	authority := verifytest.Authority(t, "release", s)
	for what, ask := range map[string]func(*verify.Verifier){
		"another digest": func(v *verify.Verifier) {
			v.Findings(t.Context(), base, at(image2), verify.SignaturesBy(authority), verify.Held)
		},
		"another repository": func(v *verify.Verifier) {
			v.Findings(t.Context(), base, elsewhere.Digest(image.String()), verify.SignaturesBy(authority), verify.Held)
		},
		"another authority's key": func(v *verify.Verifier) {
			v.Findings(t.Context(), base, at(image), verify.SignaturesBy(verifytest.Authority(t, "release", other)), verify.Held)
		},
		"other credentials": func(v *verify.Verifier) {
			v.Findings(t.Context(), creds, at(image), verify.SignaturesBy(authority), verify.Held)
		},
	} {
		t.Run(what, func(t *testing.T) {
			var hits, misses int
			v := newVerifier(t, verify.Options{Observe: func(e verify.Event) {
				switch e {
				case verify.EventHit:
					hits++
				case verify.EventMiss:
					misses++
				}
			}})
			one(t, v, base, image, authority, verify.Held)
			one(t, v, base, image, authority, verify.Held)
			if hits != 1 || misses != 1 {
				t.Fatalf("the same question twice: %d hits, %d misses", hits, misses)
			}
			shown := creds.Shown()
			ask(v)
			if misses != 2 && creds.Shown() != shown+1 { // other credentials are asked about by the image's manifest
				t.Errorf("it was answered from what is known of something else")
			}
		})
	}
	t.Run("another name for the same key is the same authority", func(t *testing.T) {
		if verifytest.Authority(t, "a", s).Fingerprint() != verifytest.Authority(t, "b", s).Fingerprint() {
			t.Error("a fingerprint depends on the name")
		}
	})
}

func TestHowLongFindingsAreGoodFor(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	authority := verifytest.Authority(t, "release", s)
	for what, tc := range map[string]struct {
		signed bool
		age    time.Duration
		fresh  verify.Freshness
		asks   bool
	}{
		"evidence is served for ten minutes":                        {true, verify.ServeFor, verify.Held, false},
		"evidence of over twenty minutes is listed first":           {true, verify.RefreshFor + 1, verify.Held, true},
		"nothing found is believed for five seconds":                {false, verify.NothingFor, verify.Held, false},
		"nothing found is not believed for longer":                  {false, verify.NothingFor + 1, verify.Held, true},
		"who is about to be refused gets a listing of five seconds": {true, verify.NothingFor, verify.Anew, false},
		"who is about to be refused gets no older one":              {true, verify.NothingFor + 1, verify.Anew, true},
		"a clock that was set back trusts nothing":                  {true, -time.Second, verify.Held, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg, c := verifytest.NewRegistry(), newClock()
			if tc.signed {
				reg.Sign(s, image)
			}
			v := newVerifier(t, verify.Options{Clock: c.Now})
			one(t, v, reg, image, authority, verify.Held)
			c.pass(tc.age)
			one(t, v, reg, image, authority, tc.fresh)
			if lists, _ := reg.Counts(); (lists == 2) != tc.asks {
				t.Errorf("%d listings after %s", lists, tc.age)
			}
		})
	}
}

func TestBetweenTenAndTwentyMinutesPapersAreListedBehindTheRequest(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg, c := verifytest.NewRegistry(), newClock()
	reg.Sign(s, image)
	v := newVerifier(t, verify.Options{Clock: c.Now})
	authority := verifytest.Authority(t, "release", s)
	one(t, v, reg, image, authority, verify.Held)
	c.pass(verify.ServeFor + time.Second)
	release := reg.Block()
	if f := one(t, v, reg, image, authority, verify.Held); len(f.Evidence) != 1 {
		t.Fatal("the request waited for, or lost, its evidence")
	}
	release()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if f := one(t, v, reg, image, authority, verify.Held); f.ListedAt.Equal(c.Now()) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the papers were never listed anew")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWhileTheRegistryFailsEvidenceIsKeptForADayAndMarked(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	authority := verifytest.Authority(t, "release", s)
	outage := &verify.FetchError{Kind: verify.Unavailable, Err: errors.New("connection refused")}
	for what, tc := range map[string]struct {
		age  time.Duration
		err  *verify.FetchError
		kept bool
	}{
		"an outage within a day":            {verify.KeepFor, outage, true},
		"an outage of more than a day":      {verify.KeepFor + 1, outage, false},
		"a 403 is an answer":                {time.Hour, &verify.FetchError{Kind: verify.Unauthorized, Err: errors.New("403")}, false},
		"a 404 is an answer":                {time.Hour, &verify.FetchError{Kind: verify.NotFound, Err: errors.New("404")}, false},
		"a malformed manifest is an answer": {time.Hour, &verify.FetchError{Kind: verify.Malformed, Err: errors.New("both")}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			reg, c := verifytest.NewRegistry(), newClock()
			reg.Sign(s, image)
			v := newVerifier(t, verify.Options{Clock: c.Now})
			one(t, v, reg, image, authority, verify.Held)
			c.pass(tc.age)
			reg.Fail(tc.err)
			f := one(t, v, reg, image, authority, verify.Held)
			if (len(f.Evidence) == 1) != tc.kept || f.Stale != tc.kept {
				t.Errorf("evidence %d, stale %t", len(f.Evidence), f.Stale)
			}
			if len(f.Unanswered) == 0 {
				t.Error("the outage isn't told")
			}
			reg.Fail(nil)
			reg.Clear(image)
			if f := one(t, v, reg, image, authority, verify.Anew); len(f.Evidence) != 0 || f.Stale {
				t.Error("evidence outlives the registry's own word that it is gone")
			}
		})
	}
}

func TestAPlaceThatAlwaysSaysForbiddenDoesNotKeepEvidenceFromBeingHeld(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg, c := verifytest.NewRegistry(), newClock()
	reg.Sign(s, image)
	v, authority := newVerifier(t, verify.Options{Clock: c.Now}), verifytest.Authority(t, "release", s)
	for kind, unanswered := range map[verify.FetchKind]int{verify.Unauthorized: 1, verify.Malformed: 0} {
		reg.FailPlace(&verify.FetchError{Kind: kind, Place: verify.PlaceReferrers, Err: errors.New("always")})
		c.pass(verify.KeepFor)
		before, _ := reg.Counts()
		one(t, v, reg, image, authority, verify.Held)
		c.pass(verify.ServeFor)
		f := one(t, v, reg, image, authority, verify.Held)
		if lists, _ := reg.Counts(); lists != before+1 || len(f.Evidence) != 1 || len(f.Unanswered) != unanswered {
			t.Errorf("%s: %d listings, findings %+v", kind, lists-before, f)
		}
	}
}

func TestRow93_AFailureIsNeverKept(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg, c := verifytest.NewRegistry(), newClock()
	reg.Sign(s, image)
	v, authority := newVerifier(t, verify.Options{Clock: c.Now}), verifytest.Authority(t, "release", s)
	reg.Fail(&verify.FetchError{Err: errors.New("503")})
	if f := one(t, v, reg, image, authority, verify.Held); len(f.Evidence) != 0 {
		t.Fatal("evidence out of nothing")
	}
	reg.Fail(nil)
	if f := one(t, v, reg, image, authority, verify.Held); len(f.Evidence) != 1 {
		t.Fatal("the failure was kept")
	}
}

func TestAThousandWhoWaitCostOneListing(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	reg.Sign(s, image)
	release := reg.Block()
	v, authority := newVerifier(t, verify.Options{}), verifytest.Authority(t, "release", s)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if f := one(t, v, reg, image, authority, verify.Held); len(f.Evidence) != 1 {
				t.Error("one of them got nothing")
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	release()
	wg.Wait()
	// Whoever came after the first answer was served from what is known, so there is no other listing.
	if lists, fetches := reg.Counts(); lists != 1 || fetches != 1 {
		t.Errorf("%d listings and %d fetches", lists, fetches)
	}
}

func TestAGatheringDoesNotDieWithItsFirstCaller(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	reg := verifytest.NewRegistry()
	reg.Sign(s, image)
	release := reg.Block()
	v, authority := newVerifier(t, verify.Options{}), verifytest.Authority(t, "release", s)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan []verify.Findings)
	go func() { first <- v.Findings(ctx, reg, at(image), verify.SignaturesBy(authority), verify.Held) }()
	for lists := 0; lists == 0; lists, _ = reg.Counts() {
		time.Sleep(time.Millisecond)
	}
	second := make(chan []verify.Findings)
	go func() { second <- v.Findings(t.Context(), reg, at(image), verify.SignaturesBy(authority), verify.Held) }()
	time.Sleep(10 * time.Millisecond)
	cancel()
	if f := <-first; len(f[0].Unanswered) == 0 || len(f[0].Evidence) != 0 {
		t.Errorf("who left got %+v", f[0])
	}
	release()
	if f := <-second; len(f[0].Evidence) != 1 {
		t.Errorf("who stayed got %+v", f[0])
	}
}

// panicky panics where a Fetcher should not.
type panicky struct {
	*verifytest.Registry
	list bool
}

func (p panicky) List(ctx context.Context, image name.Digest, types []string) (verify.Listing, error) {
	if p.list {
		panic("list")
	}
	return p.Registry.List(ctx, image, types)
}

func (p panicky) Fetch(context.Context, name.Digest, verify.Paper, int64) (verify.Candidate, error) {
	panic("fetch")
}

func TestRow96_APanicInAnyGoroutineIsARefusalAndCounted(t *testing.T) {
	t.Parallel()
	s, image := verifytest.NewSigner(t, 1), verifytest.Digest("image")
	for _, inList := range []bool{true, false} {
		t.Run(fmt.Sprintf("in List %t", inList), func(t *testing.T) {
			t.Parallel()
			reg := verifytest.NewRegistry()
			reg.Sign(s, image)
			var mu sync.Mutex
			panics := 0
			v := newVerifier(t, verify.Options{Panicked: func(any, []byte) { mu.Lock(); panics++; mu.Unlock() }})
			f := one(t, v, panicky{reg, inList}, image, verifytest.Authority(t, "release", s), verify.Held)
			if len(f.Evidence) != 0 || len(f.Unanswered) == 0 {
				t.Fatalf("findings %+v", f)
			}
			mu.Lock()
			defer mu.Unlock()
			if panics == 0 {
				t.Error("the panic wasn't told")
			}
		})
	}
}

func TestMoreThanTheBoundOfPapersIsRefusedAndNotJudgedByAPart(t *testing.T) {
	t.Parallel()
	s, junk, image := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.Digest("image")
	authority := verifytest.Authority(t, "release", s)
	fill := func(n int, make func(i int) verify.Candidate) *verifytest.Registry {
		reg := verifytest.NewRegistry()
		reg.Sign(s, image)
		for i := range n {
			reg.Attach(image, make(i))
		}
		return reg
	}
	signature := func(i int) verify.Candidate {
		return verifytest.SignPayload(junk, fmt.Appendf(nil, `{"critical":{"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":{"n":%d}}`, image, i))
	}
	sbom := func(i int) verify.Candidate {
		c := verifytest.LegacyAttestation(junk, verifytest.Digest(fmt.Sprint(i)), "https://spdx.dev/Document", "https://spdx.dev/Document")
		return c
	}
	v := newVerifier(t, verify.Options{})
	if f := one(t, v, fill(63, signature), image, authority, verify.Anew); len(f.Evidence) != 1 || len(f.Unanswered) != 0 {
		t.Errorf("one good among 63 others: %d pieces of evidence, %v", len(f.Evidence), f.Unanswered)
	}
	for what, reg := range map[string]*verifytest.Registry{"64 more to verify": fill(64, signature), "1000 more attached": fill(1000, sbom)} {
		f := one(t, newVerifier(t, verify.Options{}), reg, image, authority, verify.Anew)
		if len(f.Evidence) != 0 || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.TooMany {
			t.Errorf("%s: %d pieces of evidence, unanswered %v", what, len(f.Evidence), f.Unanswered)
		}
	}
}

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigner(t, 1)
	reg, authority := verifytest.NewRegistry(), verifytest.Authority(t, "release", s)
	const most = 256 << 10
	evicted := 0
	v := newVerifier(t, verify.Options{CacheBytes: most, Observe: func(e verify.Event) {
		if e == verify.EventEvicted {
			evicted++
		}
	}})
	for i := range 1000 {
		image := verifytest.Digest(fmt.Sprint(i))
		reg.Sign(s, image)
		one(t, v, reg, image, authority, verify.Held)
		if bytes, _ := v.Size(); bytes > most {
			t.Fatalf("%d bytes held, at most %d", bytes, most)
		}
	}
	if evicted == 0 {
		t.Error("nothing was evicted")
	}
}

func TestRow95_MixedQuestionsAtOnceAreAnsweredRight(t *testing.T) {
	t.Parallel()
	s, other := verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2)
	reg := verifytest.NewRegistry()
	signed, unsigned := verifytest.Digest("signed"), verifytest.Digest("unsigned")
	reg.Sign(s, signed)
	reg.Attach(signed, verifytest.Bundle(s, signed, verify.CosignSign, "0.3"))
	reg.Sign(other, unsigned)
	v := newVerifier(t, verify.Options{CacheBytes: 96 << 10}) // so small that entries come and go
	authority := verifytest.Authority(t, "release", s)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 20 {
				image, want := signed, 2
				if (i+n)%2 == 0 {
					image, want = unsigned, 0
				}
				fresh := verify.Held
				if n%3 == 0 {
					fresh = verify.Anew
				}
				if f := one(t, v, reg, image, authority, fresh); len(f.Evidence) != want {
					t.Errorf("%d pieces of evidence, want %d", len(f.Evidence), want)
				}
			}
		}()
	}
	wg.Wait()
}
