package predicate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Bounds of the texts in the predicates that are ours; docs/schemas has the same.
const (
	// maxEnvironment bounds the name of an environment, in bytes: as long as a DNS name.
	maxEnvironment = 253
	// maxReason bounds a reason, in characters: a page.
	maxReason = 2048
	// maxTicket bounds the name or address of a ticket, in characters.
	maxTicket = 512
)

// Approval is a person's consent that an image runs in an environment: https://pratique.dev/attestation/approval/v1, whose schema is
// docs/schemas/approval-v1.json. Who consents is whoever signed it, and to what, its subject.
//
//	{"environment": "production", "approvedAt": "2026-03-01T09:30:00Z", "reason": "smoke tests looked at by hand", "ticket": "CHG-4711"}
//
// It is ours, and its version is in its type: so a name that isn't known is an error, for whoever wrote it meant something.
type Approval struct {
	environment, reason, ticket string
	at                          time.Time
}

// Environment is where the image may run. It isn't empty.
func (a *Approval) Environment() string { return a.environment }

// Reason is why, for people; it may be empty.
func (a *Approval) Reason() string { return a.reason }

// Ticket is where it was asked for, for people; it may be empty.
func (a *Approval) Ticket() string { return a.ticket }

// Time implements Facts: when it was given. It isn't zero.
func (a *Approval) Time() time.Time { return a.at }

// Size implements Facts.
func (a *Approval) Size() int64 {
	return int64(unsafe.Sizeof(*a)) + int64(len(a.environment)+len(a.reason)+len(a.ticket))
}

func (a *Approval) facts() {}

// NewApproval writes an approval. The reason and the ticket may be empty; the time is written to the second, in UTC. An error names the field
// that would not be read.
func NewApproval(environment string, at time.Time, reason, ticket string) ([]byte, error) {
	text, err := write(struct {
		Environment string `json:"environment"`
		ApprovedAt  string `json:"approvedAt"`
		Reason      string `json:"reason,omitempty"`
		Ticket      string `json:"ticket,omitempty"`
	}{environment, timeText(at), reason, ticket})
	if err != nil {
		return nil, err
	}
	_, err = readApproval(text)
	return text, err
}

func readApproval(text []byte) (*Approval, error) {
	a := &Approval{}
	err := read(text, func(s *scanner) error {
		return s.strict([]string{"environment", "approvedAt"}, names{
			"environment": func() error { return s.environment(&a.environment) },
			"approvedAt":  func() error { return s.exactTime(&a.at) },
			"reason":      func() error { return s.freeText(&a.reason, maxReason) },
			"ticket":      func() error { return s.freeText(&a.ticket, maxTicket) },
		})
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// write is encoding/json without the escapes for HTML.
func write(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// timeText writes a time to the second, in UTC; the zero one as nothing.
func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// strict reads an object of a predicate that is ours: names that aren't known are errors, and some must be there.
func (s *scanner) strict(required []string, known names) error {
	seen := map[string]bool{}
	err := s.members(func(name string) (func() error, error) {
		f, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%q: this version has no such name", clip(name))
		}
		seen[name] = true
		return f, nil
	})
	if err != nil {
		return err
	}
	for _, name := range required {
		if !seen[name] {
			return errors.New(name + ": missing")
		}
	}
	return nil
}

// CheckEnvironment refuses what can't be the name of an environment: it is of printable ASCII, and neither begins nor ends with a blank.
func CheckEnvironment(name string) error {
	if !environmentText.MatchString(name) {
		return fmt.Errorf("%q: want the name of an environment: 1 to %d printable ASCII characters, the first and the last no blank", clip(name), maxEnvironment)
	}
	return nil
}

// environment reads the name of an environment.
func (s *scanner) environment(to *string) error {
	if err := s.text(to); err != nil {
		return err
	}
	*to = strings.Clone(*to)
	return CheckEnvironment(*to)
}

// exactTime reads a time of RFC 3339 that must be there.
func (s *scanner) exactTime(to *time.Time) error {
	var text string
	if err := s.text(&text); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.IsZero() || !timeOfRFC3339.MatchString(text) { // Go would take a comma too
		return fmt.Errorf("%q is no time (RFC 3339, such as 2026-03-01T09:30:00Z)", clip(text))
	}
	*to = at.UTC()
	return nil
}

// freeText reads a text for people, of at most so many characters.
func (s *scanner) freeText(to *string, most int) error {
	if err := s.text(to); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(*to); n > most {
		return fmt.Errorf("%d characters: at most %d", n, most)
	}
	*to = strings.Clone(*to)
	return nil
}

// What texts look like; docs/schemas has the same.
var (
	environmentText = regexp.MustCompile(`^[!-~]([ -~]{0,251}[!-~])?$`)
	timeOfRFC3339   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)
	repositoryText  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)
	policyName      = regexp.MustCompile(`^[a-z0-9.-]+(/[a-z0-9.-]+)?$`)
	policyDigest    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)
