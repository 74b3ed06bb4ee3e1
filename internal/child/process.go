// Package child runs servers as children of this process, on free loopback ports
// and with all their data in one folder: the redis-server of `usher serve`
// ([StartRedis]), and in tests Prosody (package stack).
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a server may take to end after SIGTERM. They need
	// milliseconds; the rest is for a slow disk under redis-server's last fsync.
	stopTimeout = 10 * time.Second
	// pollInterval is the pause between two looks at a server that starts:
	// short against the 0.1 to 0.5 s that they take.
	pollInterval = 20 * time.Millisecond
	// lockTimeout is how long a start waits for a predecessor in the same
	// folder that is just dying.
	lockTimeout = 3 * time.Second
	// lockSuffix ends the name of the file that a running server has locked.
	lockSuffix = ".lock"
	// portTries is how many sets of ports are tried before a start gives up.
	portTries = 5
	// linesShown is how much of the server's log an error carries.
	linesShown = 15
	// maxLog is how much of the log of one start is looked at, in bytes: a start
	// writes a few kB.
	maxLog = 256 << 10
)

// Program is what a [Process] has to know about the server that it runs.
type Program struct {
	Name      string // of the executable and of the Debian package
	Args, Env []string
	// Answers asks the server once whether it serves.
	Answers func(ctx context.Context) error
	Timeout time.Duration // from the start of the process to the first answer
	// BindFailure is what the server logs when one of its ports is taken.
	BindFailure string
	// OnDeath is what the server gets when this program dies (Linux).
	OnDeath syscall.Signal
}

// Process is one server child. At most one operating system process is alive
// at a time. Its methods are safe for concurrent use.
type Process struct {
	Program
	dir   string
	mu    sync.Mutex
	child *child
}

// child is one operating system process that is waited for.
type child struct {
	pid    int
	exited chan struct{} // closed when the process has been waited for
	err    error         // how it ended; read it after exited is closed
}

var errPortTaken = errors.New("port taken by another program")

// Start starts the program that build describes for the folder, which is made
// unless it is there, readable by nobody else, and for count free loopback ports;
// when one was taken in between, it tries others. It blocks until the server
// answers or ctx ends.
func Start(ctx context.Context, dir string, count int, build func(dir string, ports []int) (Program, error)) (*Process, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		ports := make([]int, count)
		for i := range ports {
			if ports[i], err = FreePort(); err != nil {
				return nil, err
			}
		}
		p := &Process{dir: dir}
		if p.Program, err = build(dir, ports); err != nil {
			return nil, fmt.Errorf("write its folder: %w", err)
		}
		if err = p.start(ctx); err == nil {
			return p, nil
		}
		if !errors.Is(err, errPortTaken) || try == portTries {
			return nil, fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
}

// Log returns the path of the file that holds everything the server printed.
func (p *Process) Log() string { return filepath.Join(p.dir, p.Name+".log") }

// PID returns the process id of the present or last child.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child.pid
}

// Exited returns a channel that is closed once the present child has ended,
// for whatever reason. After a [Process.Restart] ask again.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child.exited
}

// Stop asks the server to end (SIGTERM), kills it after ten seconds, and
// returns when it is gone. It reports an error only when it had to kill.
// Stopping what has ended already does nothing.
func (p *Process) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop()
}

// Kill ends the server with SIGKILL and returns when it is gone.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

// Signal sends the server a signal: after SIGSTOP its connections stay open and
// silent until SIGCONT.
func (p *Process) Signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child.signal(sig)
}

// Restart stops the server if it still runs, starts it on the same ports with
// the same data, and blocks until it answers or ctx ends.
func (p *Process) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.stop(); err != nil {
		return err
	}
	return p.start(ctx)
}

func (p *Process) stop() error {
	p.child.signal(syscall.SIGTERM)
	p.child.signal(syscall.SIGCONT) // a paused process cannot act on SIGTERM
	select {
	case <-p.child.exited:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("stop %s: killed after %v", p.Name, stopTimeout)
	}
}

func (p *Process) kill() {
	p.child.signal(syscall.SIGKILL)
	<-p.child.exited
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

// start runs the program and blocks until it answers. On an error nothing of
// it is left behind.
func (p *Process) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("no answer within %v", p.Timeout))
	defer cancel()
	path, err := exec.LookPath(p.Name)
	if err != nil {
		return fmt.Errorf("%w; to install it type: sudo apt-get install -y %s", err, p.Name)
	}
	lock, err := lockFolder(ctx, filepath.Join(p.dir, p.Name+lockSuffix))
	if err != nil {
		return err
	}
	defer lock.Close()
	output, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	before, err := output.Stat()
	if err != nil {
		return err
	}
	// log returns what the server has printed since this start.
	log := func() string {
		text, _ := io.ReadAll(io.NewSectionReader(output, before.Size(), maxLog))
		return strings.TrimSpace(string(text))
	}

	cmd := exec.Command(path, p.Args...)
	cmd.Dir = p.dir
	// Nothing of the caller's environment steers the servers or leaks into them.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}, p.Env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{lock} // held for as long as the child lives
	cmd.SysProcAttr = childAttributes(p.OnDeath)
	started, err := launch(cmd)
	if err != nil {
		return err
	}
	p.child = started
	if err := p.waitUntilItAnswers(ctx, log); err != nil {
		p.kill()
		lines := strings.Split(log(), "\n")
		return fmt.Errorf("%w; last lines of %s:\n\t%s", err, p.Log(), strings.Join(lines[max(0, len(lines)-linesShown):], "\n\t"))
	}
	return nil
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

func (p *Process) waitUntilItAnswers(ctx context.Context, log func() string) error {
	for {
		ended := false
		err := p.Answers(ctx)
		if err != nil {
			select {
			case <-p.child.exited:
				ended = true
			case <-ctx.Done():
				return fmt.Errorf("%w (last try: %w)", context.Cause(ctx), err)
			case <-time.After(pollInterval):
			}
		}
		switch {
		// Even after an answer: it may have come from whoever holds the port.
		case strings.Contains(log(), p.BindFailure):
			return errPortTaken
		case ended:
			return fmt.Errorf("it ended by itself (%w)", p.child.err)
		case err == nil:
			return nil
		}
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
	ctx, cancel := context.WithTimeoutCause(ctx, lockTimeout, errors.New("another one already runs in this folder"))
	defer cancel()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			select {
			case <-time.After(pollInterval):
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}
