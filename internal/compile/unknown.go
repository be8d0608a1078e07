package compile

import (
	"reflect"
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// maxFieldName bounds the unknown names, in bytes, that known ones are compared with: none of ours is half as long.
const maxFieldName = 64

// cureFor says, with ": " before it, what to do about a field that is unknown or there twice. root is the type that was
// decoded, path the field's path in it, and at the path of root in the object.
func cureFor(root reflect.Type, path, at string) string {
	root = element(root)
	in, name, known := descend(root, path)
	if known {
		return ": write it once"
	}
	if in == nil || in.Kind() != reflect.Struct || len(name) > maxFieldName {
		return ""
	}
	cluster := reflect.TypeFor[v1alpha1.ClusterImagePolicySpec]()
	switch {
	case in == reflect.TypeFor[v1alpha1.KeySelector]() && strings.EqualFold(name, "namespace"):
		if root == reflect.TypeFor[v1alpha1.TrustRootSpec]() {
			return ": a TrustRoot reads Secrets and ConfigMaps of the install's namespace only: leave the field out, and put the object there"
		}
		if root == cluster {
			return ": a ClusterImagePolicy reads Secrets and ConfigMaps of the install's namespace only: leave the field out, and put the object there"
		}
		return ": a policy reads Secrets and ConfigMaps of its own namespace only: leave the field out, and put the object there"
	case root == reflect.TypeFor[v1alpha1.ImagePolicySpec]() && in == root && slices.Contains(fieldNames(cluster), name):
		return ": only a ClusterImagePolicy has it; an ImagePolicy is about its own namespace"
	case in == reflect.TypeFor[document]() && (slices.Contains(fieldNames(cluster), name) || slices.Contains(fieldNames(reflect.TypeFor[v1alpha1.TrustRootSpec]()), name) ||
		slices.Contains(fieldNames(reflect.TypeFor[v1alpha1.ImageExceptionSpec]()), name)):
		return ": it belongs in spec"
	}
	names := fieldNames(in)
	near, distance := nearest(name, names)
	if distance <= 1 {
		return ": did you mean " + near + "?"
	}
	if places := placesOf(root, name); len(places) == 1 {
		return ": did you mean " + strings.TrimPrefix(at+"."+places[0], ".") + "?"
	}
	if distance <= len(name)/3 {
		return ": did you mean " + near + "?"
	}
	if len(names) == 0 {
		return ""
	}
	return ": want " + strings.Join(names, ", ")
}

// element is what a pointer points at.
func element(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// descend follows a path from a type as far as it is known. It returns the type that it ends in, and what is left of the
// path: the name of the unknown field. A path that is known to its end is of a field that is there twice.
func descend(t reflect.Type, path string) (in reflect.Type, name string, known bool) {
	for {
		t = element(t)
		if path == "" {
			return t, "", true
		}
		switch t.Kind() {
		case reflect.Struct:
			end := strings.IndexAny(path+".", ".[")
			field, ok := fieldType(t, path[:end])
			if !ok {
				return t, path, false
			}
			t, path = field, strings.TrimPrefix(path[end:], ".")
		case reflect.Slice, reflect.Array:
			_, rest, ok := strings.Cut(path, "]")
			if !ok || path[0] != '[' {
				return nil, path, false
			}
			t, path = t.Elem(), strings.TrimPrefix(rest, ".")
		case reflect.Map: // its keys are the author's own, and may hold dots
			return nil, path, !strings.ContainsAny(path, ".[")
		default:
			return nil, path, false
		}
	}
}

// eachField calls f for each field of a struct that JSON knows, those of embedded structs included.
func eachField(t reflect.Type, f func(name string, of reflect.Type)) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case field.Anonymous && name == "" && element(field.Type).Kind() == reflect.Struct:
			eachField(element(field.Type), f)
		case field.IsExported() && name != "":
			f(name, field.Type)
		}
	}
}

func fieldNames(t reflect.Type) (names []string) {
	eachField(t, func(name string, _ reflect.Type) { names = append(names, name) })
	return names
}

func fieldType(t reflect.Type, name string) (of reflect.Type, ok bool) {
	eachField(t, func(n string, t reflect.Type) {
		if n == name && !ok {
			of, ok = t, true
		}
	})
	return of, ok
}

// placesOf returns the paths of all fields of a name below a type of ours. Of lists it doesn't say which element.
func placesOf(t reflect.Type, name string) (places []string) {
	if t = element(t); t.Kind() == reflect.Slice {
		t = element(t.Elem())
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[v1alpha1.References]().PkgPath() {
		return nil
	}
	eachField(t, func(field string, of reflect.Type) {
		if field == name {
			places = append(places, field)
		}
		if of = element(of); of.Kind() == reflect.Slice {
			field += "[]"
		}
		for _, below := range placesOf(of, name) {
			places = append(places, field+"."+below)
		}
	})
	return places
}

// nearest returns the name that is the fewest slips of a writer away, and how many those are. Another case is none. Nothing is near
// a name of more than maxFieldName: what a comparison costs grows with both lengths.
func nearest(name string, names []string) (near string, distance int) {
	if distance = len(name) + 1; len(name) > maxFieldName {
		return "", distance
	}
	for _, n := range names {
		if d := slips(strings.ToLower(name), strings.ToLower(n)); d < distance {
			near, distance = n, d
		}
	}
	return near, distance
}

// slips counts the letters to leave out, put in, replace, or swap with their neighbours, until a is b: the optimal string
// alignment distance.
func slips(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
