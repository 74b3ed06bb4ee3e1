package handover

import (
	"context"
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
)

// duration returns how long the file plays, 0 when ffprobe is not there or does
// not know. It gets the open file, not a name that it could take for an option
// or that could lead elsewhere, and may not follow what the file refers to.
func duration(ctx context.Context, file *os.File) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-protocol_whitelist", "file",
		"-show_entries", "format=duration", "-of", "csv=p=0", "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	cmd.WaitDelay = time.Second // for a child of it that keeps the pipe open
	text, err := cmd.Output()
	if err != nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil || !(seconds > 0) || seconds > maxDuration.Seconds() { // NaN is not > 0
		return 0
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}
