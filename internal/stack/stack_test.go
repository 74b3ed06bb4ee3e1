package stack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// patience bounds what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// parentOf names a folder; in a process that has it set, TestMain plays a
// program that starts both servers there and never ends them.
const parentOf = "USHER_STACK_TEST_PARENT_OF"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentOf); dir != "" {
		redis, err := stack.StartRedis(context.Background(), dir)
		if err != nil {
			panic(err)
		}
		prosody, err := stack.StartProsody(context.Background(), dir, stack.ProsodyConfig{})
		if err != nil {
			panic(err)
		}
		prosody.Pause()
		fmt.Println(redis.PID(), prosody.PID())
		select {}
	}
	os.Exit(m.Run())
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	dir := t.TempDir()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), parentOf+"="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	_, err = fmt.Fscan(bufio.NewReader(out), &pids[0], &pids[1])
	if killed := parent.Process.Kill(); killed != nil {
		t.Error(killed)
	}
	_ = parent.Wait() // reports the kill
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}

	// The folder is free again.
	redis, err := stack.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	redis.Kill()
}

func TestRedisKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	first, err := stack.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	set(t, client(t, first), "a", "before kill")

	first.Kill()
	if err := first.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := client(t, first)
	if got, want := c.Get(t.Context(), "a").Val(), "before kill"; got != want {
		t.Errorf("after Kill and Restart: a = %q, want %q", got, want)
	}
	set(t, c, "b", "before stop")

	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second, err := stack.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Kill()
	if got, want := client(t, second).Get(t.Context(), "b").Val(), "before stop"; got != want {
		t.Errorf("after Stop and StartRedis: b = %q, want %q", got, want)
	}
}

func TestRedisRefusesStrangers(t *testing.T) {
	r := stacktest.Redis(t)
	options, err := redis.ParseURL(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.Password = ""
	c := redis.NewClient(options)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("ping without the password = %v, want NOAUTH", err)
	}
}

func TestOneServerPerFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	dir := t.TempDir()
	first, err := stack.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	second, err := stack.StartRedis(t.Context(), dir)
	if err == nil {
		second.Kill()
	}
	if want := "already runs in this folder"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second start = %v, want an error with %q", err, want)
	}
}

func TestPauseAndResume(t *testing.T) {
	r := stacktest.Redis(t)
	c := client(t, r)
	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of a paused redis-server = %v, want %v", err, context.DeadlineExceeded)
	}
	r.Resume()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping after Resume = %v, want none", err)
	}
}

func TestStopEndsAPausedServer(t *testing.T) {
	r := stacktest.Redis(t)
	r.Pause()
	if err := r.Stop(); err != nil {
		t.Errorf("Stop = %v, want none", err)
	}
	if alive(r.PID()) {
		t.Errorf("process %d is still alive", r.PID())
	}
	if err := r.Stop(); err != nil {
		t.Errorf("second Stop = %v, want none", err)
	}
}

func TestExitedTellsOfAnUnexpectedEnd(t *testing.T) {
	r := stacktest.Redis(t)
	select {
	case <-r.Exited():
		t.Fatal("Exited is closed while redis-server runs")
	default:
	}
	if err := syscall.Kill(r.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Exited():
	case <-time.After(patience):
		t.Error("Exited is still open")
	}
}

func TestProsodyRestartsOnItsPorts(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	addrs := []string{p.ComponentAddr, p.ClientAddr, p.HTTPAddr}
	first := p.PID()
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alive(first) || p.PID() == first {
		t.Errorf("process %d still serves after Restart", first)
	}
	for i, got := range []string{p.ComponentAddr, p.ClientAddr, p.HTTPAddr} {
		if got != addrs[i] {
			t.Errorf("address = %s, want %s", got, addrs[i])
		}
		conn, err := net.Dial("tcp", got)
		if err != nil {
			t.Errorf("after Restart: %v", err)
			continue
		}
		_ = conn.Close()
	}
}

func client(t *testing.T, r *stack.Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.ContextTimeoutEnabled = true
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func set(t *testing.T, c *redis.Client, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// alive reports whether pid runs. A zombie does not: an orphan's new parent
// may take its time to wait for it.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
