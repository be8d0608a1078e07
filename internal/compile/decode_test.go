package compile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/api/v1alpha1"
)

// full has every field of the schema, so that a typo can be put at each level.
const full = `{
  "apiVersion": "pratique.dev/v1alpha1",
  "kind": "ClusterImagePolicy",
  "metadata": {"name": "all", "labels": {"a": "b"}},
  "spec": {
    "mode": "Warn",
    "namespaceSelector": {"matchLabels": {"env": "production"}, "matchExpressions": [{"key": "team", "operator": "Exists"}]},
    "namespaceExceptions": {"severities": ["low"], "maxDuration": "720h"},
    "images": {"include": ["**"], "exclude": ["docker.io/**"], "platforms": ["linux/amd64"]},
    "references": {"tags": "Deny", "allow": ["v*"], "deny": ["latest"]},
    "authorities": [
      {"name": "a", "key": {"secretRef": {"name": "s", "key": "k"}}, "log": "Optional", "timestamp": "Optional", "repository": "r.example.com/x"},
      {"name": "b", "key": {"configMapRef": {"name": "c", "key": "k"}}},
      {"name": "c", "key": {"data": "PEM", "kms": "awskms:///x"}},
      {"name": "d", "keyless": {"trustRoot": "t", "identities": [{"issuer": "i", "subject": "s", "issuerPattern": "i", "subjectPattern": "s", "extensions": {"x": "y"}}]}},
      {"name": "e", "certificate": {"roots": "PEM", "identities": [{"subject": "s", "subjectPattern": "p"}]}}
    ],
    "require": {
      "signature": {"by": ["a"], "atLeast": 1},
      "sbom": {"by": ["a"], "formats": ["SPDX"], "minPackages": 1, "maxAge": "1h", "licenses": {"deny": ["GPL-*"], "allow": [], "unknown": "Warn", "exceptions": [{"package": "p", "license": "l", "reason": "r", "expires": "2027-01-31"}]}},
      "vulnerabilities": {"by": ["a"], "maxAge": "1h", "max": {"critical": 0, "high": 0, "medium": 1, "low": 2, "negligible": 3}, "warn": {"low": 5}, "unknown": "high", "onlyFixable": true, "scanners": ["grype"], "maxDatabaseAge": "120h", "exceptions": [{"id": "CVE-1", "reason": "r", "expires": "2027-01-31"}], "vex": {"by": ["a"]}},
      "secrets": {"by": ["a"], "maxAge": "1h"},
      "provenance": {"by": ["a"], "builders": ["b"], "sources": ["s"], "refs": ["r"], "buildTypes": ["t"]},
      "tests": [{"name": "smoke", "by": ["a"], "maxAge": "1h"}],
      "approvals": {"by": ["a"], "atLeast": 1, "environment": "production", "maxAge": "1h"},
      "promotion": {"by": ["a"], "to": "production"},
      "custom": [{"predicateType": "https://acme.example/v1", "by": ["a"], "rules": [{"cel": "true", "message": "m"}]}]
    },
    "acceptSummary": {"by": ["a"], "verifierID": "v", "insteadOf": ["sbom"], "maxAge": "1h"}
  }
}`

