package policy_test

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// tagged is an image named by a tag, which stands for a digest, or for none that could be found out.
func tagged(t testing.TB, digest v1.Hash, pinning policy.Pinning) policy.Image {
	t.Helper()
	img := policy.Image{Reference: mustReference(t, "registry.example/app:v1"), Digest: digest, Pinning: pinning}
	if digest == (v1.Hash{}) {
		img.Unresolved = &verify.FetchError{Kind: verify.Unavailable, Host: "registry.example", Err: errors.New("down")}
	}
	return img
}

func TestWhatBecomesOfATagThatShouldBePinned(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), verifytest.NewSigner(t, 1)
	digest := verifytest.Digest("x")
	w.Sign(s, digest)
	for what, tc := range map[string]struct {
		mode    policy.Mode
		pinning policy.Pinning
		digest  v1.Hash
		allow   bool
		want    policy.Reason // empty: it passes
		text    string
	}{
		"nothing pins, so it is refused with the digest to use": {digest: digest, want: policy.TagNotAllowed, text: "use registry.example/app:v1@" + digest.String()},
		"it came unpinned, so it is refused":                    {pinning: policy.PinningDone, digest: digest, want: policy.NotPinned, text: "use registry.example/app:v1@" + digest.String()},
		"it came unpinned under a policy that only warns":       {mode: policy.Warn, pinning: policy.PinningDone, digest: digest},
		"a policy that only warns, where nothing pins":          {mode: policy.Warn, digest: digest, want: policy.TagNotAllowed},
		"a template's tag will be pinned":                       {pinning: policy.PinningAhead, digest: digest},
		"a template's tag that can't be resolved":               {pinning: policy.PinningAhead, want: policy.RegistryUnavailable, text: "could not resolve"},
		"a tag that can't be resolved":                          {pinning: policy.PinningDone, want: policy.RegistryUnavailable, text: "could not resolve"},
		"an allowed image's tag that can't be resolved":         {pinning: policy.PinningDone, allow: true, want: policy.RegistryUnavailable, text: "could not resolve"},
		"an allowed image's tag that came unpinned":             {pinning: policy.PinningDone, allow: true, digest: digest, want: policy.NotPinned},
		"an allowed image's tag, ahead":                         {pinning: policy.PinningAhead, allow: true, digest: digest},
	} {
		t.Run(what, func(t *testing.T) {
			p := requireSignature(t, 1, verifytest.Authority(t, "release", s))
			p.Mode, p.References = tc.mode, policy.References{Tags: policy.TagsPin}
			if tc.allow {
				p.Action, p.Because = policy.ActionAllow, "a sidecar"
			}
			img := tagged(t, tc.digest, tc.pinning)
			v := p.Judge(img, w.know(img))
			if tc.want == "" {
				if !v.Outcome().Passes() {
					t.Fatalf("%+v", v)
				}
				return
			}
			failing := v.Failing()
			if len(failing) != 1 || failing[0].Reason != tc.want || !strings.Contains(failing[0].Detail, tc.text) {
				t.Errorf("%+v, want %s once", failing, tc.want)
			}
		})
	}
}

func TestWhichTagsArePinned(t *testing.T) {
	t.Parallel()
	with := func(tags policy.TagRule, change func(*policy.Policy)) *policy.Policy {
		p := requireSignature(t, 1, verifytest.Authority(t, "release", verifytest.NewSigner(t, 1)))
		p.References.Tags = tags
		if change != nil {
			change(p)
		}
		return p
	}
	for what, tc := range map[string]struct {
		policies []*policy.Policy
		want     bool
	}{
		"none matches":                     {nil, false},
		"one wants it":                     {[]*policy.Policy{with(policy.TagsPin, nil)}, true},
		"one wants it, one allows tags":    {[]*policy.Policy{with(policy.TagsPin, nil), with(policy.TagsAllow, nil)}, true},
		"one wants it, one refuses tags":   {[]*policy.Policy{with(policy.TagsPin, nil), with(policy.TagsDeny, nil)}, false},
		"one wants it, another only warns": {[]*policy.Policy{with(policy.TagsPin, nil), with(policy.TagsDeny, func(p *policy.Policy) { p.Mode = policy.Warn })}, true},
		"who wants it only warns":          {[]*policy.Policy{with(policy.TagsPin, func(p *policy.Policy) { p.Mode = policy.Warn })}, false},
		"who wants it only audits":         {[]*policy.Policy{with(policy.TagsPin, func(p *policy.Policy) { p.Mode = policy.Audit })}, false},
		"who wants it can't be used":       {[]*policy.Policy{with(policy.TagsPin, func(p *policy.Policy) { p.Unusable = "no key" })}, false},
		"who wants it denies":              {[]*policy.Policy{with(policy.TagsPin, func(p *policy.Policy) { p.Action = policy.ActionDeny })}, false},
		"who wants it allows":              {[]*policy.Policy{with(policy.TagsPin, func(p *policy.Policy) { p.Action = policy.ActionAllow })}, true},
	} {
		sel := policy.Set{Cluster: tc.policies}.Select(mustReference(t, "registry.example/app:v1"), v1.Hash{})
		if sel.Pins() != tc.want {
			t.Errorf("%s: pins %t", what, sel.Pins())
		}
	}
}

