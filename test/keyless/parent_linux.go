package keyless

import "syscall"

// withParent makes a process end with the thread that started it, however that
// ends. In a process group of its own, Ctrl-C at a terminal reaches only us, and
// we stop the programs.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
