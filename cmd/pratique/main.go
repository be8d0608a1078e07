// Command pratique is the companion of the webhook: the same engine at a shell prompt, in CI and in Jobs. It is also installed
// as kubectl-pratique, so that `kubectl pratique verify` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// The exit codes of every subcommand.
const (
	exitAllowed      = 0 // every image is allowed
	exitViolated     = 1 // an image violates a policy
	exitUndetermined = 2 // no image violates a policy, but something could not be found out
	exitUsage        = 3 // used wrongly: a flag, a file, something that policies refer to
)

// exitError ends the program with a code. Its message, if any, is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// wrong says that the program was used wrongly.
func wrong(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func main() { os.Exit(Main(os.Args, os.Stdout, os.Stderr)) }

// Main runs the command line and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := "pratique"
	if strings.HasPrefix(filepath.Base(args[0]), "kubectl-") {
		name = "kubectl pratique"
	}
	root := &cobra.Command{
		Use: "pratique", Short: "Check container images against the policies that a cluster admits them by",
		Annotations:  map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(verifyCommand(), approveCommand(), attestCommand(), sbomCommand(), scanReportCommand())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitAllowed
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitUsage, err: err} // cobra's own: an unknown command or flag
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, exit.err)
	}
	return exit.code
}
