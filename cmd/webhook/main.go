// Command webhook is Pratique's admission webhook: a TLS server that a Kubernetes API server asks which images may run.
//
// It reads flags, wires the parts together and serves until SIGTERM; nothing is decided here. See docs/operations.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	var c config
	c.bind(flags)
	// controller-runtime binds --kubeconfig to the process's own flags.
	if f := flag.CommandLine.Lookup("kubeconfig"); f != nil {
		flags.Var(f.Value, f.Name, f.Usage)
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: the webhook takes flags only, see --help", flags.Arg(0))
	}
	if c.version {
		fmt.Println("webhook", version)
		return nil
	}
	if err := c.complete(); err != nil {
		return err
	}
	logger := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: c.level}))
	log.SetLogger(logger)
	klog.SetLogger(logger) // client-go's: the log is JSON, all of it
	rest, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no cluster to serve: %w; give --kubeconfig, or run in a cluster", err)
	}
	return serve(ctrl.SetupSignalHandler(), rest, c, logger, os.Stdout)
}
