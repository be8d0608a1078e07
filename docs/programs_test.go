package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programDir holds the programs that the tests build.
var programDir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pratique-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it lies in the system's own place for such things
	programDir = dir
	return m.Run()
}

// build builds webhook and pratique, once.
var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", programDir, "./cmd/webhook", "./cmd/pratique")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// outcome is what a program said and how it ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// runProgram runs one of our programs in the root of the repository, with a home of its own and no settings of this shell.
func runProgram(t testing.TB, name string, args ...string) outcome {
	t.Helper()
	return runIn(t, root, nil, name, args...)
}

// runIn does so in another folder, with further variables.
func runIn(t testing.TB, dir string, env []string, name string, args ...string) outcome {
	t.Helper()
	if err := build(); err != nil {
		t.Fatalf("building the programs: %v", err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(programDir, name), args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
