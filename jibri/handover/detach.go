package handover

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxLog is how long the log of a spool gets before it is begun anew, in bytes:
// tens of thousands of recordings. The last one is kept.
const maxLog = 10 << 20

// Detach starts this program again with the given arguments, in a process
// session of its own and without anything of the caller's: Jibri waits for as
// long as its hook, or a pipe that the hook was given, is open. The process gets
// one more variable of the environment: everybody on the host can read its
// arguments. Detach returns once the process has begun; its output goes to the
// spool's log.
func (s *Spool) Detach(variable string, args ...string) error {
	path := filepath.Join(s.dir, logFile)
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".1")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	defer log.Close()
	// Whoever started the hook may have left something open.
	open, _ := os.ReadDir("/dev/fd")
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	return cmd.Process.Release()
}
