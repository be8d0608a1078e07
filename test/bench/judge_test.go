package main

import (
	"context"
	"testing"
)

// BenchmarkJudge is a judgement by a policy with every requirement: for profiles (-cpuprofile, -memprofile).
func BenchmarkJudge(b *testing.B) {
	j, err := newJudged(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for name, judge := range j.ways() {
		b.Run(name, func(b *testing.B) {
			if err := judge.all(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := judge.passes(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (j *judged) ways() map[string]judging {
	return map[string]judging{"policy": j.alone, "engine": j.decided}
}

// The image passes for each of the papers: without any of them it doesn't.
func TestAPolicyWithEveryRequirementIsMetOnlyByAllPapers(t *testing.T) {
	t.Parallel()
	j, err := newJudged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, judge := range j.ways() {
		if err := judge.all(t.Context()); err != nil {
			t.Errorf("by the %s: %v", name, err)
		}
	}
	papers, err := papersOf(j.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, without := range papers {
		j.leave = without.kind
		if err := j.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, judge := range j.ways() {
			if err := judge.all(t.Context()); err == nil {
				t.Errorf("without %s it passes by the %s", without.kind, name)
			}
		}
	}
}

func TestAJudgementOnFactsThatAreHeldAsksTheRegistryNothing(t *testing.T) {
	t.Parallel()
	j, err := newJudged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := j.registry.requests()
	if before == 0 {
		t.Fatal("the registry was never asked: it doesn't count")
	}
	for name, judge := range j.ways() {
		for range 10 {
			if err := judge.passes(t.Context()); err != nil {
				t.Fatalf("by the %s: %v", name, err)
			}
		}
		if n := j.registry.requests() - before; n != 0 {
			t.Errorf("by the %s: %d requests", name, n)
		}
	}
}

// Time isn't tested, for it depends on the machine; what is allocated takes much of it, and doesn't. It isn't parallel, since allocations of the whole
// process are counted.
func TestAJudgementOnFactsThatAreHeldAllocatesLittle(t *testing.T) {
	j, err := newJudged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, most := range map[string]float64{"policy": 180, "engine": 290} {
		if raced { // its own, and what pools drop for its sake
			most += most / 4
		}
		judge, ctx := j.ways()[name], context.WithoutCancel(t.Context())
		if n := testing.AllocsPerRun(100, func() {
			if err := judge.passes(ctx); err != nil {
				t.Error(err)
			}
		}); n > most {
			t.Errorf("by the %s: %.0f allocations, want at most %.0f", name, n, most)
		}
	}
}
