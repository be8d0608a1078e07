package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of all of Pratique's objects.
const Group = "pratique.dev"

// Version is the one version of the API so far.
const Version = "v1alpha1"

// GroupVersion names the API that this package describes.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }

// AddToScheme registers the types of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &ImagePolicy{}, &ImagePolicyList{}, &ClusterImagePolicy{}, &ClusterImagePolicyList{}, &TrustRoot{}, &TrustRootList{},
		&ImageException{}, &ImageExceptionList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
