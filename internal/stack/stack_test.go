package stack_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/child"
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
		redis, err := child.StartRedis(context.Background(), dir)
		if err != nil {
			panic(err)
		}
		prosody, err := stack.StartProsody(context.Background(), dir, stack.ProsodyConfig{})
		if err != nil {
			panic(err)
		}
		prosody.Signal(syscall.SIGSTOP)
		fmt.Println(redis.PID(), prosody.PID())
		select {}
	}
	os.Exit(m.Run())
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	stacktest.Needed(t)
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
	redis, err := child.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	redis.Kill()
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
