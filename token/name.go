package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
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

// reserved are first segments of paths that lead elsewhere than into a room of
// that name: what Jitsi's web server keeps for itself (docker-jitsi-meet's
// meet.conf, jitsi-meet's Debian package and its nginx site), and those of
// usher's own API, which may be published under the same host.
var reserved = map[string]bool{
	"http-bind": true, "xmpp-websocket": true, "colibri-ws": true, "colibri-relay-ws": true,
	"conference-request": true, "room-info": true, "rtcstats-ws": true, "rtc-visualizer": true,
	"etherpad": true, "socket.io": true, "load-test": true,
	"libs": true, "css": true, "static": true, "images": true, "fonts": true, "lang": true, "sounds": true,
	"connection_optimization": true, "transcripts": true, "scripts": true,

	"v1": true, "j": true, "d": true, "r": true, "internal": true, "live": true, "whereby": true, "reservations": true,
}

// reservedFiles are how the files end that lie where the web server looks for
// rooms: config.js, external_api.js, manifest.json, robots.txt and their like.
var reservedFiles = []string{".js", ".json", ".html", ".htm", ".css", ".txt", ".ico"}

// Reserved reports whether a room of this name could not be reached, because the
// link to it leads to something of the web server's or of usher's. Names of
// [RoomName] are never reserved.
func Reserved(room string) bool {
	room = strings.ToLower(room)
	return reserved[room] || slices.ContainsFunc(reservedFiles, func(end string) bool { return strings.HasSuffix(room, end) })
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
