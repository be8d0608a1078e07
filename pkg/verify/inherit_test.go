package verify_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// twoAccesses is one image under two pull secrets, the first of which has brought its evidence.
func twoAccesses(t *testing.T) (v *verify.Verifier, c *clock, a verify.Authority, old, fresh *verifytest.Registry, s verifytest.Signer) {
	t.Helper()
	c, s = newClock(), verifytest.NewSigner(t, 1)
	v = newVerifier(t, verify.Options{Clock: c.Now})
	old, fresh = verifytest.NewRegistry(), verifytest.NewRegistry()
	old.Creds, fresh.Creds = verify.Access{1}, verify.Access{2}
	image := verifytest.Digest("image")
	old.Sign(s, image)
	fresh.Sign(s, image)
	a = verifytest.Authority(t, "release", s)
	if f := one(t, v, old, image, a, verify.Held); len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	return v, c, a, old, fresh, s
}

func TestARotatedCredentialInheritsEvidenceAfterOneAuthorisedManifestRead(t *testing.T) {
	t.Parallel()
	v, _, a, _, fresh, _ := twoAccesses(t)
	for range 2 {
		if f := one(t, v, fresh, verifytest.Digest("image"), a, verify.Held); len(f.Evidence) != 1 {
			t.Fatalf("%+v", f)
		}
	}
	lists, fetches := fresh.Counts()
	if lists != 0 || fetches != 0 || fresh.Shown() != 1 {
		t.Errorf("%d listings, %d fetches and %d manifests: want the one manifest", lists, fetches, fresh.Shown())
	}
}

func TestACredentialThatMayNotReadTheImageInheritsNothing(t *testing.T) {
	t.Parallel()
	v, _, a, _, fresh, _ := twoAccesses(t)
	fresh.Fail(&verify.FetchError{Kind: verify.Unauthorized, Host: "registry.example", Err: errors.New("401")})
	f := one(t, v, fresh, verifytest.Digest("image"), a, verify.Held)
	if len(f.Evidence) != 0 || len(f.Unanswered) != 1 || f.Unanswered[0].Kind != verify.Unauthorized {
		t.Errorf("%+v", f)
	}
}

func TestInheritedFindingsKeepTheirAge(t *testing.T) {
	t.Parallel()
	v, c, a, _, fresh, _ := twoAccesses(t)
	image := verifytest.Digest("image")
	c.pass(verify.ServeFor - time.Second)
	one(t, v, fresh, image, a, verify.Held)
	c.pass(verify.RefreshFor)
	fresh.Clear(image)
	if f := one(t, v, fresh, image, a, verify.Held); len(f.Evidence) != 0 {
		t.Error("evidence that was 10 minutes old when it was inherited was taken for new")
	}
}

func TestWhatIsTooOldOrStaleOrAskedAnewIsNotInherited(t *testing.T) {
	t.Parallel()
	image := verifytest.Digest("image")
	t.Run("asked anew", func(t *testing.T) {
		v, _, a, _, fresh, _ := twoAccesses(t)
		fresh.Clear(image)
		if f := one(t, v, fresh, image, a, verify.Anew); len(f.Evidence) != 0 {
			t.Error("a refusal would rest on what another credential was shown")
		}
	})
	t.Run("older than it may be served", func(t *testing.T) {
		v, c, a, _, fresh, _ := twoAccesses(t)
		c.pass(verify.ServeFor + time.Second)
		one(t, v, fresh, image, a, verify.Held)
		if lists, _ := fresh.Counts(); lists != 1 {
			t.Errorf("%d listings, want one", lists)
		}
	})
	t.Run("one authority of two is not known", func(t *testing.T) {
		v, _, a, _, fresh, _ := twoAccesses(t)
		other := verifytest.Authority(t, "other", verifytest.NewSigner(t, 2))
		f := v.Findings(t.Context(), fresh, at(image), verify.SignaturesBy(a, other), verify.Held)
		if len(f[0].Evidence) != 1 || len(f[1].Evidence) != 0 || fresh.Shown() != 0 {
			t.Errorf("%+v, %d manifests", f, fresh.Shown())
		}
	})
}

func TestAThousandWithANewCredentialCostOneManifest(t *testing.T) {
	t.Parallel()
	v, _, a, _, fresh, _ := twoAccesses(t)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if f := v.Findings(t.Context(), fresh, at(verifytest.Digest("image")), verify.SignaturesBy(a), verify.Held); len(f[0].Evidence) != 1 {
				t.Errorf("%+v", f)
			}
		}()
	}
	wg.Wait()
	// Who comes between the answer and its being kept asks once more: far fewer than come.
	if n := fresh.Shown(); n > 50 {
		t.Errorf("%d manifests", n)
	}
}