func TestAPinnedReferenceKeepsTheTagThatPoliciesJudge(t *testing.T) {
	t.Parallel()
	d := verifytest.Digest("x")
	for written, want := range map[string]string{
		"registry.example/app:v1": "registry.example/app:v1@" + d.String(),
		"registry.example/app":    "registry.example/app:latest@" + d.String(),
		"nginx":                   "nginx:latest@" + d.String(),
	} {
		ref := mustReference(t, written)
		got := ref.WithDigest(d)
		again := mustReference(t, got)
		if h, _ := again.Digest(); got != want || h != d || again.Tag() != ref.Tag() || again.Repository().Name() != ref.Repository().Name() {
			t.Errorf("%s became %s, which is %+v", written, got, again)
		}
	}
}

// built is a requirement of each platform: that the digest was built by one of the builders.
type built struct{ by map[v1.Hash]policy.Outcome }

func (built) Name() string                 { return "built" }
func (built) Subject() policy.Subject      { return policy.EachPlatform }
func (built) Questions() []verify.Question { return make([]verify.Question, 1) }
func (b built) Judge(c policy.Case, _ []verify.Findings) policy.Result {
	return policy.Result{Requirement: "built", Outcome: b.by[c.Digest], Reason: policy.Verified, Detail: "built"}
}

func TestRow43_WhatIsAboutEachPlatformHoldsForAnIndexIfEverySelectedChildHasIt(t *testing.T) {
	t.Parallel()
	amd := verify.Child{Digest: verifytest.Digest("amd"), Platform: verify.NewPlatform("linux", "amd64", "")}
	arm := verify.Child{Digest: verifytest.Digest("arm"), Platform: verify.NewPlatform("linux", "arm64", "v8")}
	anywhere := verify.Child{Digest: verifytest.Digest("anywhere")}
	index := verifytest.Digest("index")
	for what, tc := range map[string]struct {
		children  []verify.Child
		platforms []string
		built     map[v1.Hash]policy.Outcome
		want      policy.Outcome
		reason    policy.Reason
		text      string
	}{
		"every child has it":                      {children: []verify.Child{amd, arm}, built: map[v1.Hash]policy.Outcome{amd.Digest: policy.Satisfied, arm.Digest: policy.Satisfied}, want: policy.Satisfied},
		"one child has not":                       {children: []verify.Child{amd, arm}, built: map[v1.Hash]policy.Outcome{amd.Digest: policy.Satisfied, arm.Digest: policy.Violated}, want: policy.Violated, text: "linux/arm64"},
		"of one child it isn't known":             {children: []verify.Child{amd, arm}, built: map[v1.Hash]policy.Outcome{arm.Digest: policy.Satisfied}, want: policy.Undetermined, text: "linux/amd64"},
		"the index alone has it":                  {children: []verify.Child{amd}, built: map[v1.Hash]policy.Outcome{index: policy.Satisfied}, want: policy.Undetermined},
		"only selected children count":            {children: []verify.Child{amd, arm}, platforms: []string{"linux/amd64"}, built: map[v1.Hash]policy.Outcome{amd.Digest: policy.Satisfied, arm.Digest: policy.Violated}, want: policy.Satisfied},
		"a platform without its variant":          {children: []verify.Child{arm}, platforms: []string{"linux/arm64"}, built: map[v1.Hash]policy.Outcome{arm.Digest: policy.Satisfied}, want: policy.Satisfied},
		"who doesn't say where it runs counts":    {children: []verify.Child{amd, anywhere}, platforms: []string{"linux/amd64"}, built: map[v1.Hash]policy.Outcome{amd.Digest: policy.Satisfied, anywhere.Digest: policy.Violated}, want: policy.Violated},
		"the index has none of the platforms":     {children: []verify.Child{amd}, platforms: []string{"linux/s390x"}, want: policy.Violated, reason: policy.PlatformMissing, text: "linux/s390x"},
		"no index: the image is its own platform": {built: map[v1.Hash]policy.Outcome{index: policy.Satisfied}, platforms: []string{"linux/s390x"}, want: policy.Satisfied},
	} {
		t.Run(what, func(t *testing.T) {
			p := &policy.Policy{Action: policy.ActionRequire, Requirements: []policy.Requirement{built{tc.built}}, Images: policy.Matcher{Include: []policy.Pattern{mustPattern(t, "**")}}}
			for _, s := range tc.platforms {
				got, err := policy.ParsePlatform(s)
				if err != nil {
					t.Fatal(err)
				}
				p.Platforms = append(p.Platforms, got)
			}
			img := pinned(t, index)
			v := p.Judge(img, func(v1.Hash, verify.Question) verify.Findings {
				return verify.Findings{Index: tc.children != nil, Children: tc.children}
			})
			if len(v.Results) != 1 || v.Results[0].Outcome != tc.want || !strings.Contains(v.Results[0].Detail, tc.text) || tc.reason != "" && v.Results[0].Reason != tc.reason {
				t.Errorf("%+v", v.Results)
			}
		})
	}
}

