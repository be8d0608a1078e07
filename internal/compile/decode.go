package compile

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	strictjson "sigs.k8s.io/json"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// MaxObject bounds one object, in bytes: the API server accepts no larger request body.
const MaxObject = 3 << 20

// DecodeError says what of a policy object can't be read. Each problem names its field by its path.
type DecodeError struct {
	Problems []string
}

// Error implements error.
func (e *DecodeError) Error() string { return strings.Join(e.Problems, "; ") }

// Decode reads one of our objects from JSON: an *v1alpha1.ImagePolicy, an *v1alpha1.ClusterImagePolicy, an *v1alpha1.TrustRoot or an
// *v1alpha1.ImageException.
//
// It is strict beside and in spec: a field that this version doesn't know, or that is there twice, or in another case, is an
// error (*DecodeError) that names it. It is lenient in metadata, which the API server may know better than we, and in
// status, which nobody but us writes. YAML must come through YAMLToJSONStrict of sigs.k8s.io/yaml, which refuses duplicate keys.
func Decode(raw []byte) (Object, error) {
	d, err := open(raw)
	if err != nil {
		return nil, err
	}
	obj, problems := d.object()
	if len(problems) > 0 {
		return nil, &DecodeError{Problems: problems}
	}
	return obj, nil
}

// document is a policy object of which only the outermost fields are read.
type document struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	Spec       json.RawMessage `json:"spec,omitempty"`
	Status     json.RawMessage `json:"status,omitempty"`

	problems []string
}

// open reads the outermost fields. It fails where nothing can be read at all.
func open(raw []byte) (document, error) {
	var d document
	if len(raw) > MaxObject {
		return d, fmt.Errorf("object of %d bytes is over the bound of %d", len(raw), MaxObject)
	}
	d.problems = strictly(raw, &d, "")
	want := v1alpha1.GroupVersion().String()
	switch {
	case d.APIVersion != want:
		d.problems = append(d.problems, fmt.Sprintf("apiVersion: %.80q, want %s", d.APIVersion, want))
	case d.Kind != KindImagePolicy && d.Kind != KindClusterImagePolicy && d.Kind != KindTrustRoot && d.Kind != KindImageException:
		d.problems = append(d.problems, fmt.Sprintf("kind: %.80q, want %s, %s, %s or %s",
			d.Kind, KindImagePolicy, KindClusterImagePolicy, KindTrustRoot, KindImageException))
	default:
		return d, nil
	}
	return d, &DecodeError{Problems: d.problems}
}

// object reads what is inside, and all that is wrong with it.
func (d document) object() (Object, []string) {
	problems := d.problems
	if len(d.Spec) == 0 || string(d.Spec) == "null" {
		what := "which images the policy is about and what it asks for"
		switch d.Kind {
		case KindTrustRoot:
			what = "where the trusted roots come from, for instance {sources: [{public: {}}]}"
		case KindImageException:
			what = "owner, reason, expires, images and ids"
		}
		problems = append(problems, "spec: missing: say in it "+what)
	}
	var meta metav1.ObjectMeta
	if len(d.Metadata) > 0 {
		if err := strictjson.UnmarshalCaseSensitivePreserveInts(d.Metadata, &meta); err != nil {
			problems = append(problems, "metadata: "+err.Error())
		}
	}
	kind := metav1.TypeMeta{APIVersion: d.APIVersion, Kind: d.Kind}
	if d.Kind == KindTrustRoot {
		o := &v1alpha1.TrustRoot{TypeMeta: kind, ObjectMeta: meta}
		if len(d.Status) > 0 && strictjson.UnmarshalCaseSensitivePreserveInts(d.Status, &o.Status) != nil {
			o.Status = v1alpha1.TrustRootStatus{}
		}
		return o, append(problems, strictly(d.Spec, &o.Spec, "spec")...)
	}
	if d.Kind == KindImageException {
		o := &v1alpha1.ImageException{TypeMeta: kind, ObjectMeta: meta}
		if len(d.Status) > 0 && strictjson.UnmarshalCaseSensitivePreserveInts(d.Status, &o.Status) != nil {
			o.Status = v1alpha1.ImageExceptionStatus{}
		}
		return o, append(problems, strictly(d.Spec, &o.Spec, "spec")...)
	}
	var status v1alpha1.PolicyStatus
	if len(d.Status) > 0 && strictjson.UnmarshalCaseSensitivePreserveInts(d.Status, &status) != nil {
		status = v1alpha1.PolicyStatus{} // it is written anew, and nothing is decided by it
	}
	if d.Kind == KindClusterImagePolicy {
		o := &v1alpha1.ClusterImagePolicy{TypeMeta: kind, ObjectMeta: meta, Status: status}
		return o, append(problems, strictly(d.Spec, &o.Spec, "spec")...)
	}
	o := &v1alpha1.ImagePolicy{TypeMeta: kind, ObjectMeta: meta, Status: status}
	return o, append(problems, strictly(d.Spec, &o.Spec, "spec")...)
}

