package handover

import (
	"cmp"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"usher/storage"
)

// maxStem leaves room in a file's name, of 255 bytes at most, for the time, a
// number and the ending.
const maxStem = 200

// stem returns what the file's name begins with: room and start, as users of
// Whereby expect them, or what the recorder called it when usher did not say.
func stem(answer storage.Answer, file string) string {
	room := safe(answer.Room)
	if room == "" || answer.StartedAt.IsZero() {
		return cmp.Or(safe(strings.TrimSuffix(file, filepath.Ext(file))), "recording")
	}
	return room + "-" + answer.StartedAt.UTC().Format(time.RFC3339)
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
	return strings.ToValidUTF8(s[:min(len(s), maxStem)], "") // without half a character
}
