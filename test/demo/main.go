// Command demo shows Pratique at work on a real API server and a real registry, on loopback, and cleans up behind itself: `make demo`.
//
// Each step says what it shows, runs kubectl, prints its words and checks that the answer was the right one. With -keep it leaves
// everything running until it is interrupted: `make run`. With -papers it tells another story, examples/production.yaml at work: `make demo-papers`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/test/bed"
)

func main() {
	keep := flag.Bool("keep", false, "leave everything running for play, until interrupted")
	papers := flag.Bool("papers", false, "tell the story of the papers: SBOM, scan, provenance, tests, approvals, exceptions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin := run
	if *papers {
		begin = runPapers
	}
	if err := begin(ctx, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool) (err error) {
	begin := time.Now()
	fmt.Println("Pratique decides which container images may run. This starts a Kubernetes API server, a registry and the")
	fmt.Println("webhook on loopback, signs images, leaves one unsigned, and lets kubectl tell what happens (about 20 s")
	fmt.Println("once the API server is built). Nothing outside this directory's bin/ and a temporary one is touched.")
	s := &show{ctx: ctx, begin: begin}
	s.bed, err = bed.Start(ctx, bed.Options{Say: s.step})
	if err != nil {
		return err
	}
	defer func() {
		s.step("stop everything and clean up")
		err = errors.Join(err, s.bed.Stop())
		if err == nil && !keep {
			fmt.Printf("\nEvery answer was the right one (%.0f s).\n", time.Since(begin).Seconds())
			fmt.Println("Next: `make run` leaves this cluster up for play; docs/policy.md writes your first policy.")
		}
	}()
	if err := s.prepare(); err != nil {
		return err
	}
	if keep {
		return s.play()
	}
	return s.tell()
}

// runPapers tells the story of the papers.
func runPapers(ctx context.Context, keep bool) (err error) {
	if keep {
		return errors.New("-keep is for the demo without -papers")
	}
	begin := time.Now()
	fmt.Println("What may run in production, by examples/production.yaml: signed, an SBOM without GPL, a clean scan of the last week,")
	fmt.Println("provenance, a smoke test, a person's yes. This starts a Kubernetes API server, a registry and the webhook on")
	fmt.Println("loopback, runs an image that has every paper, and tries others that lack one each (about 20 s once the API server is")
	fmt.Println("built). Nothing outside this directory's bin/ and a temporary one is touched.")
	s := &papersShow{show: &show{ctx: ctx, begin: begin}}
	s.bed, err = bed.Start(ctx, bed.Options{Say: s.step})
	if err != nil {
		return err
	}
	defer func() {
		s.step("stop everything and clean up")
		err = errors.Join(err, s.bed.Stop())
		if err == nil {
			fmt.Printf("\nEvery answer was the right one (%.0f s).\n", time.Since(begin).Seconds())
			fmt.Println("Next: copy examples/sbom.yaml, put your registry and key in, and `make build && bin/pratique verify -f sbom.yaml -n catalog IMAGE`.")
		}
	}()
	if err := s.prepare(); err != nil {
		return err
	}
	return s.tell()
}
