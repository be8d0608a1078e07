package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kyaml "sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// objects are policies and TrustRoots as they were written. What is compiled of them decides; people are told in the words of these.
type objects struct {
	namespace  string // of ImagePolicies that name none
	policies   map[policy.Name]writtenPolicy
	trustRoots map[string]*v1alpha1.TrustRoot
	warnings   []string
}

// writtenPolicy is what both kinds of policies have in common.
type writtenPolicy struct {
	spec      *v1alpha1.ImagePolicySpec
	unusable  bool   // the cluster has found that it can't be used, as it is now
	namespace string // which it is about, if it is one's
}

func newObjects(namespace string) *objects {
	return &objects{namespace: namespace, policies: map[policy.Name]writtenPolicy{}, trustRoots: map[string]*v1alpha1.TrustRoot{}}
}

// file takes in the documents of a file that was loaded: what of it can't be read was refused there.
func (o *objects) file(name string, data []byte) {
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		raw, bad := kyaml.YAMLToJSONStrict(doc)
		if err := errors.Join(err, bad); err != nil {
			return
		}
		o.document(fmt.Sprintf("%s, document %d", name, n), raw)
	}
}

// document takes in one document, or the items of a list, and what is probably not meant in them.
func (o *objects) document(where string, raw []byte) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err == nil && list.Items != nil {
		for i, item := range list.Items {
			o.document(fmt.Sprintf("%s, item %d", where, i+1), item)
		}
		return
	}
	obj, err := compile.Decode(raw)
	if err != nil {
		return // it is of another kind
	}
	for _, text := range compile.Warnings(obj) {
		o.warnings = append(o.warnings, fmt.Sprintf("%s (%s): %s", where, called(obj), text))
	}
	o.take(obj)
}

// called is an object's kind and name.
func called(obj compile.Object) string {
	kind, namespace := compile.KindTrustRoot, ""
	switch obj.(type) {
	case *v1alpha1.ImagePolicy:
		kind, namespace = compile.KindImagePolicy, obj.GetNamespace()
	case *v1alpha1.ClusterImagePolicy:
		kind = compile.KindClusterImagePolicy
	case *v1alpha1.ImageException:
		kind, namespace = compile.KindImageException, obj.GetNamespace()
	}
	return kind + " " + policy.Name{Namespace: namespace, Name: obj.GetName()}.String()
}

func (o *objects) take(obj compile.Object) {
	switch v := obj.(type) {
	case *v1alpha1.ImagePolicy:
		at := cmp.Or(v.Namespace, o.namespace)
		o.policies[policy.Name{Namespace: at, Name: v.Name}] = writtenPolicy{&v.Spec, unusable(&v.Status, v.Generation), at}
	case *v1alpha1.ClusterImagePolicy:
		o.policies[policy.Name{Name: v.Name}] = writtenPolicy{&v.Spec.ImagePolicySpec, unusable(&v.Status, v.Generation), ""}
	case *v1alpha1.TrustRoot:
		o.trustRoots[v.Name] = v
	}
}

// unusable tells whether a status says of this generation of its policy that it can't be used.
func unusable(s *v1alpha1.PolicyStatus, generation int64) bool {
	return s.ObservedGeneration == generation && meta.IsStatusConditionFalse(s.Conditions, compile.ConditionReady)
}

// trustRoot is the TrustRoot that an authority of a policy names; empty where it names none.
func (o *objects) trustRoot(p policy.Name, authority string) string {
	spec := o.policies[p].spec
	if spec == nil {
		return ""
	}
	for _, a := range spec.Authorities {
		switch {
		case a.Name != authority:
		case a.Keyless != nil:
			return a.Keyless.TrustRoot
		case a.Certificate != nil:
			return a.Certificate.TrustRoot
		case a.Key != nil:
			return a.Key.TrustRoot
		}
	}
	return ""
}

// rootOf says by which TrustRoot an authority of a policy is judged, if by any.
func (o *objects) rootOf(p policy.Name, authority string) trustRoot {
	named := o.trustRoot(p, authority)
	_, known := o.trustRoots[cmp.Or(named, compile.DefaultTrustRoot)]
	return trustRoot{named, known}
}

// mirrors are the TUF mirrors that a TrustRoot follows.
func (o *objects) mirrors(trustRoot string) (urls []string) {
	t, ok := o.trustRoots[cmp.Or(trustRoot, compile.DefaultTrustRoot)]
	if !ok {
		return nil
	}
	for _, s := range t.Spec.Sources {
		if s.TUF != nil {
			urls = append(urls, s.TUF.Mirror)
		}
	}
	return urls
}

// remembering is a reader of a cluster that keeps the policies and TrustRoots which it was answered.
type remembering struct {
	client.Reader
	objects *objects
}

// Get implements client.Reader.
func (r remembering) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, obj, opts...)
	if u, ok := obj.(*unstructured.Unstructured); ok && err == nil {
		r.keep(u)
	}
	return err
}

// List implements client.Reader.
func (r remembering) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := r.Reader.List(ctx, list, opts...)
	if u, ok := list.(*unstructured.UnstructuredList); ok && err == nil {
		for i := range u.Items {
			r.keep(&u.Items[i])
		}
	}
	return err
}

func (r remembering) keep(u *unstructured.Unstructured) {
	raw, err := u.MarshalJSON()
	if err != nil {
		return
	}
	if obj, err := compile.Decode(raw); err == nil {
		r.objects.take(obj)
	}
}
