// Command bench measures what Pratique promises to be fast at, all in one run and on loopback: `make bench`.
//
//	warm    admissions of images whose evidence is held, beside a webhook that decodes the Pod and allows it
//	cold    how many requests to a registry one signature waits for, one after another, and how long that takes
//	flood   what 1,000 Pods of one new image cost the registry
//	memory  the heap that the evidence of 100,000 images takes
//	papers  a bill of materials of 20 MiB, from the bytes of its envelope to facts: time and memory
//	policy  a policy with every requirement, on facts that are held
//
// It prints a table; with -write it puts the table into docs/performance.md, which says how to read it. What doesn't depend on
// the machine is also held by tests here: how many requests are made in a row, that a judgement on held facts makes none, and
// what a large paper takes of memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings say how much is measured.
type settings struct {
	rounds   int // of each measurement; the median counts
	requests int // of a warm round
	images   int // in memory
	only     string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "rounds of each measurement; the median counts")
	flag.IntVar(&s.requests, "requests", 20_000, "admissions in a warm round")
	flag.IntVar(&s.images, "images", 100_000, "images whose evidence is held")
	flag.StringVar(&s.only, "only", "", "measure only this: warm, cold, flood, memory, papers or policy")
	write := flag.Bool("write", false, "put the table into docs/performance.md")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, *write); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, write bool) error {
	if write && s.only != "" {
		return fmt.Errorf("-write wants everything measured, and -only %s was given", s.only)
	}
	if known := []string{"", "memory", "papers", "policy", "cold", "warm", "flood"}; !slices.Contains(known, s.only) {
		return fmt.Errorf("-only %.20q: want one of %s", s.only, strings.Join(known[1:], ", "))
	}
	begin := time.Now()
	var b strings.Builder
	out := io.MultiWriter(os.Stdout, &b)
	fmt.Fprintf(out, "%s, %s/%s, %d CPUs, medians of %d\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.rounds)
	for _, part := range []struct {
		name    string
		measure func(context.Context, settings, io.Writer) error
	}{
		{"memory", memory}, // first: what others leave on the heap isn't counted
		{"papers", sized},
		{"policy", judgements},
		{"cold", cold},
		{"warm", served},
	} {
		if s.only != "" && s.only != part.name && (s.only != "flood" || part.name != "warm") {
			continue
		}
		if err := part.measure(ctx, s, out); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Printf("\n%.0f s\n", time.Since(begin).Seconds())
	if write {
		return publish(b.String())
	}
	return nil
}
