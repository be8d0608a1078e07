//go:build !linux

package keyless

import "syscall"

// withParent has nothing to set where there is no parent-death signal.
func withParent() *syscall.SysProcAttr { return nil }
