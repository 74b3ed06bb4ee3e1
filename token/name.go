package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxPrefix is the greatest length of what a random room name begins with. It
// leaves room in the room's address and in its URL.
const maxPrefix = 40

// RoomName returns a room name that nobody can guess: the prefix, a hyphen and
// 130 random bits in lower-case letters and digits. The prefix is made lower
// case and cut at 40 bytes; what is not a letter a-z or digit becomes a hyphen,
// because only those pass every client, URL and JID unchanged.
func RoomName(prefix string) string {
	var b strings.Builder
	hyphen := false // wanted before the next letter
	for _, r := range strings.ToLower(prefix) {
		if r < '0' || r > 'z' || r > '9' && r < 'a' {
			hyphen = true
			continue
		}
		if hyphen && b.Len() > 0 {
			b.WriteByte('-')
		}
		hyphen = false
		b.WriteRune(r)
	}
	name := b.String()
	name = strings.TrimRight(name[:min(len(name), maxPrefix)], "-")
	random := strings.ToLower(rand.Text())
	if name == "" {
		return random
	}
	return name + "-" + random
}

// Code returns the code of a join link: 130 random bits in letters and digits,
// as they go into a URL. Keep its [Hash] only.
func Code() string { return rand.Text() }

// Hash returns what to store of a code and to find it by: its SHA-256 in hex.
// A code is random, so there is nothing that salt or a slow hash would add.
func Hash(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}
