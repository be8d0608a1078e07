package predicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Bounds of a test result.
const (
	// maxTests bounds the names in one: the largest suites have some ten thousand cases.
	maxTests = 100_000
	// maxTestName bounds each, in bytes: names of generated cases are some hundred long.
	maxTestName = 1024
)

// Result is how a run of tests ended. The zero Result is none.
type Result uint8

// The results.
const (
	ResultPassed Result = iota + 1
	ResultWarned
	ResultFailed
)

// String returns the result as the predicate writes it.
func (r Result) String() string {
	switch r {
	case ResultPassed:
		return "PASSED"
	case ResultWarned:
		return "WARNED"
	case ResultFailed:
		return "FAILED"
	}
	return ""
}

// Mention is where a test result mentions a name. The zero Mention is nowhere.
type Mention uint8

// The places; a name may be in several.
const (
	MentionConfiguration Mention = 1 << iota // a name in configuration
	MentionPassed                            // an entry of passedTests
	MentionWarned                            // an entry of warnedTests
	MentionFailed                            // an entry of failedTests
)

// TestResult is an in-toto test result (https://in-toto.io/attestation/test-result/v0.1): how one run of tests ended. It has no time of its own.
type TestResult struct {
	result Result
	failed int
	// names are sorted, one behind the other; ends says where each does, and where what mentions it.
	names string
	ends  []uint32
	where []Mention
}

// Result is how the run ended.
func (t *TestResult) Result() Result { return t.result }

// Failed counts the tests that failed.
func (t *TestResult) Failed() int { return t.failed }

// Mentions tells where a name is mentioned.
func (t *TestResult) Mentions(name string) Mention {
	lo, hi := 0, len(t.ends)
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := strings.Compare(t.name(mid), name); {
		case c == 0:
			return t.where[mid]
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0
}

// Names are at most so many names that are mentioned, sorted, for people.
func (t *TestResult) Names(most int) []string {
	var out []string
	for i := range min(most, len(t.ends)) {
		out = append(out, t.name(i))
	}
	return out
}

// Count is how many names are mentioned.
func (t *TestResult) Count() int { return len(t.ends) }

func (t *TestResult) name(i int) string {
	begin := uint32(0)
	if i > 0 {
		begin = t.ends[i-1]
	}
	return t.names[begin:t.ends[i]]
}

// Time implements Facts: the predicate has none.
func (t *TestResult) Time() time.Time { return time.Time{} }

// Size implements Facts.
func (t *TestResult) Size() int64 {
	return int64(unsafe.Sizeof(*t)) + int64(len(t.names)) + int64(len(t.ends))*int64(unsafe.Sizeof(uint32(0))+unsafe.Sizeof(Mention(0)))
}

func (t *TestResult) facts() {}

// mentioned is a name while it is read.
type mentioned struct {
	name  string
	where Mention
}

// readTestResult reads https://in-toto.io/attestation/test-result/v0.1. Tools leave configuration out, which the specification wants; a result
// that names neither it nor a test is one of nothing.
func readTestResult(text []byte) (*TestResult, error) {
	t := &TestResult{}
	var all []mentioned
	err := read(text, func(s *scanner) error {
		tests := func(where Mention) func() error {
			return s.orNull(func() error {
				return s.list(func() error { return readTestName(where, &all, s.text) })
			})
		}
		return s.object(names{
			"result": func() error { return t.readResult(s) },
			"configuration": s.orNull(func() error {
				return s.list(func() error { return readTestName(MentionConfiguration, &all, s.descriptorName) })
			}),
			"passedTests": tests(MentionPassed),
			"warnedTests": tests(MentionWarned),
			"failedTests": tests(MentionFailed),
		})
	})
	switch {
	case err != nil:
		return nil, err
	case t.result == 0:
		return nil, errors.New("result: missing, so that it isn't known how the tests ended")
	case len(all) == 0:
		return nil, errors.New("it names neither a configuration nor a test, so that it isn't known what was tested")
	}
	t.pack(all)
	return t, nil
}

func (t *TestResult) readResult(s *scanner) error {
	var text string
	if err := s.text(&text); err != nil {
		return err
	}
	for _, r := range []Result{ResultPassed, ResultWarned, ResultFailed} {
		if text == r.String() {
			t.result = r
			return nil
		}
	}
	return fmt.Errorf("%q: want PASSED, WARNED or FAILED", clip(text))
}

// readTestName reads one name; an empty one is passed over.
func readTestName(where Mention, all *[]mentioned, text func(*string) error) error {
	m := mentioned{where: where}
	switch err := text(&m.name); {
	case err != nil:
		return err
	case m.name == "":
		return nil
	case len(m.name) > maxTestName:
		return fmt.Errorf("a name of %d bytes: at most %d", len(m.name), maxTestName)
	case len(*all) == maxTests:
		return fmt.Errorf("more than %d names", maxTests)
	}
	*all = append(*all, m)
	return nil
}

// descriptorName reads a resource descriptor, and of it the name.
func (s *scanner) descriptorName(to *string) error {
	return s.object(names{"name": func() error { return s.textOrNull(to) }})
}

// pack keeps each name once.
func (t *TestResult) pack(all []mentioned) {
	slices.SortFunc(all, func(a, b mentioned) int { return strings.Compare(a.name, b.name) })
	var text strings.Builder
	for i, m := range all {
		if i > 0 && all[i-1].name == m.name {
			t.where[len(t.where)-1] |= m.where
			continue
		}
		text.WriteString(m.name)
		t.ends, t.where = append(t.ends, uint32(text.Len())), append(t.where, m.where)
	}
	for _, w := range t.where {
		if w&MentionFailed != 0 {
			t.failed++
		}
	}
	t.names, t.ends, t.where = strings.Clone(text.String()), slices.Clip(t.ends), slices.Clip(t.where)
}
