//go:build unix && !linux

package child

import "syscall"

// childAttributes puts the child in a process group of its own. Only Linux
// can end a child together with its parent.
func childAttributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
