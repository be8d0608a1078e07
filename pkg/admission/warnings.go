package admission

import (
	"fmt"
	"slices"
)

// warnings gathers the warnings of one answer: those that fit, each once, and how many more there are, which are not even worded.
type warnings struct {
	lines []string
	bytes int
	more  int
}

func (w *warnings) add(line func() string) {
	if w.more > 0 {
		w.more++
		return
	}
	l := bound(line(), maxWarning)
	switch {
	case slices.Contains(w.lines, l):
	case w.bytes+len(l) > maxWarnings:
		w.more++
	default:
		w.lines, w.bytes = append(w.lines, l), w.bytes+len(l)
	}
}

// all returns the warnings, and behind them the count of those that didn't fit.
func (w *warnings) all() []string {
	if w.more == 0 {
		return w.lines
	}
	for w.bytes > maxWarnings-maxWarning {
		last := len(w.lines) - 1
		w.bytes -= len(w.lines[last])
		w.lines, w.more = w.lines[:last], w.more+1
	}
	return append(w.lines, fmt.Sprintf("and %d more warnings", w.more))
}

// within keeps the lines that fit and counts the rest.
func within(lines []string) []string {
	var w warnings
	for _, l := range lines {
		w.add(func() string { return l })
	}
	return w.all()
}
