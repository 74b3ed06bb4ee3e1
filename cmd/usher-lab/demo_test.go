package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/stack/stacktest"
)

// TestDemo proves that the demo's meeting is recorded whole and in order.
func TestDemo(t *testing.T) {
	stacktest.Needed(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	var out bytes.Buffer
	if err := demo(t.Context(), demoCommand{usherFlag: usherFlag{usher(t)}, Once: true, Dir: dir}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines {
		if strings.Contains(line, " in)") && !strings.Contains(line, ")  webhook ") {
			t.Errorf("line %q does not end with the time to the webhook", line)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "demo: ok people=3 ") || !strings.Contains(last, " webhooks=") || !strings.HasSuffix(last, " lost=0 reordered=0 recordings=2 available=2 queued=1 counted=20 tracks=3") {
		t.Errorf("last line %q, want demo: ok …", last)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
