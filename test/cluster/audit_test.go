package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAuditLog(t *testing.T) {
	t.Parallel()
	const line = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"create",` +
		`"requestURI":"/api/v1/namespaces/a/pods","user":{"username":"jo","groups":["dev"]},` +
		`"objectRef":{"resource":"pods","namespace":"a","name":"p","apiVersion":"v1"},` +
		`"responseStatus":{"metadata":{},"status":"Failure","message":"no","reason":"Forbidden","code":403},` +
		`"annotations":{"images.pratique.dev/decision":"refused"}}` + "\n"
	event := AuditEvent{
		Verb:           "create",
		RequestURI:     "/api/v1/namespaces/a/pods",
		User:           AuditUser{Username: "jo", Groups: []string{"dev"}},
		ObjectRef:      AuditObject{Resource: "pods", Namespace: "a", Name: "p"},
		Annotations:    map[string]string{"images.pratique.dev/decision": "refused"},
		ResponseStatus: AuditStatus{Code: 403, Reason: "Forbidden", Message: "no"},
	}
	for _, test := range []struct {
		name, text string
		want       []AuditEvent
		refused    bool
	}{
		{name: "an empty log has no events"},
		{name: "an event is read by its API names", text: line, want: []AuditEvent{event}},
		{name: "a line still being written waits", text: line + line[:40], want: []AuditEvent{event}},
		{name: "a finished line that is no event is an error", text: line + "panic\n", refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseAuditLog([]byte(test.text))
			if (err != nil) != test.refused {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}
