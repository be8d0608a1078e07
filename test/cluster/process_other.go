//go:build !linux

package cluster

import "syscall"

// tiedToParent has nothing to set where there is no parent-death signal: the
// child stays in our process group, so that Ctrl-C at a terminal ends it too.
func tiedToParent() *syscall.SysProcAttr { return nil }
