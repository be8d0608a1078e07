package admission_test

import (
	"testing"

	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// dice reads a fuzzer's bytes as choices.
type dice struct{ data []byte }

func (d *dice) roll(n int) int {
	if len(d.data) == 0 {
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return int(b) % n
}

var patternsOfTheGame = []string{"**", "r.example/**", "r.example/a/**", "r.example/a/app", "s.example/**", "docker.io/library/*"}
var imagesOfTheGame = []string{"r.example/a/app", "r.example/b/app", "s.example/a/app", "nginx", "r.example/a/x/y"}

// policies throws some policies of one level.
func (d *dice) policies(t testing.TB, level string, signers []verifytest.Signer) []*policy.Policy {
	var out []*policy.Policy
	for range d.roll(4) {
		p := &policy.Policy{Name: policy.Name{Namespace: level, Name: "p"}, Mode: policy.Mode(d.roll(3))}
		p.Images = about(t, patternsOfTheGame[d.roll(len(patternsOfTheGame))])
		if d.roll(3) == 0 {
			p.Images.Exclude = append(p.Images.Exclude, pattern(t, patternsOfTheGame[d.roll(len(patternsOfTheGame))]))
		}
		p.References.Tags = policy.TagRule(d.roll(2))
		switch d.roll(5) {
		case 0:
			p.Action = policy.ActionAllow
		case 1:
			p.Action = policy.ActionDeny
		case 2:
			p.Unusable = "broken"
		default:
			p.Action = policy.ActionRequire
			a, b := signers[d.roll(len(signers))], signers[d.roll(len(signers))]
			if r, err := policy.NewSignature([]verify.Authority{verifytest.Authority(t, "x", a, b)}, 1+d.roll(2)); err == nil {
				p.Requirements = append(p.Requirements, r)
			}
		}
		out = append(out, p)
	}
	return out
}

// FuzzANamespacedPolicyOnlyAdds holds the two properties of the design:
//
//   - no namespaced policy turns a refusal by the cluster's policies into an admission;
//   - nothing is admitted where an enforcing policy is in force, unless an enforcing policy of the level that closes the namespace is about
//     it, and either its requirements were satisfied or it allows the image by name.
func FuzzANamespacedPolicyOnlyAdds(f *testing.F) {
	f.Add([]byte{1, 0, 1, 1, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{2, 0, 0, 1, 1, 1, 3, 1, 1, 0, 0, 0, 2, 1, 0, 0, 1, 1, 3, 0, 0, 0, 0, 1, 2, 3})
	f.Add([]byte{0, 3, 0, 1, 1, 1, 0, 2, 2, 2, 4, 4, 4, 1, 1, 1, 0, 0, 0, 9, 9, 9, 1, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &dice{data}
		signers := []verifytest.Signer{verifytest.NewSigner(t, 1), verifytest.NewSigner(t, 2), verifytest.NewSigner(t, 3)}
		cluster, namespaced := d.policies(t, "", signers), d.policies(t, "ns", signers)
		unmatched := policy.UnmatchedRule(d.roll(3))
		registry := newHub()
		var images []admission.Image
		for i := range 1 + d.roll(3) {
			written := imagesOfTheGame[d.roll(len(imagesOfTheGame))]
			digest := verifytest.Digest(written + string(rune('0'+i)))
			registry.tag(written+":1", digest)
			if d.roll(2) == 0 {
				registry.Sign(signers[d.roll(len(signers))], digest)
			}
			switch d.roll(4) {
			case 0:
				written += ":1"
			case 1:
				written += "//"
			default:
				written += "@" + digest.String()
			}
			images = append(images, admission.Image{List: admission.Containers, Name: string(rune('a' + i)), Reference: written})
		}
		decide := func(s policy.Set) admission.Decision {
			e := newEvaluator(t, sets{"ns": s}, registry)
			return e.Decide(t.Context(), admission.Query{Namespace: "ns", Images: images})
		}
		alone := decide(policy.Set{Cluster: cluster, Unmatched: unmatched})
		both := decide(policy.Set{Cluster: cluster, Namespaced: namespaced, Unmatched: unmatched})
		if refusedByPolicy(alone, closes(cluster)) && both.Allowed() {
			t.Fatal("namespaced policies turned a refusal by the cluster's into an admission")
		}
		if !both.Allowed() {
			return
		}
		closing := cluster
		if !closes(cluster) {
			closing = namespaced
		}
		if !closes(closing) {
			return
		}
		for _, j := range both.Images {
			if !vouched(j, closing[0].Name) {
				t.Fatalf("%s was admitted and nobody vouched for it: %+v", j.Written, j.Verdicts)
			}
		}
	})
}

// closes tells whether a level closes its namespaces: some enforcing policy there says which images may run.
func closes(policies []*policy.Policy) bool {
	for _, p := range policies {
		if p.Mode == policy.Enforce && p.Action != policy.ActionDeny {
			return true
		}
	}
	return false
}

// refusedByPolicy tells whether the cluster's policies refuse, by a verdict or by closing, and not the install's rule alone.
func refusedByPolicy(d admission.Decision, closed bool) bool {
	if d.Allowed() {
		return false
	}
	for _, j := range d.Images {
		for _, v := range j.Verdicts {
			if v.Mode == policy.Enforce && !v.Outcome().Passes() && (closed || v.Policy != (policy.Name{})) {
				return true
			}
		}
	}
	return closed
}

// vouched tells whether an enforcing policy of the level let the image in by a requirement or by name, and none refused it.
func vouched(j admission.Judged, level policy.Name) bool {
	found := false
	for _, v := range j.Verdicts {
		if v.Mode != policy.Enforce {
			continue
		}
		for _, r := range v.Results {
			if !r.Outcome.Passes() {
				return false
			}
			if v.Policy == level && (r.Requirement == "signature" && r.Outcome == policy.Satisfied || r.Requirement == "allow" && r.Outcome == policy.Exempt) {
				found = true
			}
		}
	}
	return found
}

// FuzzRow11_AnUpdateIsSkippedOnlyIfNoImageIsNewOrMoved: what is not judged was there before, in the same list, under the same name.
func FuzzRow11_AnUpdateIsSkippedOnlyIfNoImageIsNewOrMoved(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 1, 1, 1, 2, 0, 0, 0, 1, 1, 1})
	f.Add([]byte{1, 0, 0, 0, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &dice{data}
		throw := func() (out []admission.Image) {
			lists := []admission.List{admission.Containers, admission.InitContainers, admission.EphemeralContainers, admission.ImageVolumes}
			for range d.roll(6) {
				out = append(out, admission.Image{List: lists[d.roll(4)], Name: string(rune('a' + d.roll(3))), Reference: imagesOfTheGame[d.roll(3)]})
			}
			return out
		}
		before, now := throw(), throw()
		changed := admission.Changed(before, now)
		has := func(list []admission.Image, i admission.Image) bool {
			for _, x := range list {
				if x == i {
					return true
				}
			}
			return false
		}
		for _, i := range now {
			if has(before, i) == has(changed, i) {
				t.Fatalf("%+v: there before %t, judged %t", i, has(before, i), has(changed, i))
			}
		}
	})
}
