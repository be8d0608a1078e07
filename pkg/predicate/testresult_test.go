package predicate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// suite is a test result as the specification's own example has it.
const suite = `{
  "result": "WARNED",
  "configuration": [{"name": ".github/workflows/ci.yaml", "downloadLocation": "https://github.com/acme/app/blob/main/.github/workflows/ci.yaml",
    "digest": {"gitBlob": "ebe4add40f63c3c98bc9b32ff1e736f04120b023"}}, {"uri": "https://ci.example.com/matrix"}],
  "url": "https://github.com/acme/app/actions/runs/4711",
  "passedTests": ["smoke", "build (3.7, ubuntu)", "flaky"],
  "warnedTests": ["lint"],
  "failedTests": ["flaky"]
}`

func TestTestResultFacts(t *testing.T) {
	t.Parallel()
	got := readAs[*predicate.TestResult](t, predicate.TypeTestResult, suite)
	for name, want := range map[string]predicate.Mention{
		".github/workflows/ci.yaml": predicate.MentionConfiguration,
		"smoke":                     predicate.MentionPassed,
		"build (3.7, ubuntu)":       predicate.MentionPassed,
		"lint":                      predicate.MentionWarned,
		"flaky":                     predicate.MentionPassed | predicate.MentionFailed,
		"Smoke":                     0,
		"smok":                      0,
		"":                          0,
		"zzz":                       0,
	} {
		if got := got.Mentions(name); got != want {
			t.Errorf("%q is mentioned as %b, want %b", name, got, want)
		}
	}
	if got.Result() != predicate.ResultWarned || got.Failed() != 1 || got.Count() != 5 || !got.Time().IsZero() {
		t.Errorf("%v, %d failed of %d, at %v", got.Result(), got.Failed(), got.Count(), got.Time())
	}
	if diff := cmp.Diff([]string{".github/workflows/ci.yaml", "build (3.7, ubuntu)"}, got.Names(2)); diff != "" {
		t.Error(diff)
	}
}

func TestTestResultWithoutConfigurationNamesItsTests(t *testing.T) {
	t.Parallel()
	got := readAs[*predicate.TestResult](t, predicate.TypeTestResult, `{"result":"PASSED","passedTests":["smoke"],"warnedTests":null}`)
	if got.Mentions("smoke") != predicate.MentionPassed || got.Result() != predicate.ResultPassed {
		t.Errorf("%+v", got)
	}
}

func TestTestResultOfManyTestsIsFoundByName(t *testing.T) {
	t.Parallel()
	const many = 20_000
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf(`"case %d"`, i))
	}
	text := `{"result":"PASSED","passedTests":[` + strings.Join(names, ",") + `]}`
	got := readAs[*predicate.TestResult](t, predicate.TypeTestResult, text)
	if got.Count() != many {
		t.Fatalf("%d tests", got.Count())
	}
	for i := range many {
		if got.Mentions(fmt.Sprintf("case %d", i)) != predicate.MentionPassed {
			t.Fatalf("case %d is lost", i)
		}
	}
	if most := int64(len(text)) * 2; got.Size() > most {
		t.Errorf("%d bytes of facts, want at most %d", got.Size(), most)
	}
}

func TestTestResultThatCantBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	refused(t, predicate.TypeTestResult, map[string]struct{ text, why string }{
		"it is empty":                      {`{}`, "result: missing"},
		"the result is of another case":    {`{"result":"passed","passedTests":["a"]}`, `"passed": want PASSED`},
		"the result is unknown":            {`{"result":"SKIPPED","passedTests":["a"]}`, `"SKIPPED": want PASSED`},
		"the result is null":               {`{"result":null,"passedTests":["a"]}`, "result: not a string"},
		"it is of nothing":                 {`{"result":"PASSED"}`, "names neither"},
		"its configuration has no name":    {`{"result":"PASSED","configuration":[{"uri":"https://h/p"}]}`, "names neither"},
		"a test is a number":               {`{"result":"PASSED","passedTests":[1]}`, "passedTests[0]: not a string"},
		"the configuration is a text":      {`{"result":"PASSED","configuration":["smoke"]}`, "configuration[0]: not an object"},
		"the tests are no list":            {`{"result":"PASSED","passedTests":"smoke"}`, "passedTests: not a list"},
		"failedTests is there twice":       {`{"result":"PASSED","failedTests":["a"],"failedTests":[]}`, "twice"},
		"failedTests is in another case":   {`{"result":"PASSED","passedTests":["a"],"FailedTests":["a"]}`, `"FailedTests" for "failedTests"`},
		"a name is longer than its bound":  {`{"result":"PASSED","passedTests":["` + strings.Repeat("a", 1025) + `"]}`, "1025 bytes: at most 1024"},
		"it has more names than its bound": {`{"result":"PASSED","passedTests":[` + strings.Repeat(`"a",`, 100_000) + `"a"]}`, "more than 100000 names"},
	})
}

func FuzzTestResult(f *testing.F) {
	f.Add([]byte(suite), "smoke")
	f.Add([]byte(`{"result":"FAILED","failedTests":["a","a","b"]}`), "a")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		facts, err := predicate.Read(predicate.TypeTestResult, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Error(err)
			}
			return
		}
		got, ok := facts.(*predicate.TestResult)
		if !ok || got.Result() == 0 || got.Count() == 0 {
			t.Fatalf("%T of %q", facts, text)
		}
		found := false
		for _, n := range got.Names(got.Count()) {
			found = found || n == name
			if got.Mentions(n) == 0 {
				t.Errorf("%q is lost, of %q", n, text)
			}
		}
		if found != (got.Mentions(name) != 0) {
			t.Errorf("%q is mentioned: %v, of %q", name, found, text)
		}
	})
}
