//go:build !linux

package bed

import "syscall"

// withParent returns nothing special: only Linux ends a process with its parent.
func withParent() *syscall.SysProcAttr { return nil }
