package predicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// maxLevels bounds the levels that a summary lists: SLSA has a track each, and a verifier some of its own.
const maxLevels = 64

// Summary is a SLSA verification summary (https://slsa.dev/verification_summary/v1): somebody's word that an image satisfied a policy.
//
// Beside what SLSA has it may say until when it holds, as validUntil: the earliest end of what it rests on. The shapes before v1 have other
// names and predicate types, and aren't read.
type Summary struct {
	verifier, resource, policyURI, policyDigest, version string
	verified, until                                      time.Time
	passed                                               bool
	levels                                               []string
}

// Verifier is the id of who verified: verifier.id. It isn't empty.
func (v *Summary) Verifier() string { return v.verifier }

// Resource is where the image is, as a URI: resourceUri. It isn't empty.
func (v *Summary) Resource() string { return v.resource }

// PolicyURI is where the policy is; empty if the summary doesn't say.
func (v *Summary) PolicyURI() string { return v.policyURI }

// PolicyDigest is SHA-256 of what the policy asks for: "sha256:" and hex; empty if the summary doesn't say.
func (v *Summary) PolicyDigest() string { return v.policyDigest }

// Passed tells whether the image passed: it did, or it failed.
func (v *Summary) Passed() bool { return v.passed }

// Levels are the levels that were verified.
func (v *Summary) Levels() []string { return slices.Clone(v.levels) }

// SLSAVersion is the version of SLSA that the levels are of; empty if the summary doesn't say.
func (v *Summary) SLSAVersion() string { return v.version }

// ValidUntil is when what it rests on ends; zero if the summary doesn't say.
func (v *Summary) ValidUntil() time.Time { return v.until }

// Time implements Facts: when it was verified; zero if the summary doesn't say.
func (v *Summary) Time() time.Time { return v.verified }

// Size implements Facts.
func (v *Summary) Size() int64 {
	n := int64(unsafe.Sizeof(*v)) + int64(len(v.verifier)+len(v.resource)+len(v.policyURI)+len(v.policyDigest)+len(v.version))
	for _, l := range v.levels {
		n += int64(unsafe.Sizeof(l)) + int64(len(l))
	}
	return n
}

func (v *Summary) facts() {}

// SummaryFields is what NewSummary writes.
type SummaryFields struct {
	Verifier     string    // verifier.id
	Verified     time.Time // timeVerified
	Resource     string    // resourceUri, such as registry.example.com/app@sha256:...
	PolicyURI    string    // policy.uri; SLSA wants one
	PolicyDigest string    // "sha256:" and hex, as in the policy's status
	Passed       bool      // or it failed
	Levels       []string  // verifiedLevels; none: FAILED where it failed
	ValidUntil   time.Time // zero: for as long as a policy takes it
}

// summaryText is how a summary is written.
type summaryText struct {
	Verifier struct {
		ID string `json:"id"`
	} `json:"verifier"`
	TimeVerified string `json:"timeVerified"`
	ResourceURI  string `json:"resourceUri"`
	Policy       struct {
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest"`
	} `json:"policy"`
	VerificationResult string   `json:"verificationResult"`
	VerifiedLevels     []string `json:"verifiedLevels"`
	SLSAVersion        string   `json:"slsaVersion"`
	ValidUntil         string   `json:"validUntil,omitempty"`
}

// NewSummary writes a summary for version 1.0 of SLSA. Times are written to the second, in UTC, the end rounded down. An error names the
// field that would not be read.
func NewSummary(f SummaryFields) ([]byte, error) {
	digest, ok := strings.CutPrefix(f.PolicyDigest, "sha256:")
	switch {
	case f.Verified.IsZero():
		return nil, errors.New("timeVerified: missing")
	case !ok || !isSHA256(digest):
		return nil, fmt.Errorf("policy.digest: %q: want sha256: and 64 hex digits", clip(f.PolicyDigest))
	}
	t := summaryText{TimeVerified: timeText(f.Verified), ResourceURI: f.Resource, VerifiedLevels: f.Levels, SLSAVersion: "1.0", ValidUntil: timeText(f.ValidUntil)}
	t.Verifier.ID, t.Policy.URI, t.Policy.Digest = f.Verifier, f.PolicyURI, map[string]string{"sha256": digest}
	if t.VerificationResult = "FAILED"; f.Passed {
		t.VerificationResult = "PASSED"
	}
	if len(t.VerifiedLevels) == 0 {
		t.VerifiedLevels = []string{}
		if !f.Passed {
			t.VerifiedLevels = []string{"FAILED"}
		}
	}
	text, err := write(t)
	if err != nil {
		return nil, err
	}
	_, err = readSummary(text)
	return text, err
}

// isSHA256 tells whether a text is a SHA-256 in hex.
func isSHA256(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

func readSummary(text []byte) (*Summary, error) {
	v := &Summary{}
	var result string
	err := read(text, func(s *scanner) error {
		return s.object(names{
			"verifier":           func() error { return s.object(names{"id": func() error { return s.uri(&v.verifier) }}) },
			"timeVerified":       func() error { return s.time(&v.verified) },
			"resourceUri":        func() error { return s.uri(&v.resource) },
			"policy":             s.orNull(func() error { return v.readPolicy(s) }),
			"verificationResult": func() error { return s.text(&result) },
			"verifiedLevels":     s.orNull(func() error { return v.readLevels(s) }),
			"slsaVersion":        s.orNull(func() error { return s.uri(&v.version) }),
			"validUntil":         func() error { return s.exactTime(&v.until) },
		})
	})
	switch {
	case err != nil:
		return nil, err
	case v.verifier == "":
		return nil, errors.New("verifier.id: missing, so that nobody says to have verified it")
	case v.resource == "":
		return nil, errors.New("resourceUri: missing, so that it isn't known for which repository it holds")
	case result != "PASSED" && result != "FAILED":
		return nil, fmt.Errorf("verificationResult: %q: want PASSED or FAILED", clip(result))
	}
	v.passed = result == "PASSED"
	v.levels = slices.Clip(v.levels)
	return v, nil
}

func (v *Summary) readPolicy(s *scanner) error {
	return s.object(names{
		"uri": s.orNull(func() error { return s.uri(&v.policyURI) }),
		"digest": s.orNull(func() error {
			return s.object(names{"sha256": func() error {
				var hex string
				if err := s.text(&hex); err != nil {
					return err
				}
				if !isSHA256(hex) {
					return fmt.Errorf("%q: want 64 hex digits", clip(hex))
				}
				v.policyDigest = "sha256:" + hex
				return nil
			}})
		}),
	})
}

func (v *Summary) readLevels(s *scanner) error {
	return s.list(func() error {
		if len(v.levels) == maxLevels {
			return fmt.Errorf("more than %d levels", maxLevels)
		}
		var level string
		err := s.uri(&level)
		v.levels = append(v.levels, level)
		return err
	})
}

// uri reads a text of at most maxURI bytes.
func (s *scanner) uri(to *string) error {
	if err := s.text(to); err != nil {
		return err
	}
	if len(*to) > maxURI {
		return fmt.Errorf("%d bytes: at most %d", len(*to), maxURI)
	}
	*to = strings.Clone(*to)
	return nil
}
