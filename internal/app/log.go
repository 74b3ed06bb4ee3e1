package app

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of the log.
const (
	// maxUnwritten is how much of the log may wait to be written, in bytes: some
	// 4,000 lines, which is more than usher logs while a disk or a reader stalls
	// for a moment.
	maxUnwritten = 1 << 20
	// flushTimeout is how long the end waits for what is not written yet.
	// Whoever reads takes milliseconds; nobody may be reading.
	flushTimeout = 2 * time.Second
)

// linesDropped is one for the process, as its stderr is.
var linesDropped = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "usher_log_lines_dropped_total", Help: "Lines of the log that could not be written.",
})

// NewLog returns a log of one JSON object a line. Durations in it are seconds.
func NewLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: inSeconds}))
}

func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// LogWriter writes lines to out without ever making who logs wait, and usher
// with it: a pipe that nobody reads takes 64 kB and then blocks for ever. What
// does not fit in between is dropped, counted, and said in the log as soon as
// that is written again. Safe for concurrent use.
type LogWriter struct {
	out    io.Writer
	closed chan struct{} // once everything is written

	mu        sync.Mutex // never held while writing
	more      *sync.Cond
	unwritten []byte
	dropped   int // lines since unwritten was full
	closing   bool
}

// NewLogWriter returns a writer to out. It must be closed.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, closed: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	go w.write()
	return w
}

// Write takes whole lines. It does not block, and never fails.
func (w *LogWriter) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Once one is dropped the next are too, so that it is known where they are missing.
	if w.dropped > 0 || len(w.unwritten)+len(lines) > maxUnwritten {
		n := countLines(lines)
		w.dropped += n
		linesDropped.Add(float64(n))
		return len(lines), nil
	}
	w.unwritten = append(w.unwritten, lines...)
	w.more.Signal()
	return len(lines), nil
}

// write writes what comes until the writer is closed and nothing is left.
func (w *LogWriter) write() {
	defer close(w.closed)
	lost := 0 // lines that are missing in out, which does not say so yet
	for {
		lines, dropped := w.take()
		if lines == nil {
			return
		}
		n, err := w.out.Write(lines)
		if err != nil {
			failed := countLines(lines[n:])
			linesDropped.Add(float64(failed))
			lost += failed
		}
		if lost += dropped; lost > 0 && err == nil {
			slog.New(slog.NewJSONHandler(w.out, nil)).Warn("lines of the log were dropped because they could not be written", "lines", lost)
			lost = 0
		}
	}
}

// take blocks until there is something to write, and returns it and how many
// lines were dropped after it; nil: the writer is closed.
func (w *LogWriter) take() (lines []byte, dropped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unwritten) == 0 && !w.closing {
		w.more.Wait()
	}
	lines, dropped = w.unwritten, w.dropped
	w.unwritten, w.dropped = nil, 0
	return lines, dropped
}

// Close writes what is left, and gives up on it after flushTimeout. Nothing may
// be written afterwards.
func (w *LogWriter) Close() {
	w.mu.Lock()
	w.closing = true
	w.more.Signal()
	w.mu.Unlock()
	select {
	case <-w.closed:
	case <-time.After(flushTimeout): // the goroutine stays behind in a write that nobody can end
	}
}

func countLines(text []byte) int { return bytes.Count(text, []byte("\n")) }
