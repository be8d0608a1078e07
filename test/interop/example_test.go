package interop_test

import (
	"fmt"

	"github.com/pratique-dev/pratique/test/interop"
)

func ExampleFixtures() {
	for _, f := range interop.Fixtures() {
		if f.State == interop.Signed {
			fmt.Println(f.Tool, f.Layout, f.Registry, f.Signers)
		}
	}
	// Output:
	// cosign 2.6.5 legacy referrers [a]
	// cosign 2.6.5 legacy fallback [a]
	// cosign 2.6.5 bundle referrers [a]
	// cosign 2.6.5 bundle fallback [a]
	// cosign 3.1.3 legacy referrers [a]
	// cosign 3.1.3 legacy fallback [a]
	// cosign 3.1.3 bundle referrers [a]
	// cosign 3.1.3 bundle fallback [a]
}
