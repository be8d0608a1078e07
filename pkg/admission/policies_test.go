package admission_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/pratique-dev/pratique/pkg/admission"
)

func TestAPolicyIsJudgedWhenItIsWritten(t *testing.T) {
	t.Parallel()
	check := func(raw []byte) (problems, warnings []string) {
		if strings.Contains(string(raw), "bad") {
			return []string{"spec.require.sbom: not supported yet", "spec.images: \x1b[31m"}, []string{strings.Repeat("w", 200)}
		}
		return nil, []string{"a selector that an unlabelled namespace escapes"}
	}
	for what, tc := range map[string]struct {
		op          admissionv1.Operation
		now, before any
		allowed     bool
		says        string
	}{
		"a good one is created":                        {admissionv1.Create, []byte(`{"spec":{"a":"good"}}`), nil, true, ""},
		"a bad one is refused, with every problem":     {admissionv1.Create, []byte(`{"spec":{"a":"bad"}}`), nil, false, "spec.require.sbom: not supported yet\n  spec.images: ?[31m"},
		"a good one is made bad":                       {admissionv1.Update, []byte(`{"spec":{"a":"bad"}}`), []byte(`{"spec":{"a":"good"}}`), false, "InvalidPolicy"},
		"a label of a bad one is changed":              {admissionv1.Update, []byte(`{"metadata":{"labels":{"x":"y"}},"spec":{"a":"bad"}}`), []byte(`{"spec":{"a":"bad"}}`), true, ""},
		"an update without a spec is not taken for it": {admissionv1.Update, []byte(`{"bad":1}`), []byte(`{"bad":1}`), false, "InvalidPolicy"},
		"there is no object":                           {admissionv1.Create, nil, nil, false, "no object"},
		"something else is asked":                      {admissionv1.Delete, nil, []byte(`{}`), false, "DELETE"},
	} {
		t.Run(what, func(t *testing.T) {
			rec := &recorder{}
			h := &admission.Policies{Check: check, Recorder: rec}
			if err := h.Validate(); err != nil {
				t.Fatal(err)
			}
			resp := h.Handle(t.Context(), review(t, tc.op, tc.now, tc.before))
			if resp.Allowed != tc.allowed || !strings.Contains(resp.Result.Message, tc.says) {
				t.Errorf("allowed %t: %q", resp.Allowed, resp.Result.Message)
			}
			for _, w := range resp.Warnings {
				if len(w) > 120 {
					t.Errorf("a warning of %d bytes", len(w))
				}
			}
			if len(rec.records) != 1 || (rec.records[0].Decision == "refused") == tc.allowed {
				t.Errorf("records %+v", rec.records)
			}
		})
	}
}
