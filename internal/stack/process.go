package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// stopPatience is how long a server may take to end after SIGTERM. Both
	// need milliseconds; the rest is for a slow disk under redis-server's last
	// fsync.
	stopPatience = 10 * time.Second
	// pollInterval is the pause between two looks at a server that starts:
	// short against the 0.1 to 0.5 s that they take.
	pollInterval = 20 * time.Millisecond
	// lockPatience is how long a start waits for a predecessor in the same
	// folder that is just dying.
	lockPatience = 3 * time.Second
	// portTries is how many sets of ports are tried before a start gives up.
	portTries = 5
)

// program is what a Process has to know about the server that it runs.
type program struct {
	name, debianPackage string
	dir                 string
	args, env           []string

	// answers asks the server once whether it serves.
	answers  func(ctx context.Context) error
	patience time.Duration // from the start of the process to the first answer
	// bindFailure is what the server logs when one of its ports is taken.
	bindFailure string
	// onDeath is what the server gets when this program dies (Linux).
	onDeath syscall.Signal
}

// Process is one server child. At most one operating system process is alive
// at a time. Its methods are safe for concurrent use.
type Process struct {
	program
	mu    sync.Mutex
	child *child
}

var errPortTaken = errors.New("stack: port taken by another program")

// startOnFreePorts starts the program that build describes for count free
// ports, and tries other ports when one was taken in between.
func startOnFreePorts(ctx context.Context, count int, build func(ports []int) (program, error)) (*Process, error) {
	for try := 1; ; try++ {
		ports, err := freePorts(count)
		if err != nil {
			return nil, err
		}
		prog, err := build(ports)
		if err != nil {
			return nil, err
		}
		p := &Process{program: prog}
		err = p.start(ctx)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, errPortTaken) || try == portTries {
			return nil, err
		}
	}
}

// Log returns the path of the file that holds everything the server printed.
func (p *Process) Log() string { return filepath.Join(p.dir, p.name+".log") }

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

// Pause freezes the server (SIGSTOP): its connections stay open and silent.
func (p *Process) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child.signal(syscall.SIGSTOP)
}

// Resume lets a paused server go on (SIGCONT).
func (p *Process) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.child.signal(syscall.SIGCONT)
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
	case <-time.After(stopPatience):
		p.kill()
		return fmt.Errorf("stop %s: killed after %v", p.name, stopPatience)
	}
}

func (p *Process) kill() {
	p.child.signal(syscall.SIGKILL)
	<-p.child.exited
}

// start runs the program and blocks until it answers. On an error nothing of
// it is left behind.
func (p *Process) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.patience, fmt.Errorf("no answer within %v", p.patience))
	defer cancel()

	path, err := exec.LookPath(p.name)
	if err != nil {
		return fmt.Errorf("start %s: %w; to install it type: sudo apt-get install -y %s", p.name, err, p.debianPackage)
	}
	lock, err := lockFolder(ctx, filepath.Join(p.dir, p.name+".lock"))
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer lock.Close()
	output, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer output.Close()
	before, err := output.Stat()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}

	cmd := exec.Command(path, p.args...)
	cmd.Dir = p.dir
	// Nothing of the caller's environment steers the servers or leaks into them.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}, p.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{lock} // held for as long as the child lives
	cmd.SysProcAttr = childAttributes(p.onDeath)
	c, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.child = c
	if err := p.waitUntilItAnswers(ctx, before.Size()); err != nil {
		p.kill()
		return fmt.Errorf("start %s: %w; %s", p.name, err, lastLines(p.Log(), before.Size()))
	}
	return nil
}

func (p *Process) waitUntilItAnswers(ctx context.Context, logStart int64) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := p.answers(ctx)
		// The log is read even after an answer: that may have come from
		// whoever holds the port.
		if logContains(p.Log(), logStart, p.bindFailure) {
			return errPortTaken
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.child.exited:
			if logContains(p.Log(), logStart, p.bindFailure) {
				return errPortTaken
			}
			return fmt.Errorf("it ended by itself (%v)", p.child.err)
		case <-ctx.Done():
			return fmt.Errorf("%w (last try: %v)", context.Cause(ctx), err)
		case <-poll.C:
		}
	}
}
