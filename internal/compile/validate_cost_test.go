package compile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// extended is a policy of n identities that ask for extensions.
func extended(t testing.TB, n int, extensions map[string]string) []byte {
	t.Helper()
	var authorities []v1alpha1.Authority
	for a := range (n + maxIdentityList - 1) / maxIdentityList {
		one := v1alpha1.Authority{Name: fmt.Sprintf("a%d", a), Keyless: &v1alpha1.KeylessAuthority{}}
		for range min(maxIdentityList, n-a*maxIdentityList) {
			one.Keyless.Identities = append(one.Keyless.Identities, v1alpha1.Identity{Issuer: "https://i.example", Subject: "s@i.example", Extensions: extensions})
		}
		authorities = append(authorities, one)
	}
	p := v1alpha1.ImagePolicy{Spec: v1alpha1.ImagePolicySpec{
		Images: v1alpha1.Images{Include: []string{"r.example/**"}}, Authorities: authorities,
		Require: &v1alpha1.Require{Signature: &v1alpha1.SignatureRequirement{By: []string{"a0"}}},
	}}
	p.APIVersion, p.Kind, p.Name, p.Namespace = v1alpha1.GroupVersion().String(), KindImagePolicy, "production", "payments"
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRow106_NoMoreProblemsAreSoughtThanAnybodyMends(t *testing.T) {
	t.Parallel()
	unknown := map[string]string{}
	for i := range maxExtensions {
		unknown[fmt.Sprintf("%d%s", i, strings.Repeat("x", 60))] = "x"
	}
	fields := strings.TrimSuffix(string(extended(t, 1, nil)), "}}\n")
	fields = strings.TrimSuffix(strings.TrimSpace(fields), "}")
	for i := range 90 {
		fields += fmt.Sprintf(`,"tpyo%d":1`, i)
	}
	for name, raw := range map[string][]byte{
		"8,192 unknown extensions":       extended(t, maxIdentities, unknown),
		"90 unknown fields":              []byte(fields + "}"),
		"as many bad patterns as may be": []byte(strings.Replace(string(extended(t, 1, nil)), `"r.example/**"`, strings.TrimSuffix(strings.Repeat(`"R/",`, maxImages), ","), 1)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems, _ := Install{Pinning: true}.Check(raw)
			if n := len(problems); n < maxProblems || n > maxProblems+1 || !strings.HasSuffix(problems[n-1], "more: mend these first") {
				t.Errorf("%d problems, the last %q", n, problems[n-1])
			}
			p, r := Compiler{}.compileRaw(t.Context(), raw, key{Name: "production"})
			if p.Unusable == "" || r.Reason != ReasonInvalidField || !refuses(t, p, "r.example/app") {
				t.Errorf("%s: %q", r.Reason, p.Unusable)
			}
		})
	}
}

// What a comparison costs grows with the lengths of both names: a name that can't have been meant is compared with none.
func TestRow106_ANameOfAMegabyteIsNotCompared(t *testing.T) { // not parallel: it counts allocations
	long, known := strings.Repeat("x", 1<<20), verify.ExtensionNames()
	if n := testing.AllocsPerRun(10, func() {
		if near, distance := nearest(long, known); near != "" || distance <= len(long) {
			t.Errorf("near %q by %d", near, distance)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	problems, _ := Install{}.Check(extended(t, 1, map[string]string{long: "x"}))
	if len(problems) != 1 || len(problems[0]) > 1<<10 || !strings.Contains(problems[0], "Fulcio has no such extension; it has buildConfigDigest") {
		t.Errorf("%.2000q", problems)
	}
	if problems, _ = (Install{}).Check(extended(t, 1, map[string]string{"runnerEnvironmnet": "x"})); len(problems) != 1 || !strings.HasSuffix(problems[0], "did you mean runnerEnvironment?") {
		t.Errorf("%q", problems)
	}
}

// A name that is right is compared with the others for equality alone.
func TestExtensionsThatThereAreCostLittle(t *testing.T) { // not parallel: it counts allocations
	all := map[string]string{}
	for _, name := range verify.ExtensionNames() {
		all[name] = "x"
	}
	c := &checker{fulcio: verify.ExtensionNames()}
	n := testing.AllocsPerRun(10, func() { c.extensions(nil, all) })
	if most := float64(8 * len(all)); c.found > 0 || n > most {
		t.Errorf("%v allocations for %d names, at most %v; %v", n, len(all), most, c.errs)
	}
}

// Beyond their bound Validate tells that patterns are too many, and each isn't looked for among all others.
func TestWarningsLookAtNoMorePatternsThanMayBe(t *testing.T) {
	t.Parallel()
	o := &v1alpha1.ImagePolicy{}
	for range 4 * maxImages {
		o.Spec.Images.Include = append(o.Spec.Images.Include, "a.example/b")
	}
	o.Spec.Images.Exclude = append(make([]string, maxImages), "a.example/b")
	got := Warnings(o)
	if len(got) != maxImages-1 {
		t.Errorf("%d warnings, want one for each of %d patterns but the first: %.200q", len(got), maxImages, got)
	}
}
