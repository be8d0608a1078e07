package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func ExampleNewVulnerabilities() {
	var t testing.T
	release := verifytest.Authority(&t, "release", verifytest.NewSigner(&t, 1))
	r, err := policy.NewVulnerabilities([]verify.Authority{release}, policy.VulnerabilityRules{
		MaxAge:     168 * time.Hour,
		Max:        map[predicate.Severity]int{predicate.SeverityCritical: 0, predicate.SeverityHigh: 5},
		Exceptions: []policy.VulnerabilityException{{ID: "CVE-2026-1111", Reason: "mitigated by WAF rule 7", Expires: "2027-01-31"}},
	})
	fmt.Println(r, err)
	// Output: by release, at most 0 critical, 5 high <nil>
}

func ExampleNewSecrets() {
	var t testing.T
	release := verifytest.Authority(&t, "release", verifytest.NewSigner(&t, 1))
	r, err := policy.NewSecrets([]verify.Authority{release}, 168*time.Hour)
	fmt.Println(r, err)
	// Output: by release <nil>
}

func ExampleParseExpires() {
	until, err := policy.ParseExpires("2027-01-31")
	fmt.Println(until, err)
	// Output: 2027-02-01 00:00:00 +0000 UTC <nil>
}
