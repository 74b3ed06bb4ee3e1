package stack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// linesShown is how much of a log an error carries.
	linesShown = 15
	// logRead is how much of a log is looked at: a start writes a few kB.
	logRead = 256 << 10
)

// readLog returns what was written to the log since offset; nothing when it
// cannot be read.
func readLog(path string, offset int64) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	text, _ := io.ReadAll(io.NewSectionReader(file, offset, logRead))
	return text
}

func logContains(path string, offset int64, words string) bool {
	return bytes.Contains(readLog(path, offset), []byte(words))
}

func lastLines(path string, offset int64) string {
	text := strings.TrimSpace(string(readLog(path, offset)))
	if text == "" {
		return path + " is empty"
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-linesShown):]
	return fmt.Sprintf("last lines of %s:\n\t%s", path, strings.Join(lines, "\n\t"))
}
