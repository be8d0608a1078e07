package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	kyaml "sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/pkg/admission"
)

// manifestImages returns the images of every Pod and every Pod template in a stream of YAML documents. What has no Pod in it is
// passed over; what should have one and can't be read is an error.
func manifestImages(data []byte) ([]admission.Image, error) {
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
		found, err := documentImages(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		out = append(out, found...)
	}
}

func documentImages(doc []byte) ([]admission.Image, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, nil
	}
	var head struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name         string `json:"name"`
			GenerateName string `json:"generateName"`
		} `json:"metadata"`
		Items []runtime.RawExtension `json:"items"`
	}
	if err := kyaml.Unmarshal(doc, &head); err != nil {
		return nil, err
	}
	if head.Kind == "List" {
		var out []admission.Image
		for i, item := range head.Items {
			found, err := documentImages(item.Raw)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			out = append(out, found...)
		}
		return out, nil
	}
	spec, err := podSpec(head.Kind, doc)
	if err != nil || spec == nil {
		return nil, err
	}
	images := admission.Images(spec)
	for i := range images {
		images[i].Name = fmt.Sprintf("%s of %s/%s", images[i].Name, head.Kind, head.Metadata.Name+head.Metadata.GenerateName)
	}
	return images, nil
}

// podSpec returns the Pod in an object, or nil for a kind that has none.
func podSpec(kind string, doc []byte) (*corev1.PodSpec, error) {
	read := func(into any) error { return kyaml.UnmarshalStrict(doc, into) }
	switch kind {
	case "Pod":
		var o corev1.Pod
		err := read(&o)
		return &o.Spec, err
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
	return nil, nil
}
