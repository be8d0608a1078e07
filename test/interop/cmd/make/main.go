// Command make makes the fixtures of test/interop anew: it starts two
// registries on loopback, pushes small images, has the real cosign programs sign
// them with fresh keys, and keeps what they pushed. The second set is signed with
// a Sigstore of its own (test/keyless) and a PKI of its own as well. Nothing leaves the machine,
// and no private key outlives the run. Call it through test/interop/make.sh,
// which builds the programs first.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/pratique-dev/pratique/test/interop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cosign2 := flag.String("cosign2", "", "cosign 2.6.5 program")
	cosign3 := flag.String("cosign3", "", "cosign 3.1.3 program")
	distribution := flag.String("distribution", "", "distribution 3.1.2 registry program")
	dir := flag.String("dir", "test/interop", "folder of README.md and testdata")
	set := flag.String("set", "keys", "which fixtures: keys (README.md) or signers (SIGNERS.md)")
	flag.Parse()
	if *set != "keys" && *set != "signers" {
		return fmt.Errorf("-set %q: want keys or signers", *set)
	}

	scratch, err := os.MkdirTemp("", "interop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	bench, err := newWorkbench(ctx, scratch, filepath.Join(*dir, "testdata", "sbom.spdx.json"), map[interop.Tool]string{
		interop.Cosign2: *cosign2,
		interop.Cosign3: *cosign3,
	})
	if err != nil {
		return err
	}
	hosts, stop, err := startRegistries(ctx, scratch, *distribution)
	if err != nil {
		return err
	}
	defer stop()

	out := filepath.Join(scratch, "testdata")
	if *set == "signers" {
		if err := makeCells(ctx, bench, hosts, out); err != nil {
			return err
		}
		return installCells(*dir, out)
	}
	fixtures, err := makeAll(ctx, bench, hosts, out)
	if err != nil {
		return err
	}
	if err := askTools(ctx, bench, out, fixtures); err != nil {
		return err
	}
	return install(*dir, out, fixtures)
}
