package compile

import (
	"fmt"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// Bounds of how many policies are judged together. Each image of a Pod, of which there may be 256, is judged by each of
// them, so a request costs as much memory and time as their product.
const (
	// MaxPolicies bounds the ImagePolicies of one namespace: at 64 a Pod has at most 16,384 verdicts of them, some tens of
	// MiB if all are refusals. Whoever may write policies in a namespace may write thousands.
	MaxPolicies = 64
	// MaxClusterPolicies bounds the ClusterImagePolicies. They are written by admins, who need more of them: one for each
	// kind of namespace.
	MaxClusterPolicies = 256
)

// boundOf is how many policies may be in a namespace, or where that is empty in the cluster.
func boundOf(namespace string) int {
	if namespace == "" {
		return MaxClusterPolicies
	}
	return MaxPolicies
}

// tooMany is the one policy that stands for all the n of a namespace, or where that is empty of the cluster, if they are more
// than its bound, and nil if they aren't. It refuses everything there, and so costs others nothing.
func tooMany(namespace string, n int) *policy.Policy {
	if n <= boundOf(namespace) {
		return nil
	}
	why := fmt.Sprintf("%d ImagePolicies, at most %d are judged in one namespace: delete or merge some", n, MaxPolicies)
	if namespace == "" {
		why = fmt.Sprintf("%d ClusterImagePolicies, at most %d are judged: delete or merge some", n, MaxClusterPolicies)
	}
	return &policy.Policy{Name: policy.Name{Namespace: namespace, Name: "(all)"}, Unusable: why, MatchesAll: true}
}

// oneOfTooMany is what becomes of each policy where there are too many. It isn't compiled, and its keys aren't read.
func (c Compiler) oneOfTooMany(k key) (*policy.Policy, Report) {
	b := c.newBuild()
	b.policy.Name = k
	if k.Namespace == "" {
		b.unusable(ReasonTooManyPolicies, fmt.Sprintf("more than %d ClusterImagePolicies: delete or merge some; until then everything is refused", MaxClusterPolicies))
	} else {
		b.unusable(ReasonTooManyPolicies, fmt.Sprintf("more than %d ImagePolicies in this namespace: delete or merge some; until then everything in it is refused", MaxPolicies))
	}
	return b.policy, b.report
}

// bounded is what the Store makes of a set that has too many policies. cluster is how many ClusterImagePolicies there are,
// those that don't select the namespace included.
func bounded(set policy.Set, namespace string, cluster int) policy.Set {
	if p := tooMany("", cluster); p != nil {
		set.Cluster = []*policy.Policy{p}
	}
	if p := tooMany(namespace, len(set.Namespaced)); p != nil {
		set.Namespaced = []*policy.Policy{p}
	}
	return set
}
