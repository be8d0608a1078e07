package apiserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/pratique-dev/pratique/test/bed"
)

// parallel is how many tests run at once unless -parallel says otherwise: they wait for timers and other processes more than they
// compute.
const parallel = 8

// shared is the bed of this package: started by the first test that asks for it, stopped by TestMain.
var shared struct {
	sync.Mutex
	started bool
	bed     *bed.Bed
	err     error
}

// binary builds the webhook once for all beds, in a directory that TestMain removes.
var binary = sync.OnceValues(func() (path string, err error) {
	return bed.Build(context.Background(), "webhook", binaryDir)
})

var binaryDir string

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
			panic(err) // the flag is go test's own
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if binaryDir, err = os.MkdirTemp("", "pratique-webhook-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(stopShared(), os.RemoveAll(binaryDir)); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the bed:", err)
		code = max(code, 1)
	}
	return code
}

// sharedBed returns the bed of this package. Programs that are missing fail the test with the command that provides them.
func sharedBed(t *testing.T) *bed.Bed {
	t.Helper()
	needsAPIServer(t)
	shared.Lock()
	defer shared.Unlock()
	if !shared.started {
		shared.started = true
		shared.bed, shared.err = startBed(context.Background(), bed.Options{ControllerManager: true})
	}
	if shared.err != nil {
		t.Fatalf("starting the bed: %v", shared.err)
	}
	return shared.bed
}

// startBed starts a bed whose webhook speaks plain http to every registry of loopback, so that each test can have its own.
func startBed(ctx context.Context, o bed.Options) (*bed.Bed, error) {
	webhook, err := binary()
	if err != nil {
		return nil, err
	}
	o.Webhook, o.Flags = webhook, append(o.Flags, "--plain-http", "127.0.0.1")
	return bed.Start(ctx, o)
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.bed == nil {
		return nil
	}
	return shared.bed.Stop()
}

// needsAPIServer skips a test under go test -short.
func needsAPIServer(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: this starts etcd, an API server and a webhook")
	}
}
