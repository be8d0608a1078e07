package predicate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// vsa is a summary as SLSA's specification has it, with our validUntil.
const vsa = `{
  "verifier": {"id": "https://acme.example/promoter", "version": {"pratique": "0.1.0"}},
  "timeVerified": "2026-03-01T09:30:00.52Z",
  "resourceUri": "registry.example.com/payments/api@sha256:` + hex64 + `",
  "policy": {"uri": "https://acme.example/policies/production", "digest": {"sha256": "` + hex64 + `"}},
  "inputAttestations": [{"uri": "https://acme.example/a.intoto.jsonl", "digest": {"sha256": "` + hex64 + `"}}],
  "verificationResult": "PASSED",
  "verifiedLevels": ["SLSA_BUILD_LEVEL_3", "ACME_PROMOTED"],
  "dependencyLevels": {"SLSA_BUILD_LEVEL_3": 5},
  "slsaVersion": "1.0",
  "validUntil": "2026-03-08T09:30:00Z"
}`

func TestSummaryFacts(t *testing.T) {
	t.Parallel()
	v := readAs[*predicate.Summary](t, predicate.TypeSummary, vsa)
	got := []string{v.Verifier(), v.Resource(), v.PolicyURI(), v.PolicyDigest(), v.SLSAVersion(), v.Time().Format(time.RFC3339Nano), v.ValidUntil().Format(time.RFC3339)}
	want := []string{"https://acme.example/promoter", "registry.example.com/payments/api@sha256:" + hex64, "https://acme.example/policies/production",
		"sha256:" + hex64, "1.0", "2026-03-01T09:30:00.52Z", "2026-03-08T09:30:00Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"SLSA_BUILD_LEVEL_3", "ACME_PROMOTED"}, v.Levels()); diff != "" || !v.Passed() {
		t.Errorf("passed: %v, levels %s", v.Passed(), diff)
	}
}

func TestSummaryOfTheLeastIsRead(t *testing.T) {
	t.Parallel()
	v := readAs[*predicate.Summary](t, predicate.TypeSummary, `{"verifier":{"id":"v"},"resourceUri":"r","verificationResult":"FAILED"}`)
	if v.Passed() || v.PolicyDigest() != "" || !v.Time().IsZero() || !v.ValidUntil().IsZero() {
		t.Errorf("%+v", v)
	}
}

func TestSummaryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	fields := predicate.SummaryFields{
		Verifier: "https://acme.example/promoter", Verified: moment(), Resource: "registry.example.com/payments/api@sha256:" + hex64,
		PolicyURI: "pratique:payments/production", PolicyDigest: "sha256:" + hex64, Passed: true, Levels: []string{"SLSA_BUILD_LEVEL_2"}, ValidUntil: moment().Add(time.Hour),
	}
	text, err := predicate.NewSummary(fields)
	if err != nil {
		t.Fatal(err)
	}
	v := readAs[*predicate.Summary](t, predicate.TypeSummary, string(text))
	got := predicate.SummaryFields{
		Verifier: v.Verifier(), Verified: v.Time(), Resource: v.Resource(), PolicyURI: v.PolicyURI(), PolicyDigest: v.PolicyDigest(),
		Passed: v.Passed(), Levels: v.Levels(), ValidUntil: v.ValidUntil(),
	}
	if diff := cmp.Diff(fields, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	fields.Passed, fields.Levels, fields.ValidUntil = false, nil, time.Time{}
	if text, err = predicate.NewSummary(fields); err != nil {
		t.Fatal(err)
	}
	want := `{"verifier":{"id":"https://acme.example/promoter"},"timeVerified":"2026-03-01T09:30:00Z","resourceUri":"registry.example.com/payments/api@sha256:` + hex64 +
		`","policy":{"uri":"pratique:payments/production","digest":{"sha256":"` + hex64 + `"}},"verificationResult":"FAILED","verifiedLevels":["FAILED"],"slsaVersion":"1.0"}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for what, spoil := range map[string]func(*predicate.SummaryFields){
		"verifier":      func(f *predicate.SummaryFields) { f.Verifier = "" },
		"timeVerified":  func(f *predicate.SummaryFields) { f.Verified = time.Time{} },
		"resourceUri":   func(f *predicate.SummaryFields) { f.Resource = "" },
		"policy.digest": func(f *predicate.SummaryFields) { f.PolicyDigest = hex64 },
	} {
		bad := fields
		spoil(&bad)
		if text, err := predicate.NewSummary(bad); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %s, %v", what, text, err)
		}
	}
}

func TestSummaryThatCantBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	with := func(old, put string) string { return strings.Replace(vsa, old, put, 1) }
	refused(t, predicate.TypeSummary, map[string]struct{ text, why string }{
		"it is empty":                     {`{}`, "verifier.id: missing"},
		"nobody verified":                 {with(`"id": "https://acme.example/promoter"`, `"id": ""`), "verifier.id: missing"},
		"it is for no resource":           {with(`"resourceUri"`, `"resource"`), "resourceUri: missing"},
		"the result is absent":            {with(`"verificationResult"`, `"result"`), `"": want PASSED or FAILED`},
		"the result is of another case":   {with(`"PASSED"`, `"Passed"`), `"Passed": want PASSED or FAILED`},
		"the result is there twice":       {with(`"verificationResult": "PASSED"`, `"verificationResult": "FAILED", "verificationResult": "PASSED"`), "twice"},
		"a name is in another case":       {with(`"verificationResult"`, `"VerificationResult"`), `"VerificationResult" for`},
		"it is the shape before v1":       {`{"verifier":{"id":"v"},"time_verified":"2026-03-01T09:30:00Z","resource_uri":"r","verification_result":"PASSED"}`, "resourceUri: missing"},
		"the digest is none":              {with(`"digest": {"sha256": "`+hex64, `"digest": {"sha256": "abc`), "policy.digest.sha256"},
		"validUntil is empty":             {with("2026-03-08T09:30:00Z", ""), "validUntil"},
		"validUntil is null":              {with(`"2026-03-08T09:30:00Z"`, "null"), "validUntil"},
		"timeVerified is no time":         {with("2026-03-01T09:30:00.52Z", "today"), "timeVerified"},
		"it lists more levels than bound": {with(`["SLSA_BUILD_LEVEL_3"`, `["x"`+strings.Repeat(`,"x"`, 64)), "more than 64 levels"},
		"a URI is longer than its bound":  {with("https://acme.example/promoter", strings.Repeat("v", 4097)), "4097 bytes"},
	})
}

func FuzzSummary(f *testing.F) {
	f.Add([]byte(vsa))
	f.Add([]byte(`{"verifier":{"id":"v"},"resourceUri":"r","verificationResult":"FAILED"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		facts, err := predicate.Read(predicate.TypeSummary, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Error(err)
			}
			return
		}
		v, ok := facts.(*predicate.Summary)
		if !ok || v.Verifier() == "" || v.Resource() == "" || v.Passed() && !strings.Contains(string(text), "ASSED") && !strings.Contains(string(text), `\u`) {
			t.Errorf("%+v of %q", facts, text)
		}
	})
}