func TestRow43_ASignatureOfAChildIsNotOneOfItsIndex(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), verifytest.NewSigner(t, 1)
	index, child := verifytest.Digest("index"), verifytest.Digest("child")
	w.Index(index, verify.Child{Digest: child, Platform: verify.NewPlatform("linux", "amd64", "")})
	w.Sign(s, child)
	p := requireSignature(t, 1, verifytest.Authority(t, "release", s))
	if v := p.Judge(pinned(t, index), w.know(pinned(t, index))); v.Outcome() != policy.Violated || v.Results[0].Reason != policy.NoTrustedSignature {
		t.Errorf("%+v", v)
	}
	w = newWorld(t) // one that holds no "nothing found"
	w.Index(index, verify.Child{Digest: child, Platform: verify.NewPlatform("linux", "amd64", "")})
	w.Sign(s, index)
	if v := p.Judge(pinned(t, index), w.know(pinned(t, index))); !v.Outcome().Passes() {
		t.Errorf("%+v", v)
	}
}

func TestPlatformsAsPoliciesWriteThem(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "linux", "linux/", "/amd64", "linux/amd64/v2/x", "LINUX/amd64", "linux/amd64 ", "unknown/unknown", "linux/*"} {
		if p, err := policy.ParsePlatform(bad); err == nil {
			t.Errorf("%q became %s", bad, p)
		}
	}
	if (policy.Platform{}).Selects(verify.Platform{}) {
		t.Error("the zero Platform selects")
	}
	v7, err := policy.ParsePlatform("linux/arm/v7")
	if err != nil {
		t.Fatal(err)
	}
	if v7.String() != "linux/arm/v7" {
		t.Error(v7)
	}
}

// TestRow43_WhatANodeFallsBackToIsSelected is held to containerd's platforms.Only: a child too many only needs papers, one too few
// runs without.
func TestRow43_WhatANodeFallsBackToIsSelected(t *testing.T) {
	t.Parallel()
	for platform, children := range map[string]map[string]bool{
		"linux/amd64":    {"amd64": true, "amd64/v2": true, "386": true, "arm64": false, "arm/v7": false, "s390x": false},
		"linux/amd64/v3": {"amd64": true, "amd64/v2": true, "amd64/v3": true, "amd64/v4": false, "386": true},
		"linux/arm64":    {"arm64": true, "arm64/v9": true, "arm/v8": true, "arm/v5": true, "amd64": false, "386": false},
		"linux/arm/v7":   {"arm": true, "arm/v7": true, "arm/v6": true, "arm/v5": true, "arm/v8": false, "arm64": false},
		"linux/386":      {"386": true, "amd64": false},
		"linux/s390x":    {"s390x": true, "amd64": false},
	} {
		p, err := policy.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		for child, want := range children {
			arch, variant, _ := strings.Cut(child, "/")
			if got := p.Selects(verify.NewPlatform("linux", arch, variant)); got != want {
				t.Errorf("%s selects linux/%s: %t", platform, child, got)
			}
			if p.Selects(verify.NewPlatform("windows", arch, variant)) {
				t.Errorf("%s selects windows/%s", platform, child)
			}
		}
	}
}

func TestWhichHostsAPatternNames(t *testing.T) {
	t.Parallel()
	for pattern, hosts := range map[string]map[string]bool{
		"**":                        {"registry.example": false},
		"registry.example/team/**":  {"registry.example": true, "registry.example:443": true, "registry.example:5000": false, "evil.example": false},
		"*.registry.example/**":     {"a.registry.example": true, "registry.example": false, "a.b.registry.example": false},
		"docker.io/library/nginx":   {"index.docker.io": true, "docker.io": true},
		"registry.example:5000/app": {"registry.example:5000": true, "registry.example": false},
	} {
		p := mustPattern(t, pattern)
		if p.Any() != (pattern == "**") {
			t.Errorf("%s: any is %t", pattern, p.Any())
		}
		for host, want := range hosts {
			if p.MatchesHost(host) != want {
				t.Errorf("%s names %s: %t", pattern, host, !want)
			}
		}
	}
	if (policy.Pattern{}).MatchesHost("") {
		t.Error("the zero Pattern names a host")
	}
}
