package child_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"usher/internal/child"
	"usher/internal/stack/stacktest"
)

// TestBackup runs the commands of docs/operations.md while Redis is written to and
// rewrites its file again and again, and starts a Redis on the copy: it has what had
// been there before.
func TestBackup(t *testing.T) {
	stacktest.Needed(t)
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "dir=/var/lib/usher\n"
	_, commands, found := strings.Cut(string(guide), installed)
	commands, _, ended := strings.Cut(commands, "```")
	if !found || !ended {
		t.Fatalf("docs/operations.md has no block that begins with %q", installed)
	}

	dir := t.TempDir()
	r, err := child.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Kill()
	c := client(t, r)
	// Large enough for a rewrite to take some time.
	const keys = 1000
	for i := range keys {
		set(t, c, strconv.Itoa(i), strings.Repeat("x", 100_000))
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.Incr(ctx, "writes")
		}
	}()
	defer func() { stop(); <-done }()
	if err := c.BgRewriteAOF(t.Context()).Err(); err != nil && !strings.Contains(err.Error(), "already in progress") {
		t.Fatal(err)
	}
	before, err := c.Incr(t.Context(), "writes").Result()
	if err != nil {
		t.Fatal(err)
	}

	to := t.TempDir()
	shell := exec.CommandContext(t.Context(), "sh", "-euc", "dir="+dir+"\n"+commands)
	shell.Dir = to
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := c.ConfigGet(t.Context(), "auto-aof-rewrite-percentage").Val()["auto-aof-rewrite-percentage"]; got != strconv.Itoa(100) {
		t.Errorf("the file is rewritten at %s %% from now on, want 100 as before", got)
	}

	restored, err := child.StartRedis(t.Context(), filepath.Join(to, "usher-backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Kill()
	copied := client(t, restored)
	if got, err := copied.Get(t.Context(), "writes").Int64(); got < before || err != nil {
		t.Errorf("the copy has %d writes, %v, want the %d from before or more", got, err, before)
	}
	if got := copied.DBSize(t.Context()).Val(); got != keys+1 {
		t.Errorf("the copy has %d keys, want %d", got, keys+1)
	}
}
