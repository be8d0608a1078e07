package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds the wait for what the cluster does by itself, many times what it takes.
const patience = 2 * time.Minute

// answer is what a command said, on both its outputs, and whether it ended well.
type answer struct {
	said string
	ok   bool
	took time.Duration
}

// exec runs a command at the root of the module.
func (s *stage) exec(ctx context.Context, stdin string, command ...string) answer {
	begin := time.Now()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+s.helmHome, "HELM_CONFIG_HOME="+s.helmHome, "HELM_DATA_HOME="+s.helmHome)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(&out, err)
	}
	return answer{said: out.String(), ok: err == nil, took: time.Since(begin)}
}

// show runs a command as exec does, and prints it with its words, as a person would see them.
func (s *stage) show(t *testing.T, stdin string, command ...string) answer {
	t.Helper()
	a := s.exec(t.Context(), stdin, command...)
	var text strings.Builder
	fmt.Fprintf(&text, "[%.1f s] $ %s", a.took.Seconds(), line(command))
	if stdin != "" {
		fmt.Fprintf(&text, " <<EOF\n%s\nEOF", strings.TrimSpace(stdin))
	}
	t.Logf("%s\n%s", text.String(), strings.TrimRight(a.said, "\n"))
	return a
}

// line writes a command as a shell would take it.
func line(command []string) string {
	words := []string{filepath.Base(command[0])}
	for _, word := range command[1:] {
		if strings.ContainsAny(word, " '\"{}$*<>|&;()\n") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// kubectl runs kubectl and shows it. It has to work.
func (s *stage) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	a := s.show(t, "", append([]string{s.kubectlFile}, args...)...)
	if !a.ok {
		t.Fatal("that should have worked")
	}
	return a.said
}

// look is kubectl without showing it.
func (s *stage) look(t *testing.T, args ...string) string {
	t.Helper()
	a := s.exec(t.Context(), "", append([]string{s.kubectlFile}, args...)...)
	if !a.ok {
		t.Fatalf("kubectl %s\n%s", line(args), a.said)
	}
	return a.said
}

// apply applies documents with kubectl. It has to work.
func (s *stage) apply(t *testing.T, documents string) string {
	t.Helper()
	a := s.show(t, documents, s.kubectlFile, "apply", "-f", "-")
	if !a.ok {
		t.Fatal("that should have worked")
	}
	return a.said
}

// helm runs helm and shows it. It has to work.
func (s *stage) helm(t *testing.T, args ...string) string {
	t.Helper()
	a := s.show(t, "", append([]string{s.helmFile}, args...)...)
	if !a.ok {
		s.tell(t)
		t.Fatal("that should have worked")
	}
	return a.said
}

// refused runs kubectl, which has to fail at once, and to say all of this. A document goes to its standard input.
func (s *stage) refused(t *testing.T, document string, says []string, args ...string) string {
	t.Helper()
	a := s.show(t, document, append([]string{s.kubectlFile}, args...)...)
	if a.ok {
		t.Error("that should have been refused")
	}
	if a.took > 10*time.Second {
		t.Errorf("it took %v to refuse it", a.took)
	}
	for _, want := range says {
		if !strings.Contains(a.said, want) {
			t.Errorf("kubectl did not say %q", want)
		}
	}
	return a.said
}

// eventually tries until it works, or ends the test.
func (s *stage) eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	begin := time.Now()
	for {
		err := try()
		if err == nil {
			t.Logf("after %.1f s: %s", time.Since(begin).Seconds(), what)
			return
		}
		if time.Since(begin) > patience {
			s.tell(t)
			t.Fatalf("%v have passed without this: %s: %v", patience, what, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// tell prints what helps to find out why something went wrong.
func (s *stage) tell(t *testing.T) {
	t.Helper()
	for _, command := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"-n", system, "logs", "-l", "app.kubernetes.io/component=webhook", "--tail=15", "--prefix", "--ignore-errors"},
	} {
		a := s.exec(t.Context(), "", append([]string{s.kubectlFile}, command...)...)
		const most = 8 << 10 // the end is what matters
		t.Logf("$ kubectl %s\n%s", line(command), a.said[max(0, len(a.said)-most):])
	}
}
