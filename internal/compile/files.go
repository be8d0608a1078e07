package compile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// Bounds of files.
const (
	maxFile      = 32 << 20 // bytes: ten objects of the largest kind, and more than any repository of policies
	maxDocuments = 10_000   // of all files together
)

// File is a stream of YAML or JSON documents, and the name that errors call it by.
type File struct {
	Name   string
	Reader io.Reader
}

// LoadFiles reads policies, what they refer to and what loosens them: ImagePolicy, ClusterImagePolicy, TrustRoot, ImageException, Secret,
// ConfigMap and Namespace, one or several documents a file, and List of them. Another kind, a field that its kind doesn't have, an object of
// ours that Validate refuses, an ImageException that is to last longer than policy.MaxExceptionAge, and two objects of one name are errors, which
// name file and document.
//
// An ImageException without metadata.creationTimestamp, which is what people write, counts as made now. One that has ended is no error: it
// excuses nothing.
func LoadFiles(files ...File) (*Bundle, error) {
	l := loader{bundle: &Bundle{namespaces: map[string]map[string]string{}, roots: map[string]*v1alpha1.TrustRoot{}}, seen: map[string]string{}}
	for _, f := range files {
		if err := l.file(f); err != nil {
			return nil, err
		}
	}
	return l.bundle, nil
}

type loader struct {
	bundle    *Bundle
	seen      map[string]string // where each object was
	documents int
}

func (l *loader) file(f File) error {
	text, err := io.ReadAll(io.LimitReader(f.Reader, maxFile+1))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if len(text) > maxFile {
		return fmt.Errorf("%s: over the bound of %d bytes", f.Name, maxFile)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		where := fmt.Sprintf("%s, document %d", f.Name, n)
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if l.documents++; l.documents > maxDocuments {
			return fmt.Errorf("%s: over the bound of %d documents", where, maxDocuments)
		}
		if err := l.document(where, document); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
}

// document reads one YAML document, which JSON is too.
func (l *loader) document(where string, text []byte) error {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("...")) || bytes.ContainsRune(line, '\r') {
			return errors.New("a line begins with ... or ends in a lone carriage return, where the rest could go unread: separate documents by --- and lines by newlines")
		}
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	if string(raw) == "null" {
		return nil // only comments
	}
	return l.object(where, raw)
}

// head is what says which kind of object a document is.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func (l *loader) object(where string, raw []byte) error {
	var h head
	if err := strictjson.UnmarshalCaseSensitivePreserveInts(raw, &h); err != nil {
		return errors.New(plain(err, ""))
	}
	group := v1alpha1.GroupVersion().String()
	switch h {
	case head{group, KindImagePolicy}, head{group, KindClusterImagePolicy}:
		return l.policy(where, raw)
	case head{group, KindTrustRoot}:
		return l.trustRoot(where, raw)
	case head{group, KindImageException}:
		return l.exception(where, raw)
	case head{"v1", "Namespace"}:
		return l.namespace(where, raw)
	case head{"v1", kindSecret}:
		return l.secret(where, raw)
	case head{"v1", kindConfigMap}:
		return l.configMap(where, raw)
	case head{"v1", "List"}, head{group, KindImagePolicy + "List"}, head{group, KindClusterImagePolicy + "List"}, head{group, KindTrustRoot + "List"},
		head{group, KindImageException + "List"}:
		return l.list(where, raw)
	case head{}:
		return errors.New("no apiVersion and kind: not a Kubernetes object")
	}
	return fmt.Errorf("%s %s: want ImagePolicy, ClusterImagePolicy, TrustRoot or ImageException (%s), Secret, ConfigMap or Namespace (v1)", h.APIVersion, h.Kind, group)
}

// ours decodes one of our objects.
func (l *loader) ours(where string, raw []byte) (Object, error) {
	obj, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	var meta struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		document
	}
	if problems := strictly(raw, &meta, ""); len(problems) > 0 { // a file is written by people: in metadata too a typo is one
		return nil, &DecodeError{Problems: problems}
	}
	return obj, l.once(where, meta.Kind, obj)
}

