package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// auditPolicy records every write, whole once it is answered, with the
// annotations that admission left, and without the objects themselves.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete]}
`

// AuditEvent is what the API server's audit log says of one write. It is the
// part of audit.k8s.io/v1 Event that tests ask about, under the same names.
type AuditEvent struct {
	Verb        string            `json:"verb"`
	RequestURI  string            `json:"requestURI"`
	User        AuditUser         `json:"user"`
	ObjectRef   AuditObject       `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
	// ResponseStatus has the HTTP status in Code; Reason and Message are set
	// only where the request was refused.
	ResponseStatus AuditStatus `json:"responseStatus"`
}

// AuditUser is who wrote.
type AuditUser struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

// AuditObject is what was written.
type AuditObject struct {
	APIGroup    string `json:"apiGroup"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// AuditStatus is what was answered.
type AuditStatus struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// AuditLog is the path of the API server's audit log, one JSON event a line.
// It goes on over a restart of the API server.
func (c *Cluster) AuditLog() string { return c.auditLog }

// AuditEvents reads the audit log as it is now, oldest event first. The API
// server writes an event once the request is answered, which may be a moment
// after the client has read the answer: see [Cluster.WaitForAuditEvent].
func (c *Cluster) AuditEvents() ([]AuditEvent, error) {
	text, err := os.ReadFile(c.auditLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was written yet
	}
	if err != nil {
		return nil, err
	}
	return parseAuditLog(text)
}

// WaitForAuditEvent returns the oldest event that match accepts, waiting for
// it until ctx ends.
func (c *Cluster) WaitForAuditEvent(ctx context.Context, match func(AuditEvent) bool) (AuditEvent, error) {
	for {
		events, err := c.AuditEvents()
		if err != nil {
			return AuditEvent{}, err
		}
		for _, event := range events {
			if match(event) {
				return event, nil
			}
		}
		select {
		case <-ctx.Done():
			return AuditEvent{}, fmt.Errorf("none of %d audit events matches: %w", len(events), ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// parseAuditLog reads every finished line; the last may still be growing.
func parseAuditLog(text []byte) ([]AuditEvent, error) {
	var events []AuditEvent
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return events, nil
		}
		text = rest
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("audit log, line %d: %w", n, err)
		}
		events = append(events, event)
	}
}
