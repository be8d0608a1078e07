package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Kubectl runs kubectl as the administrator and returns what it wrote. The
// error is kubectl's exit status, an [exec.ExitError]; the words are in stderr.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, complaint bytes.Buffer
	cmd := c.KubectlCommand(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), complaint.String(), err
}

// KubectlCommand is a kubectl command that has not run yet, for callers that
// want to give it input or show its output as it comes. It sees nothing of the
// user's own kubectl settings and caches.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program(kubectlProgram), args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "HOME" || strings.HasPrefix(name, "KUBE")
	})
	cmd.Env = append(cmd.Env, "HOME="+c.dir, "KUBECONFIG="+c.Kubeconfig())
	return cmd
}

// program is the path of one of the programs.
func (c *Cluster) program(name string) string { return filepath.Join(c.binaries, name) }
