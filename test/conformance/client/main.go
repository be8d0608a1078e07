// Command conformance is the client that the published sigstore-conformance suite is pointed at: bin/conformance. All of it is in
// package conformance, where the cases can run it without a process each.
package main

import (
	"os"

	"github.com/pratique-dev/pratique/test/conformance"
)

func main() { os.Exit(conformance.Main(os.Args, os.Stderr)) }
