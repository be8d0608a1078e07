package interop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// alone is set for the process that is alone in the world.
const alone = "PRATIQUE_TEST_ALONE"

// TestWithEveryAddressButTheRegistrysUnreachableItAllHolds judges every cell again in a process that has a network of its own, with nothing in
// it but loopback, where the registry is: the kernel refuses to go anywhere else, and counts the attempts. Proxies and certificates of the
// environment lead nowhere. That the count sees an attempt is checked first.
func TestWithEveryAddressButTheRegistrysUnreachableItAllHolds(t *testing.T) {
	if os.Getenv(alone) != "" {
		judgeAlone(t)
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), alone+"=yes",
		"HTTP_PROXY=http://192.0.2.1:3128", "HTTPS_PROXY=http://192.0.2.1:3128", "ALL_PROXY=http://192.0.2.1:3128", "NO_PROXY=", "no_proxy=",
		"SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere", "TUF_ROOT=/nowhere", "SIGSTORE_ROOT_FILE=/nowhere", "SIGSTORE_REKOR_PUBLIC_KEY=/nowhere")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || strings.Contains(string(said), "\n--- SKIP: "+t.Name()) {
		t.Skipf("this machine lets no process have a network of its own (user namespaces): %v\n%s", err, said)
	}
	if err != nil || strings.Contains(string(said), "no tests to run") || !strings.Contains(string(said), "\n--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, said)
	}
}

// judgeAlone is the test in the process that is alone.
func judgeAlone(t *testing.T) {
	if err := raiseLoopback(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip(err) // and so does the process that started this one
	} else if err != nil {
		t.Fatal(err)
	}
	asked := recordDefaults(t)
	checkRecorders(t, asked)
	before, seen := countsOf(t), asked.total()
	judgeAll(t)
	if after := countsOf(t); after != before {
		t.Errorf("attempts to leave: %+v before the verification and %+v after it", before, after)
	}
	if n := asked.total(); n != seen {
		t.Errorf("asked by http.DefaultTransport or net.DefaultResolver: %q", asked.names[seen:])
	}
}

// counts are the kernel's of this network: tries to reach what no route leads to, and connections that nobody took, as on loopback.
type counts struct{ noRoute, refused int }

func countsOf(t *testing.T) counts {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	return counts{counter(t, string(text), "Ip", "OutNoRoutes"), counter(t, string(text), "Tcp", "AttemptFails")}
}

// counter reads a number of /proc/net/snmp: a line of names, then one of values.
func counter(t *testing.T, text, protocol, name string) int {
	t.Helper()
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name {
				value, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				return value
			}
		}
	}
	t.Fatalf("the kernel doesn't count %s %s", protocol, name)
	return 0
}

// asked are the names that were asked through what every library takes by default.
type asked struct {
	sync.Mutex
	names []string
}

func (a *asked) note(name string) {
	a.Lock()
	defer a.Unlock()
	a.names = append(a.names, name)
}

func (a *asked) total() int {
	a.Lock()
	defer a.Unlock()
	return len(a.names)
}

// RoundTrip implements http.RoundTripper: it notes and refuses.
func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.note(r.URL.String())
	return nil, errors.New("not allowed in this test")
}

// recordDefaults has the default client and resolver of this process refuse everything, and note what was asked. The process is ours alone.
func recordDefaults(t *testing.T) *asked {
	t.Helper()
	a := &asked{}
	http.DefaultTransport = a
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		a.note(network + " " + address)
		return nil, errors.New("not allowed in this test")
	}}
	return a
}

// checkRecorders sees to it that each recorder notes what it is for.
func checkRecorders(t *testing.T, a *asked) {
	t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	before := countsOf(t)
	if conn, err := dialer.DialContext(t.Context(), "tcp", "192.0.2.1:443"); err == nil {
		conn.Close()
		t.Fatal("this process can leave its network")
	} else if !errors.Is(err, syscall.ENETUNREACH) {
		t.Fatalf("leaving failed otherwise than for want of a route: %v", err)
	}
	if now := countsOf(t); now.noRoute == before.noRoute {
		t.Fatal("the kernel did not count an attempt to leave")
	}
	if _, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Fatal("somebody listens on port 1")
	}
	if now := countsOf(t); now.refused == before.refused {
		t.Fatal("the kernel did not count a connection that was refused on loopback")
	}
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "rekor.sigstore.dev"); err == nil || a.total() == 0 {
		t.Fatalf("a name was resolved, or it was not noted that one was asked for: %v", err)
	}
	n := a.total()
	if _, err := (&http.Client{}).Get("https://tuf-repo-cdn.sigstore.dev/"); err == nil || a.total() == n {
		t.Fatalf("a request was answered, or not noted: %v", err)
	}
}

// raiseLoopback brings up the one interface of a new network (netdevice(7)).
func raiseLoopback() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("bring up loopback: %w", errno)
	}
	return nil
}
