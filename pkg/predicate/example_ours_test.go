package predicate_test

import (
	"fmt"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

func ExampleNewApproval() {
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	text, err := predicate.NewApproval("production", at, "release 1.4.2", "CHG-4711")
	fmt.Println(string(text), err)
	// Output: {"environment":"production","approvedAt":"2026-03-01T09:30:00Z","reason":"release 1.4.2","ticket":"CHG-4711"} <nil>
}

func ExampleNewPromotion() {
	from := predicate.Stage{Repository: "registry.example.com/staging/api"}
	to := predicate.Stage{Repository: "registry.example.com/production/api", Environment: "production"}
	text, err := predicate.NewPromotion(from, to, time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), nil)
	fmt.Println(err)
	facts, err := predicate.Read(predicate.TypePromotion, text)
	if p, ok := facts.(*predicate.Promotion); ok {
		fmt.Println(p.To().Environment, p.Time(), err)
	}
	// Output:
	// <nil>
	// production 2026-03-01 09:30:00 +0000 UTC <nil>
}

func ExampleNewSummary() {
	_, err := predicate.NewSummary(predicate.SummaryFields{Verifier: "https://acme.example/promoter", Passed: true})
	fmt.Println(err)
	// Output: timeVerified: missing
}
