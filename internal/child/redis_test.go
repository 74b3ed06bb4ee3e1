package child_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
	"usher/internal/stack/stacktest"
)

// patience bounds what takes milliseconds on an idle machine.
const patience = 30 * time.Second

func TestRedisKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	first, err := child.StartRedis(t.Context(), dir)
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
	second, err := child.StartRedis(t.Context(), dir)
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
	stacktest.Needed(t)
	dir := t.TempDir()
	first, err := child.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	second, err := child.StartRedis(t.Context(), dir)
	if err == nil {
		second.Kill()
	}
	if want := "already runs in this folder"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second start = %v, want an error with %q", err, want)
	}
}

func TestSignal(t *testing.T) {
	r := stacktest.Redis(t)
	c := client(t, r)
	r.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of a paused redis-server = %v, want %v", err, context.DeadlineExceeded)
	}
	r.Signal(syscall.SIGCONT)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping after SIGCONT = %v, want none", err)
	}
}

func TestStopEndsAPausedServer(t *testing.T) {
	r := stacktest.Redis(t)
	r.Signal(syscall.SIGSTOP)
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

func client(t *testing.T, r *child.Redis) *redis.Client {
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