func TestFindingsTellWhatIsBelowAnIndex(t *testing.T) {
	t.Parallel()
	s, r := verifytest.NewSigner(t, 1), verifytest.NewRegistry()
	c := newClock()
	v := newVerifier(t, verify.Options{Clock: c.Now})
	index := verifytest.Digest("index")
	child := verify.Child{Digest: verifytest.Digest("child"), Platform: verify.NewPlatform("linux", "amd64", "")}
	r.Index(index, child)
	r.Sign(s, index)
	a := verifytest.Authority(t, "release", s)
	for what, pass := range map[string]time.Duration{"at once": 0, "while the registry fails": verify.RefreshFor} {
		c.pass(pass)
		f := one(t, v, r, index, a, verify.Held)
		if !f.Index || len(f.Children) != 1 || f.Children[0] != child {
			t.Errorf("%s: %+v", what, f)
		}
		r.Fail(&verify.FetchError{Kind: verify.Unavailable, Host: "registry.example", Err: errors.New("down")})
	}
}

func TestPlatformsAreComparedInOneSpelling(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]verify.Platform{
		{verify.NewPlatform("linux", "x86_64", ""), verify.NewPlatform("Linux", "AMD64", "v1")},
		{verify.NewPlatform("linux", "aarch64", ""), verify.NewPlatform("linux", "arm64", "v8")},
		{verify.NewPlatform("linux", "arm", ""), verify.NewPlatform("linux", "armhf", "")},
		{verify.NewPlatform("linux", "arm", "6"), verify.NewPlatform("linux", "armel", "")},
		{verify.NewPlatform("linux", "i386", ""), verify.NewPlatform("linux", "386", "")},
	} {
		if same[0] != same[1] {
			t.Errorf("%s and %s run on the same nodes", same[0], same[1])
		}
	}
	if verify.NewPlatform("linux", "amd64", "v3") == verify.NewPlatform("linux", "amd64", "") {
		t.Error("amd64/v3 doesn't run on every amd64")
	}
	if verify.NewPlatform("unknown", "unknown", "").Told() || (verify.Platform{}).Told() || !verify.NewPlatform("linux", "amd64", "").Told() {
		t.Error("who tells a platform, and who doesn't")
	}
}

func TestWhoIsAboutToBeRefusedIsNotShownWhatWasInherited(t *testing.T) {
	t.Parallel()
	v, _, a, _, fresh, _ := twoAccesses(t)
	image := verifytest.Digest("image")
	fresh.Clear(image)
	fresh.FailPlace(&verify.FetchError{Kind: verify.Unauthorized, Place: verify.PlaceSignatures, Host: "registry.example", Err: errors.New("401")})
	if f := one(t, v, fresh, image, a, verify.Held); len(f.Evidence) != 1 {
		t.Fatalf("%+v", f)
	}
	for range 2 { // the second time it is its own listing that is held
		if f := one(t, v, fresh, image, a, verify.Anew); len(f.Evidence) != 0 || len(f.Unanswered) != 1 {
			t.Errorf("%+v", f)
		}
	}
	if lists, _ := fresh.Counts(); lists != 1 {
		t.Errorf("%d listings, want one", lists)
	}
}

func TestOnesOwnLaterListingIsNotOverruledByAnInheritance(t *testing.T) {
	t.Parallel()
	v, c, a, _, fresh, s := twoAccesses(t)
	image := verifytest.Digest("image")
	fresh.Clear(image) // it was revoked
	c.pass(time.Second)
	one(t, v, fresh, image, a, verify.Anew)
	c.pass(verify.NothingFor + time.Second)
	if f := one(t, v, fresh, image, a, verify.Held); len(f.Evidence) != 0 || fresh.Shown() != 0 {
		t.Errorf("%+v, %d manifests", f, fresh.Shown())
	}
	c.pass(verify.NothingFor + time.Second)
	fresh.Sign(s, image)
	if f := one(t, v, fresh, image, a, verify.Held); len(f.Evidence) != 1 {
		t.Errorf("%+v", f)
	}
}

// slow does something while it is asked for a manifest.
type slow struct {
	*verifytest.Registry
	during func()
}

func (s slow) Present(ctx context.Context, image name.Digest) error {
	s.during()
	return s.Registry.Present(ctx, image)
}

func TestWhatIsListedWhileTheManifestIsReadIsNotOverruled(t *testing.T) {
	t.Parallel()
	v, _, a, _, fresh, _ := twoAccesses(t)
	image := verifytest.Digest("image")
	f := slow{fresh, func() {
		fresh.Clear(image) // the papers are taken away, and another request sees that
		if own := one(t, v, fresh, image, a, verify.Anew); len(own.Evidence) != 0 {
			t.Errorf("%+v", own)
		}
	}}
	if got := one(t, v, f, image, a, verify.Held); len(got.Evidence) != 0 {
		t.Error("evidence that was found to be gone was inherited")
	}
	if got := one(t, v, fresh, image, a, verify.Held); len(got.Evidence) != 0 {
		t.Error("and kept")
	}
}
