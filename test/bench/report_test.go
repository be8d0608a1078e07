package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheNumbersReplaceThoseBefore(t *testing.T) {
	t.Parallel()
	text := "before\n" + begin + "old\n" + end + "after\n"
	for range 2 { // and those that replaced them
		var err error
		if text, err = between(text, "new\n"); err != nil {
			t.Fatal(err)
		}
		if want := "before\n" + begin + "```text\nnew\n```\n" + end + "after\n"; text != want {
			t.Fatalf("got %q, want %q", text, want)
		}
	}
}

func TestAPageWithoutItsMarksIsLeftAlone(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{"neither": "text\n", "no end": begin + "text\n", "no begin": "text\n" + end, "end first": end + begin} {
		if got, err := between(text, "new"); err == nil || got != "" {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
}

func TestThePageHasItsMarks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := between(string(text), "new"); err != nil {
		t.Error(err)
	}
}

func TestTimesAreWrittenInASCII(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 us", 51 * time.Microsecond: "51 us", 999_600 * time.Nanosecond: "1000 us", 1540 * time.Microsecond: "1.5 ms", 204 * time.Millisecond: "204 ms",
	} {
		if got := round(d); got != want || strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
			t.Errorf("%d ns is %q, want %q", d, got, want)
		}
	}
}

func TestTheMedianIsInTheMiddle(t *testing.T) {
	t.Parallel()
	if m := median([]int{9, 1, 5}); m != 5 {
		t.Errorf("median %d", m)
	}
	if m := median([]float64(nil)); m != 0 {
		t.Errorf("median of nothing %f", m)
	}
}
