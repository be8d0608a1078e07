package compile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// probe is a requirement that keeps which exceptions it was given.
type probe struct{ seen *[]policy.Excuse }

func (probe) Name() string                 { return "probe" }
func (probe) Subject() policy.Subject      { return policy.TheImage }
func (probe) Questions() []verify.Question { return nil }
func (p probe) Judge(c policy.Case, _ []verify.Findings) policy.Result {
	*p.seen = c.Excuses
	return policy.Result{Outcome: policy.Satisfied}
}

// excusesFor judges an image of the namespace payments by a policy with exceptions of files, and returns those that count, in words.
func excusesFor(t *testing.T, text, image string, now time.Time, exceptions []*policy.Exception) []string {
	t.Helper()
	obj, err := Decode(toJSON(t, text))
	if err != nil {
		t.Fatal(err)
	}
	p, r := Compiler{Materials: &shelf{entries: map[source]string{}}, Namespace: "pratique-system"}.Compile(t.Context(), obj)
	if p.Unusable != "" {
		t.Fatalf("%+v", r)
	}
	probed, seen := *p, []policy.Excuse(nil)
	probed.Action, probed.Requirements = policy.ActionRequire, []policy.Requirement{probe{&seen}}
	ref, err := policy.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	probed.Judge(policy.Image{Reference: ref, Digest: verifytest.Digest("x"), Namespace: "payments", Now: now, Exceptions: exceptions},
		func(v1.Hash, verify.Question) verify.Findings { return verify.Findings{} })
	out := []string{}
	for _, e := range seen {
		what := strings.Join(e.Severities, "+")
		if e.All {
			what = "all"
		}
		out = append(out, fmt.Sprintf("%s: %s", e.Exception.Name, what))
	}
	return out
}

// TestRow20_ATenantsExceptionLoosensAClusterPolicyNoFurtherThanItSays, while the policies of its own namespace it loosens whole.
func TestRow20_ATenantsExceptionLoosensAClusterPolicyNoFurtherThanItSays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	inDays := func(n int) string { return now.AddDate(0, 0, n).UTC().Format(time.RFC3339) }
	set := func(texts ...string) []*policy.Exception {
		s, _ := mustLoad(t, strings.Join(texts, "---\n")).Set(t.Context(), "payments", policy.UnmatchedDeny)
		return s.Exceptions
	}
	short, long := exception("short", excusing(inDays(10))), exception("long", excusing(inDays(60)))
	everything := exception("wide", strings.Replace(excusing(inDays(10)), "[registry.example.com/payments/api]", "['**']", 1))
	const api = "registry.example.com/payments/api:1"
	for _, tt := range []struct {
		name, policy, image string
		at                  time.Time
		want                []string
	}{
		{"a cluster policy that says nothing of exceptions", clusterWide(allowAll), api, now, nil},
		{"one that lets some severities", clusterWide("namespaceExceptions: {severities: [low, negligible]}\n" + allowAll), api, now,
			[]string{"payments/long: low+negligible", "payments/short: low+negligible", "payments/wide: low+negligible"}},
		{"one that lets none last long", clusterWide("namespaceExceptions: {severities: [medium], maxDuration: 720h}\n" + allowAll), api, now,
			[]string{"payments/short: medium", "payments/wide: medium"}},
		{"a policy of the exception's namespace", namespaced(allowAll), api, now, []string{"payments/long: all", "payments/short: all", "payments/wide: all"}},
		{"a policy of another namespace", inNamespace(namespaced(allowAll), "shop"), api, now, nil},
		{"another image", namespaced(allowAll), "registry.example.com/payments/worker:1", now, []string{"payments/wide: all"}},
		{"when some have ended", namespaced(allowAll), api, now.AddDate(0, 0, 11), []string{"payments/long: all"}},
		{"when all have", namespaced(allowAll), api, now.AddDate(0, 0, 61), nil},
		{"before they were made", namespaced(allowAll), api, now.Add(-time.Hour), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.want
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, excusesFor(t, tt.policy, tt.image, tt.at, set(short, long, everything))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
