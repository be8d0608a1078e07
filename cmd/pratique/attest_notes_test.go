package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

func TestATypeThatIsProbablyAnotherIsNoted(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		predicate.TypeSPDX:                            "",
		predicate.TypeSPDX + "/v2.3":                  "",
		"https://acme.example/review/v1":              "",
		"https://slsa.dev/provenance":                 " is not https://slsa.dev/provenance/v",
		"https://spdx.dev/document":                   " is not " + predicate.TypeSPDX + ":",
		predicate.TypeProvenance1 + ".1":              " is not " + predicate.TypeProvenance1 + ":",
		"https://pratique.dev/attestation/consent/v1": " is none of the types of this release",
		"https://pratique.dev/attestation/Approval":   " is not " + predicate.TypeApproval + ":",
	} {
		if got := oddType(given); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", given, got, want)
		}
	}
}

func TestAPredicateIsNotedThatIsDatedAheadOfTheClocks(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	text, err := predicate.NewApproval("production", at, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := dated(predicate.TypeApproval, text, at.Add(-aheadBy)); got != "" {
		t.Errorf("within what clocks differ by: %q", got)
	}
	if got := dated(predicate.TypeApproval, text, at.Add(-aheadBy-time.Second)); !strings.Contains(got, "2026-10-01T12:00:00Z") {
		t.Errorf("ahead: %q", got)
	}
}
