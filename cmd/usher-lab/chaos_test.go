package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
)

// TestChaos lets things go wrong for half a minute, other ones each time; the
// first line has the seed of a run that fails.
func TestChaos(t *testing.T) {
	stacktest.Needed(t)
	t.Parallel()
	var out, progress bytes.Buffer
	c := chaosCommand{usherFlag: usherFlag{usher(t)}, For: 25 * time.Second}
	if err := c.chaos(t.Context(), &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), out.String())
	}
	if last := out.String(); !strings.HasPrefix(last, "chaos: ok faults=") || !strings.Contains(last, " lost=0 reordered=0 phantom=0 announced=") || strings.Contains(last, "faults=0 ") {
		t.Errorf("it ended with %q, want chaos: ok …", last)
	}
}
