package handover

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"usher/meeting"
)

const (
	// maxNames is how many names are tried for a file: one per recorder that
	// died during the recording, and far more than that.
	maxNames = 100
	// maxStem leaves room in a file's name, of 255 bytes at most, for the time
	// and the ending.
	maxStem = 200
)

// stem returns what the file's name begins with: room and start, as users of
// Whereby expect them, or what the recorder called it when usher did not say.
func stem(answer meeting.HandOverAnswer, file string) string {
	room := safe(answer.Room)
	if room == "" || answer.StartedAt.IsZero() {
		return cmp.Or(safe(strings.TrimSuffix(file, filepath.Ext(file))), "recording")
	}
	return room + "-" + answer.StartedAt.UTC().Format(time.RFC3339)
}

// numbered returns the nth name for a file: the second and later ones have a
// number.
func numbered(stem, file string, n int) string {
	ext := strings.ToLower(filepath.Ext(file))
	if n == 1 {
		return stem + ext
	}
	return stem + "-" + strconv.Itoa(n) + ext
}

// safe returns s as it may be in a file's name.
func safe(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s)
	if strings.HasPrefix(s, ".") { // would be hidden, or .. itself
		s = "_" + s[1:]
	}
	for len(s) > maxStem {
		runes := []rune(s)
		s = string(runes[:len(runes)-1])
	}
	return s
}
