package handover

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// probeTimeout bounds ffprobe, which reads the index of a file only.
	probeTimeout = 30 * time.Second
	// maxDuration is longer than any recording; what says so lies.
	maxDuration = 1000 * time.Hour
	// maxProbe is the most of ffprobe's output that is looked at, in bytes.
	maxProbe = 1 << 10
)

// duration returns how long the file plays, 0 when ffprobe is not there or does
// not know. It gets the open file, not a name that it could take for an option
// or that could lead elsewhere, and may not follow what the file refers to.
func duration(ctx context.Context, file *os.File) time.Duration {
	path, err := exec.LookPath("ffprobe")
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-v", "error", "-protocol_whitelist", "file",
		"-show_entries", "format=duration", "-of", "csv=p=0", "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	cmd.WaitDelay = time.Second // for a child of it that keeps the pipe open
	var out strings.Builder
	cmd.Stdout = &limited{w: &out, left: maxProbe}
	if cmd.Run() != nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
	if err != nil || !(seconds > 0) || seconds > maxDuration.Seconds() { // NaN is not > 0
		return 0
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}

// limited writes the beginning and drops the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	kept := p[:min(len(p), l.left)]
	l.left -= len(kept)
	if _, err := l.w.Write(kept); err != nil {
		return 0, err
	}
	return len(p), nil
}
