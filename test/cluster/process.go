package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// tailLines is how much of a dead program's log its error shows: enough to
	// hold the message it died with, few enough to read in a test's output.
	tailLines = 20
	// tailBytes bounds what is read for that; the API server's lines are long.
	tailBytes = 16 << 10
)

// process is one program of the control plane, running or ended.
type process struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the program has been waited for
	err   error         // what Wait said; read only after ended is closed
}

// startProcess runs a program, its output appended to the file log. The
// program is killed when this one dies, however it dies (on Linux).
func startProcess(name, log, file string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	p := &process{name: name, log: log, cmd: exec.Command(file, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = withoutProxy(os.Environ()) // everything here is on loopback
	p.cmd.SysProcAttr = tiedToParent()
	started := make(chan error, 1)
	go func() {
		// The kernel ties the child to the thread that started it, not to the
		// process: the thread must live as long as the child. It is given up
		// with the goroutine.
		runtime.LockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// running says whether the program has started and not ended.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop asks the program to end and, after grace, makes it. It returns when the
// program is gone. A nil process is one that never started.
func (p *process) stop(grace time.Duration) error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.ended
	return nil
}

// deathError is a program that ended when it should have gone on.
type deathError struct {
	name string
	err  error // what Wait said; nil for exit status 0
	tail string
}

func (e *deathError) Error() string {
	how := "exit status 0"
	if e.err != nil {
		how = e.err.Error()
	}
	return fmt.Sprintf("%s ended (%s); the last lines of its log:\n%s", e.name, how, e.tail)
}

func (e *deathError) Unwrap() error { return e.err }

// death describes a process that has ended.
func (p *process) death() error {
	tail, err := tail(p.log)
	if err != nil {
		tail = err.Error()
	}
	return &deathError{name: p.name, err: p.err, tail: tail}
}

// portTaken says whether a program died because somebody else had its port.
func portTaken(err error) bool {
	var death *deathError
	return errors.As(err, &death) && strings.Contains(death.tail, "address already in use")
}

// tail returns the last lines of a file.
func tail(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-tailBytes), tailBytes))
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n"), nil
}

// withoutProxy drops the variables by which Go programs find a proxy: the API
// server would send its calls to webhooks and Services there.
func withoutProxy(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
}
