package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/pkg/admission"
)

// manifestImages returns the images of every Pod and every Pod template in a stream of YAML documents. What has no Pod in it is
// passed over; what should have one and can't be read is an error, and so is what is meant for another namespace.
func manifestImages(data []byte, namespace string) ([]admission.Image, error) {
	var out []admission.Image
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		for line := range bytes.Lines(doc) {
			if bytes.HasPrefix(line, []byte("...")) {
				return nil, fmt.Errorf("document %d: a line begins with ..., after which the rest would go unread: separate documents by ---", n)
			}
		}
		raw, err := kyaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		found, err := documentImages(raw, "", namespace)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		out = append(out, found...)
	}
}

// documentImages returns the images of one JSON document. Kind is that of an item whose list says it.
func documentImages(doc []byte, kind, namespace string) ([]admission.Image, error) {
	var head struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name         string `json:"name"`
			GenerateName string `json:"generateName"`
			Namespace    string `json:"namespace"`
		} `json:"metadata"`
		Items []runtime.RawExtension `json:"items"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(doc, &head); err != nil {
		return nil, err
	}
	kind = cmp.Or(head.Kind, kind)
	if of, ok := strings.CutSuffix(kind, "List"); ok {
		var out []admission.Image
		for i, item := range head.Items {
			found, err := documentImages(item.Raw, of, namespace)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
			out = append(out, found...)
		}
		return out, nil
	}
	where := kind + " " + head.Metadata.Name + head.Metadata.GenerateName
	spec, err := podSpec(kind, doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if spec == nil {
		return nil, nil
	}
	if at := head.Metadata.Namespace; at != "" && at != namespace {
		return nil, fmt.Errorf("%s is of namespace %s, and %s's policies are asked: give -n %s", where, at, namespace, at)
	}
	images := admission.Images(spec)
	for i := range images {
		images[i].Name += " of " + where
	}
	return images, nil
}

// podSpec returns the Pod in an object, or nil for a kind that has none. Kinds that Kubernetes doesn't know, such as those of
// rollout controllers, have one if their spec.template has containers.
func podSpec(kind string, doc []byte) (*corev1.PodSpec, error) {
	read := func(into any) error {
		strict, err := kjson.UnmarshalStrict(doc, into)
		return errors.Join(append(strict, err)...)
	}
	switch kind {
	case "Pod":
		var o corev1.Pod
		err := read(&o)
		return &o.Spec, err
	case "PodTemplate":
		var o corev1.PodTemplate
		err := read(&o)
		return &o.Template.Spec, err
	case "Deployment":
		var o appsv1.Deployment
		err := read(&o)
		return &o.Spec.Template.Spec, err
	case "StatefulSet":
		var o appsv1.StatefulSet
		err := read(&o)
		return &o.Spec.Template.Spec, err
	case "DaemonSet":
		var o appsv1.DaemonSet
		err := read(&o)
		return &o.Spec.Template.Spec, err
	case "ReplicaSet":
		var o appsv1.ReplicaSet
		err := read(&o)
		return &o.Spec.Template.Spec, err
	case "ReplicationController":
		var o corev1.ReplicationController
		if err := read(&o); err != nil || o.Spec.Template == nil {
			return nil, err
		}
		return &o.Spec.Template.Spec, nil
	case "Job":
		var o batchv1.Job
		err := read(&o)
		return &o.Spec.Template.Spec, err
	case "CronJob":
		var o batchv1.CronJob
		err := read(&o)
		return &o.Spec.JobTemplate.Spec.Template.Spec, err
	}
	var other struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers json.RawMessage `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(doc, &other); err != nil || other.Spec.Template.Spec.Containers == nil {
		return nil, nil // something else is called template there
	}
	var o struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	err := kjson.UnmarshalCaseSensitivePreserveInts(doc, &o)
	return &o.Spec.Template.Spec, err
}
