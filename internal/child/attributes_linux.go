package child

import "syscall"

// childAttributes puts the child in a process group of its own, so that
// Ctrl-C in a terminal reaches only this program, which then ends its children
// in its own order; and has the kernel send the child onDeath when this program
// dies without having ended it.
func childAttributes(onDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: onDeath}
}