func TestDecodeReadsEveryFieldOfTheSchema(t *testing.T) {
	t.Parallel()
	obj, err := Decode([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	p, ok := obj.(*v1alpha1.ClusterImagePolicy)
	if !ok {
		t.Fatalf("is a %T", obj)
	}
	if p.Spec.Mode != v1alpha1.ModeWarn || *p.Spec.Require.Approvals.AtLeast != 1 || p.Spec.Require.Vulnerabilities.VEX.By[0] != "a" {
		t.Errorf("read wrongly: %s", pretty(t, p.Spec))
	}
}

// A typo in any object of spec, however deep, is refused and named: each opening brace gets a field that nobody knows.
func TestDecodeRefusesATypoAtEveryLevelOfSpec(t *testing.T) {
	t.Parallel()
	spec := strings.Index(full, `"spec"`)
	n := 0
	for i := spec; i < len(full); i++ {
		if full[i] != '{' {
			continue
		}
		before := full[:i]
		free := []string{`"matchLabels": `, `"extensions": `} // maps of the author's own names
		if strings.HasSuffix(before, free[0]) || strings.HasSuffix(before, free[1]) {
			continue
		}
		n++
		_, err := Decode([]byte(full[:i+1] + `"tpyo": "x", ` + full[i+1:]))
		de, ok := errors.AsType[*DecodeError](err)
		if !ok || len(de.Problems) != 1 || !strings.Contains(de.Problems[0], "unknown field \"spec.") || !strings.Contains(de.Problems[0], "tpyo") {
			t.Errorf("a typo after %q: %v", full[max(0, i-30):i+1], err)
		}
	}
	if n < 38 {
		t.Fatalf("only %d levels were tried", n)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	policy := func(spec string) string {
		return fmt.Sprintf(`{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","metadata":{"name":"p"},"spec":%s}`, spec)
	}
	for _, tt := range []struct{ name, raw, want string }{
		{"a field in the wrong case", policy(`{"images":{"include":["**"]},"Mode":"Warn"}`), `unknown field "spec.Mode"`},
		{"a nested field in the wrong case", policy(`{"require":{"signature":{"by":["a"],"atleast":2}}}`), `unknown field "spec.require.signature.atleast"`},
		{"a duplicate field", policy(`{"mode":"Enforce","mode":"Audit"}`), `duplicate field "spec.mode"`},
		{"a duplicate requirement", policy(`{"require":{"signature":{"by":["a"]},"signature":{"by":["b"]}}}`), `duplicate field "spec.require.signature"`},
		{"a second spec", `{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","spec":{},"spec":{"mode":"Audit"}}`, `duplicate field "spec"`},
		{"a field beside spec", `{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","spec":{},"require":{}}`, `unknown field "require"`},
		{"a namespaceSelector in an ImagePolicy", policy(`{"namespaceSelector":{}}`), `unknown field "spec.namespaceSelector"`},
		{"a namespace in a Secret's reference", policy(`{"authorities":[{"name":"a","key":{"secretRef":{"name":"s","key":"k","namespace":"other"}}}]}`), `unknown field "spec.authorities[0].key.secretRef.namespace"`},
		{"text where a number belongs", policy(`{"require":{"signature":{"by":["a"],"atLeast":"2"}}}`), `spec.require.signature.atLeast: want a whole number, is string`},
		{"a list where an object belongs", policy(`{"require":[]}`), `spec.require: want Require, is array`},
		{"no spec", `{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy"}`, `spec: missing`},
		{"a null spec", policy(`null`), `spec: missing`},
		{"another version", `{"apiVersion":"pratique.dev/v1","kind":"ImagePolicy","spec":{}}`, `apiVersion: "pratique.dev/v1", want pratique.dev/v1alpha1`},
		{"another kind", `{"apiVersion":"pratique.dev/v1alpha1","kind":"Policy","spec":{}}`, `kind: "Policy", want ImagePolicy, ClusterImagePolicy, TrustRoot or ImageException`},
		{"a kind in the wrong case", `{"apiVersion":"pratique.dev/v1alpha1","kind":"imagepolicy","spec":{}}`, `kind: "imagepolicy"`},
		{"text after the object", policy(`{}`) + `{}`, `invalid character`},
		{"no JSON", `kind: ImagePolicy`, `invalid character`},
		{"nothing", ``, `apiVersion`},
		{"null", `null`, `apiVersion`},
		{"metadata that are no object", `{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","metadata":"x","spec":{}}`, `metadata`},
		{"more than any object can be", policy(`"` + strings.Repeat("x", MaxObject) + `"`), `over the bound`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			obj, err := Decode([]byte(tt.raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant an error with %s", err, tt.want)
			}
			if obj != nil {
				t.Errorf("an object beside the error: %v", obj)
			}
		})
	}
}

func TestDecodeToleratesWhatNewerServersPutIntoMetadataAndStatus(t *testing.T) {
	t.Parallel()
	obj, err := Decode([]byte(`{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy",
		"metadata":{"name":"p","namespace":"n","generation":3,"fromTheFuture":{"a":1}},
		"spec":{"images":{"include":["**"]}},
		"status":{"observedGeneration":2,"fromTheFuture":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	p, ok := obj.(*v1alpha1.ImagePolicy)
	if !ok || p.Generation != 3 || p.Status.ObservedGeneration != 2 {
		t.Errorf("read wrongly: %s", pretty(t, obj))
	}
	if _, err := Decode([]byte(`{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","spec":{},"status":{"observedGeneration":"x"}}`)); err != nil {
		t.Errorf("a status that isn't ours to read: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"apiVersion":"pratique.dev/v1alpha1","kind":"ImagePolicy","spec":{"images":{"include":["a.b/c"]},"require":{"signature":{"by":[null]}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, r := Compiler{}.compileRaw(t.Context(), raw, key{Name: "p"})
		if p.Unusable == "" && r.Reason != ReasonCompiled {
			t.Errorf("usable, with reason %s", r.Reason)
		}
		if p.Unusable == "" {
			obj, err := Decode(raw)
			if err != nil {
				t.Fatalf("usable, though it can't be decoded: %v", err)
			}
			if errs := Validate(obj); len(errs) > 0 {
				t.Fatalf("usable, though invalid: %v", errs)
			}
		}
	})
}
