package compile

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// The kinds of our objects: policies, what they refer to, and what loosens them.
const (
	KindImagePolicy        = "ImagePolicy"
	KindClusterImagePolicy = "ClusterImagePolicy"
	KindTrustRoot          = "TrustRoot"
	KindImageException     = "ImageException"
)

// Object is one of our objects: *v1alpha1.ImagePolicy, *v1alpha1.ClusterImagePolicy, *v1alpha1.TrustRoot or *v1alpha1.ImageException.
type Object interface {
	metav1.Object
	runtime.Object
}

// view is what both kinds of policy objects have in common.
type view struct {
	kind    string
	object  Object
	spec    *v1alpha1.ImagePolicySpec
	cluster *v1alpha1.ClusterImagePolicySpec // nil for an ImagePolicy
	status  *v1alpha1.PolicyStatus
}

var errNotPolicy = errors.New("no policy object")

func viewOf(obj Object) (view, error) {
	switch o := obj.(type) {
	case *v1alpha1.ImagePolicy:
		if o != nil {
			return view{kind: KindImagePolicy, object: o, spec: &o.Spec, status: &o.Status}, nil
		}
	case *v1alpha1.ClusterImagePolicy:
		if o != nil {
			return view{kind: KindClusterImagePolicy, object: o, spec: &o.Spec.ImagePolicySpec, cluster: &o.Spec, status: &o.Status}, nil
		}
	}
	return view{}, fmt.Errorf("%w: %T", errNotPolicy, obj)
}

// name names the policy: a ClusterImagePolicy has no namespace, whatever its metadata say.
func (v view) name() policy.Name {
	if v.cluster != nil {
		return policy.Name{Name: v.object.GetName()}
	}
	return policy.Name{Namespace: v.object.GetNamespace(), Name: v.object.GetName()}
}
