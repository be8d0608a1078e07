package cluster

import "syscall"

// tiedToParent makes the kernel kill a child when the thread that started it
// ends, so that a test killed by a time-out leaves nothing behind. The child
// has a process group of its own: Ctrl-C at a terminal reaches only us, and we
// stop the programs in their order.
func tiedToParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
