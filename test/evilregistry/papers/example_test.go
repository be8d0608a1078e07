package papers_test

import (
	"fmt"

	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// A key is named by the hash of its public half, wherever it is named.
func ExampleGenerateKey() {
	key, err := papers.GenerateKey(papers.P384)
	if err != nil {
		panic(err)
	}
	fmt.Println(key.Kind, "signs over", key.Hash)
	fmt.Println(key.Fingerprint[:7], len(key.Fingerprint))
	// Output:
	// ECDSA P-384 signs over SHA-384
	// SHA256: 71
}
