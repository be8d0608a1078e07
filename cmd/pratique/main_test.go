package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	run := func() { os.Exit(Main(os.Args, os.Stdout, os.Stderr)) }
	testscript.Main(m, map[string]func(){"pratique": run, "kubectl-pratique": run})
}

// The scripts of testdata run the program as people do, against a real registry. What they can say beyond testscript's own
// commands is in script_test.go.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata", Cmds: commands(t), Setup: begin, RequireExplicitExec: true, RequireUniqueNames: true,
		UpdateScripts: os.Getenv("UPDATE_GOLDEN") == "1",
	})
}
