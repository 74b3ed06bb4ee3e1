package handover

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Detach starts this program again with the given arguments, in a process
// session of its own and without anything of the caller's: Jibri waits for as
// long as its hook, or a pipe that the hook was given, is open. The process gets
// one more variable of the environment: everybody on the host can read its
// arguments. Detach returns once the process has begun; its output goes to the
// spool's log.
func (s *Spool) Detach(variable string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	log, err := s.Log()
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer log.Close()
	keepToOurselves()
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	return cmd.Process.Release()
}

// keepToOurselves marks everything that is open, but for input and output, as
// not to be handed on: whoever started the hook may have left something open.
func keepToOurselves() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
