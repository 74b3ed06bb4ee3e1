package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// sink is what a log is written to. A write waits for an error, or nil to
// succeed, in answers.
type sink struct {
	answers chan error
	text    bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	if err := <-s.answers; err != nil {
		return 0, err
	}
	return s.text.Write(p)
}

// logLines writes lines from first up to last, of a hundredth of what may wait.
func logLines(w *LogWriter, first, last int) {
	for i := first; i <= last; i++ {
		fmt.Fprintf(w, "%*d\n", maxUnwritten/100-1, i)
	}
}

// seen returns the numbers of the lines in the sink, and "-n" where it says
// that n are missing.
func (s *sink) seen(t *testing.T) string {
	t.Helper()
	var got []string
	for line := range strings.Lines(s.text.String()) {
		var note struct{ Lines int }
		if json.Unmarshal([]byte(line), &note) == nil && note.Lines > 0 {
			line = fmt.Sprint(-note.Lines)
		}
		got = append(got, strings.TrimSpace(line))
	}
	if len(got) > 6 {
		got = append(append(got[:3:3], "…"), got[len(got)-3:]...)
	}
	return strings.Join(got, " ")
}

// TestLogWriter: what fits is written in order when that is possible again;
// what does not is counted, and said at its place.
func TestLogWriter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []error // to the writes after the first, while which all is logged
		last    int     // number of the last line
		dropped float64
		want    string
	}{
		{"all that fits", []error{nil}, 101, 0, "1 2 3 … 99 100 101"},
		{"more", []error{nil, nil}, 104, 3, "1 2 3 … 100 101 -3"},
		{"writes fail", []error{errors.New("no space left on device")}, 104, 103, "1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			before := testutil.ToFloat64(linesDropped)
			out := &sink{answers: make(chan error, 10)}
			w := NewLogWriter(out)
			logLines(w, 1, 1)
			synctest.Wait() // it is being written
			logLines(w, 2, tt.last)
			for _, err := range append([]error{nil}, tt.answers...) {
				out.answers <- err
			}
			synctest.Wait()
			if got := out.seen(t); got != tt.want {
				t.Errorf("%s: written is %s, want %s", tt.name, got, tt.want)
			}
			if got := testutil.ToFloat64(linesDropped) - before; got != tt.dropped {
				t.Errorf("%s: %v lines are counted as dropped, want %v", tt.name, got, tt.dropped)
			}
			// Whatever was, it goes on.
			close(out.answers)
			logLines(w, 200, 200)
			w.Close()
			if got := out.seen(t); !strings.Contains(got, "200") {
				t.Errorf("%s: written is %s, want it to go on", tt.name, got)
			}
			if tt.dropped == 103 && !strings.HasSuffix(out.seen(t), "1 200 -103") {
				t.Errorf("%s: written is %s, want it to end with what is missing", tt.name, out.seen(t))
			}
		})
	}
}

// TestDurationsAreSeconds: whoever reads the log need not count zeros.
func TestDurationsAreSeconds(t *testing.T) {
	var text bytes.Buffer
	NewLog(&text, slog.LevelInfo).Info("no stream", "wait", 1500*time.Millisecond, slog.Group("in", "wait", time.Minute), "tries", 3)
	var got map[string]any
	must(t, json.Unmarshal(text.Bytes(), &got))
	if got["wait"] != 1.5 || got["in"].(map[string]any)["wait"] != 60.0 || got["tries"] != 3.0 {
		t.Errorf("the log has %s, want 1.5 and 60 seconds", &text)
	}
}

// TestCloseOfTheLog: the end waits for what is being written, and no longer than
// for flushTimeout.
func TestCloseOfTheLog(t *testing.T) {
	for _, tt := range []struct {
		took, want time.Duration
	}{{time.Second, time.Second}, {time.Hour, flushTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			out := &sink{answers: make(chan error)}
			w := NewLogWriter(out)
			logLines(w, 1, 1)
			time.AfterFunc(tt.took, func() { close(out.answers) })
			begin := time.Now()
			w.Close()
			if got := time.Since(begin); got != tt.want {
				t.Errorf("a write that takes %v: the end took %v, want %v", tt.took, got, tt.want)
			}
			<-w.closed // the bubble ends with its goroutines
		})
	}
}
