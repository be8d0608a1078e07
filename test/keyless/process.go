package keyless

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// loopback is the address that the parts listen on.
	loopback = "127.0.0.1"
	// Ports are picked below the range that Linux takes the ports of outgoing
	// connections from, as test/cluster does.
	firstPort, pastPort = 20000, 30000
	// portTries is how many picks are made before giving up, for one port and
	// for all ports of a program that found one of them taken.
	portTries = 8
	// pollEvery is how often a program is asked whether it is ready: often, for
	// most of a start is waiting for that.
	pollEvery = 20 * time.Millisecond
	// grace is how long a program may take to end before it is killed. There is
	// nothing in it to save.
	grace = 2 * time.Second
	// tailBytes is how much of a dead program's log its error shows.
	tailBytes = 2 << 10
)

// process is one program, running or ended.
type process struct {
	name, log string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when the program has been waited for
	err       error         // what Wait said; read only after ended is closed
}

// program is how to start one.
type program struct {
	name, file string
	dir        string // its log goes here
	env        []string
	ports      int
	// args are its arguments, given the ports.
	args func(ports []string) []string
	// ready is the URL that answers 200 once it serves, given the ports.
	ready func(ports []string) string
}

// start starts a program and waits until it serves. Where somebody took a port
// between the pick and the use, it tries others.
func (p program) start(ctx context.Context) (*process, []string, error) {
	var last error
	for range portTries {
		ports, err := freePorts(p.ports)
		if err != nil {
			return nil, nil, err
		}
		running, err := startProcess(p.name, filepath.Join(p.dir, p.name+".log"), p.env, p.file, p.args(ports)...)
		if err != nil {
			return nil, nil, err
		}
		if err = running.wait(ctx, p.ready(ports)); err == nil {
			return running, ports, nil
		}
		last = errors.Join(err, running.stop())
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return nil, nil, last
}

// startProcess runs a program, its output appended to the file log. It is killed
// when this process dies, however it dies (on Linux).
func startProcess(name, log string, env []string, file string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	p := &process{name: name, log: log, cmd: exec.Command(file, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(withoutProxy(os.Environ()), env...)
	p.cmd.SysProcAttr = withParent()
	started := make(chan error, 1)
	go func() {
		// The kernel ties the child to the thread that started it: the thread
		// must live as long as the child, and is given up with the goroutine.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// wait returns when url answers 200, or with an error when the program or ctx
// has ended.
func (p *process) wait(ctx context.Context, url string) error {
	client := directClient()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%v); the end of its log:\n%s", p.name, p.err, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; the end of its log:\n%s", p.name, err, tail(p.log))
		case <-tick.C:
		}
	}
}

// stop asks the program to end and, after grace, makes it. It returns when the
// program is gone. A nil process is one that never started.
func (p *process) stop() error {
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

// tail returns the end of a file.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-tailBytes):])
}

// freePorts picks ports of loopback that nobody listens on.
func freePorts(n int) ([]string, error) {
	var ports []string
	var last error
	for range n * portTries {
		if len(ports) == n {
			return ports, nil
		}
		port := strconv.Itoa(firstPort + rand.IntN(pastPort-firstPort))
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, port))
		if err != nil {
			last = err
			continue
		}
		defer l.Close() // held until all are picked
		ports = append(ports, port)
	}
	if len(ports) == n {
		return ports, nil
	}
	return nil, fmt.Errorf("no %d free ports: %w", n, last)
}

// directClient never asks a proxy: everything here is on loopback.
func directClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// withoutProxy drops the variables by which Go programs find a proxy.
func withoutProxy(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
}
