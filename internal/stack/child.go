package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// child is one operating system process that is waited for.
type child struct {
	pid    int
	exited chan struct{} // closed when the process has been waited for
	err    error         // how it ended; read it after exited is closed
}

// launch starts cmd. The goroutine that starts it keeps its thread until the
// child has ended, because Linux sends the parent-death signal when the
// starting *thread* ends (prctl(2), PR_SET_PDEATHSIG), and Go ends threads as
// it likes.
func launch(cmd *exec.Cmd) (*child, error) {
	c := &child{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.pid = cmd.Process.Pid
		started <- nil
		c.err = cmd.Wait()
		close(c.exited)
	}()
	return c, <-started
}

// signal reaches the child and whatever it forked: redis-server forks to
// rewrite its append-only file.
func (c *child) signal(sig syscall.Signal) {
	select {
	case <-c.exited: // the id may belong to somebody else by now
	default:
		_ = syscall.Kill(-c.pid, sig) // fails only when it has just ended
	}
}

// lockFolder takes the lock file at path, so that no two servers ever write
// the same data. The file stays locked until every copy of the descriptor is
// closed.
func lockFolder(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	giveUp := time.After(lockPatience)
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-time.After(pollInterval):
		case <-giveUp:
			_ = file.Close()
			return nil, fmt.Errorf("another one already runs in this folder (%s is locked)", path)
		case <-ctx.Done():
			_ = file.Close()
			return nil, context.Cause(ctx)
		}
	}
}
