package evilregistry_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

// A registry that fails once and then recovers, and what a client made of it.
func ExampleStart() {
	reg, err := evilregistry.Start() // in a test: evilregistry.New(t)
	if err != nil {
		panic(err)
	}
	defer reg.Close()
	image := reg.Repo("team/app").Tag("v1")
	if err := remote.Write(image, evilregistry.RandomImage(1), reg.Options()...); err != nil {
		panic(err)
	}

	reg.Once(evilregistry.Match{Kind: evilregistry.Manifest}, evilregistry.Status(http.StatusForbidden, nil, ""))
	for range 2 {
		_, err := remote.Get(image)
		var refused *transport.Error
		if errors.As(err, &refused) {
			fmt.Println("refused:", refused.StatusCode)
		} else {
			fmt.Println("read:", err == nil)
		}
	}
	fmt.Println("pings:", reg.Count(evilregistry.Ping), "reads:", reg.Count(evilregistry.Manifest))
	// Output:
	// refused: 403
	// read: true
	// pings: 2 reads: 2
}
