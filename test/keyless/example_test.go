package keyless_test

import (
	"context"
	"fmt"
	"log"

	"github.com/pratique-dev/pratique/test/keyless"
)

// A stack, and a token for it. It isn't run: the programs may not be built.
func ExampleStart() {
	s, err := keyless.Start(context.Background(), keyless.Options{Without: []keyless.Part{keyless.RekorV2}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	token, err := s.Token(keyless.Claims{GitHub: &keyless.Workflow{Repository: "acme/app", Ref: "refs/tags/v1"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("cosign sign --identity-token %s --fulcio-url %s --rekor-url %s\n", token, s.Fulcio, s.Rekor1)
}
