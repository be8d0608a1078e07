package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentVariable makes the test binary play the parent in
// TestProgramsDieWithTheirParent; it holds the path of the log.
const parentVariable = "PRATIQUE_TEST_PARENT"

func TestMain(m *testing.M) {
	if log := os.Getenv(parentVariable); log != "" {
		p, err := startProcess("sleep", log, "/bin/sleep", "600")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.cmd.Process.Pid)
		select {}
	}
	os.Exit(m.Run())
}

func TestStopEndsAProgramThatIgnoresTheRequest(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	p, err := startProcess("stubborn", log, "/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { text, err := os.ReadFile(log); return err == nil && string(text) == "deaf\n" })
	const grace = 100 * time.Millisecond
	begin := time.Now()
	if err := p.stop(grace); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < grace {
		t.Errorf("killed after %v, before the grace of %v was over", took, grace)
	}
	if p.running() {
		t.Error("still running")
	}
	if err := p.stop(grace); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestDeathQuotesTheEndOfTheLog(t *testing.T) {
	t.Parallel()
	p, err := startProcess("chatty", filepath.Join(t.TempDir(), "log"), "/bin/sh", "-c",
		"i=1; while [ $i -le 3000 ]; do echo line $i; i=$((i+1)); done; echo bind: address already in use >&2; exit 7")
	if err != nil {
		t.Fatal(err)
	}
	<-p.ended
	death := p.death()
	message := death.Error()
	if !strings.HasPrefix(message, "chatty ended (exit status 7); the last lines of its log:\nline 2982\n") || !strings.HasSuffix(message, "\nline 3000\nbind: address already in use") {
		t.Errorf("got %s", message)
	}
	if !portTaken(fmt.Errorf("start: %w", death)) {
		t.Error("not seen as a taken port")
	}
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := startProcess("nothing", filepath.Join(dir, "log"), filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAStartIsTriedAgainOnlyForATakenPort(t *testing.T) {
	t.Parallel()
	taken := &deathError{name: "etcd", tail: "listen tcp 127.0.0.1:1: bind: address already in use"}
	broken := &deathError{name: "etcd", tail: "no such flag"}
	for _, test := range []struct {
		name    string
		answers []error // the last is given for ever
		calls   int
		want    error
	}{
		{"a port taken once", []error{taken, nil}, 2, nil},
		{"a port taken always", []error{taken}, startTries, taken},
		{"another failure", []error{broken}, 1, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := retryPorts(func() error {
				calls++
				return test.answers[min(calls, len(test.answers))-1]
			})
			if !errors.Is(err, test.want) || calls != test.calls {
				t.Errorf("got %v after %d calls, want %v after %d", err, calls, test.want, test.calls)
			}
		})
	}
}

func TestProgramsDieWithTheirParent(t *testing.T) {
	t.Parallel()
	if tiedToParent() == nil {
		t.Skip("this system has no parent-death signal")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"="+filepath.Join(t.TempDir(), "log"))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	child, numeric := strconv.Atoi(strings.TrimSpace(line))
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	if err != nil || numeric != nil {
		t.Fatalf("the parent said %q: %v", line, errors.Join(err, numeric))
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(child, syscall.SIGKILL) // it may be gone by now
		}
	})
	waitFor(t, func() bool { return ended(child) })
}

// ended says whether a process is gone, or a zombie that nobody has waited for.
func ended(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ")
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in 30 seconds")
		}
	}
}
