package store

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a real redis-server on a free port of the loopback interface, with
// its append-only file in a folder of its own.
type server struct {
	t    testing.TB
	dir  string
	port int
	cmd  *exec.Cmd
	raw  *redis.Client // for tests to look and to meddle
}

func startServer(t testing.TB) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	s.raw = redis.NewClient(&redis.Options{Addr: s.addr()})
	t.Cleanup(func() {
		s.raw.Close()
		s.kill()
	})
	s.start()
	return s
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// start runs the server and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port),
		"--save", "", "--appendonly", "yes", "--dir", s.dir, "--logfile", "redis.log")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for s.raw.Ping(ctx).Err() != nil {
		if ctx.Err() != nil {
			s.t.Fatalf("redis-server does not answer on port %d, see %s/redis.log", s.port, s.dir)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kill ends the server at once, like kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// signal sends SIGSTOP or SIGCONT.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a command as an administrator would.
func (s *server) do(args ...any) {
	s.t.Helper()
	if err := s.raw.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatal(args, err)
	}
}

var sites atomic.Int64

// open returns a store for a site that nobody else has.
func (s *server) open() *Redis {
	s.t.Helper()
	return s.openSite(fmt.Sprintf("site%d", sites.Add(1)))
}

func (s *server) openSite(site string) *Redis {
	s.t.Helper()
	r, err := NewRedis(Config{URL: "redis://" + s.addr(), Site: site})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	return r
}