// salvage reads of a broken object what says which images and namespaces it is about, and in what mode: each by itself,
// strictly. What can't be read so is left at its zero value, which for all three is the one that refuses most.
func (d document) salvage() Object {
	var fields map[string]json.RawMessage
	if strictjson.UnmarshalCaseSensitivePreserveInts(d.Spec, &fields) != nil {
		fields = nil
	}
	var spec v1alpha1.ClusterImagePolicySpec
	if len(strictly(fields["images"], &spec.Images, "")) > 0 {
		spec.Images = v1alpha1.Images{}
	}
	if len(strictly(fields["mode"], &spec.Mode, "")) > 0 {
		spec.Mode = ""
	}
	if len(strictly(fields["namespaceSelector"], &spec.NamespaceSelector, "")) > 0 {
		spec.NamespaceSelector = nil
	}
	var meta metav1.ObjectMeta
	if len(d.Metadata) > 0 && strictjson.UnmarshalCaseSensitivePreserveInts(d.Metadata, &meta) != nil {
		meta = metav1.ObjectMeta{}
	}
	if d.Kind == KindClusterImagePolicy {
		return &v1alpha1.ClusterImagePolicy{ObjectMeta: meta, Spec: spec}
	}
	return &v1alpha1.ImagePolicy{ObjectMeta: meta, Spec: spec.ImagePolicySpec}
}

// strictly decodes JSON into v, and returns what is wrong with it, each problem with the field's path below at.
func strictly(raw []byte, v any, at string) []string {
	if len(raw) == 0 {
		return nil
	}
	strict, err := strictjson.UnmarshalStrict(raw, v)
	if err != nil {
		return []string{plain(err, at)}
	}
	var problems []string
	for i, e := range strict {
		if i == maxProblems {
			return append(problems, "and more: mend these first")
		}
		cure := ""
		if fe, ok := errors.AsType[strictjson.FieldError](e); ok {
			cure = cureFor(reflect.TypeOf(v), fe.FieldPath(), at)
			if at != "" {
				fe.SetFieldPath(at + "." + fe.FieldPath())
			}
		}
		problems = append(problems, e.Error()+cure)
	}
	return problems
}

// goWords is how encoding/json says that a field has the wrong type.
var goWords = regexp.MustCompile(`^json: cannot unmarshal (\S+) into Go (?:struct field [A-Za-z]+\.(\S+)|value) of type (\S+)$`)

// plain words a decoding error for people who don't know Go: the field first, by its path.
func plain(err error, at string) string {
	if text := err.Error(); strings.HasPrefix(text, "time: ") {
		return strings.TrimPrefix(at+": ", ": ") + strings.TrimPrefix(text, "time: ") + ": write hours, minutes and seconds, for instance 24h"
	}
	m := goWords.FindStringSubmatch(err.Error())
	if m == nil {
		if at == "" {
			return err.Error()
		}
		return at + ": " + err.Error()
	}
	path := strings.Trim(at+"."+m[2], ".")
	if path == "" {
		path = "object"
	}
	return fmt.Sprintf("%s: want %s, is %s", path, goType.Replace(m[3]), m[1])
}

var goType = strings.NewReplacer("v1alpha1.", "", "*", "", "[]", "list of ", "int32", "a whole number", "string", "text")
