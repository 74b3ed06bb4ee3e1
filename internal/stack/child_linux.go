package stack

import "syscall"

// childAttributes puts the child in a process group of its own, so that
// Ctrl-C in a terminal reaches only this program, which then ends its children
// in its own order; and has the kernel kill the child when this program dies
// without having done so. SIGKILL, because SIGTERM would leave a paused child
// behind; redis-server loses nothing by it, since what it has acknowledged is
// in the kernel's hands already.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