func (l *loader) policy(where string, raw []byte) error {
	obj, err := l.ours(where, raw)
	if err != nil {
		return err
	}
	v, err := viewOf(obj)
	if err != nil {
		return err
	}
	if errs := Validate(obj); len(errs) > 0 {
		return fmt.Errorf("%s %s: %w", v.kind, v.name(), errs.ToAggregate())
	}
	l.bundle.policies = append(l.bundle.policies, obj)
	return nil
}

func (l *loader) namespace(where string, raw []byte) error {
	var ns corev1.Namespace
	if err := l.typed(where, raw, "Namespace", &ns); err != nil {
		return err
	}
	labels := map[string]string{}
	for k, v := range ns.Labels {
		labels[k] = v
	}
	labels[corev1.LabelMetadataName] = ns.Name // as the API server sets it, whatever is written
	l.bundle.namespaces[ns.Name] = labels
	return nil
}

func (l *loader) secret(where string, raw []byte) error {
	var secret corev1.Secret
	if err := l.typed(where, raw, kindSecret, &secret); err != nil {
		return err
	}
	entries := map[string][]byte{}
	for k, v := range secret.Data {
		entries[k] = v
	}
	for k, v := range secret.StringData { // which wins, as in a cluster
		entries[k] = []byte(v)
	}
	l.bundle.add(source{kind: kindSecret, namespace: secret.Namespace, name: secret.Name}, entries)
	return nil
}

func (l *loader) configMap(where string, raw []byte) error {
	var cm corev1.ConfigMap
	if err := l.typed(where, raw, kindConfigMap, &cm); err != nil {
		return err
	}
	entries := map[string][]byte{}
	for k, v := range cm.BinaryData {
		entries[k] = v
	}
	for k, v := range cm.Data {
		entries[k] = []byte(v)
	}
	l.bundle.add(source{kind: kindConfigMap, namespace: cm.Namespace, name: cm.Name}, entries)
	return nil
}

// typed decodes an object of Kubernetes' own, strictly.
func (l *loader) typed(where string, raw []byte, kind string, into metav1.Object) error {
	if problems := strictly(raw, into, ""); len(problems) > 0 {
		return &DecodeError{Problems: problems}
	}
	return l.once(where, kind, into)
}

// once refuses an object without a name, and a second one of the same name: one of the two would be ignored.
func (l *loader) once(where, kind string, obj metav1.Object) error {
	if obj.GetName() == "" {
		return fmt.Errorf("%s: metadata.name is missing", kind)
	}
	namespace := obj.GetNamespace()
	if kind == KindClusterImagePolicy || kind == KindTrustRoot || kind == "Namespace" {
		namespace = ""
	}
	name := source{kind: kind, namespace: namespace, name: obj.GetName()}.object()
	if first, ok := l.seen[name]; ok {
		return fmt.Errorf("%s is there twice, first in %s", name, first)
	}
	l.seen[name] = where
	return nil
}

// list reads what `kubectl get -o yaml` prints. A list in a list is refused as the API server refuses it.
func (l *loader) list(where string, raw []byte) error {
	var list struct {
		head
		Metadata metav1.ListMeta   `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	if problems := strictly(raw, &list, ""); len(problems) > 0 {
		return &DecodeError{Problems: problems}
	}
	for i, item := range list.Items {
		if l.documents++; l.documents > maxDocuments {
			return fmt.Errorf("over the bound of %d documents", maxDocuments)
		}
		var h struct {
			Items json.RawMessage `json:"items"`
		}
		if err := strictjson.UnmarshalCaseSensitivePreserveInts(item, &h); err == nil && h.Items != nil {
			return fmt.Errorf("item %d: a list in a list", i+1)
		}
		if err := l.object(where, item); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return nil
}
