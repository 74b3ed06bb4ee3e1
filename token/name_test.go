package token

import (
	"regexp"
	"strings"
	"testing"
)

func TestRoomName(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{
		{"", ""},
		{"standup", "standup-"},
		{"Team.Sync_1", "team-sync-1-"},
		{"--José & Co--", "jos-co-"},
		{"😀", ""},
		{"\u212a", "k-"}, // Kelvin sign, k in lower case
		{strings.Repeat("a", 39) + "-bc", strings.Repeat("a", 39) + "-"},
		{strings.Repeat("a", 1000), strings.Repeat("a", 40) + "-"},
	} {
		want := regexp.MustCompile("^" + tt.want + "[a-z2-7]{26}$") // 26 × 5 bits
		if got := RoomName(tt.prefix); !want.MatchString(got) {
			t.Errorf("RoomName(%q) = %q, want %v", tt.prefix, got, want)
		}
	}
	if a, b := RoomName("a"), RoomName("a"); a == b {
		t.Errorf("twice the name %q", a)
	}
}

// TestNamesThatTheWebServerKeepsForItself has what a stock Jitsi site answers
// itself, and what looks alike and is a room.
func TestNamesThatTheWebServerKeepsForItself(t *testing.T) {
	for _, room := range []string{
		"config.js", "interface_config.js", "external_api.js", "http-bind", "xmpp-websocket", "robots.txt", "static",
		"logging_config.js", "pwa-worker.js", "manifest.json", "favicon.ico", "index.html", "libs", "Static", "CONFIG.JS",
		"colibri-ws", "conference-request", "v1", "j", "d", "reservations",
	} {
		if !Reserved(room) {
			t.Errorf("Reserved(%q) = false, want true", room)
		}
		if name := RoomName(room); Reserved(name) {
			t.Errorf("RoomName(%q) = %q, which is reserved", room, name)
		}
	}
	for _, room := range []string{"standup", "statics", "config.jsx", "js", "v2", "my-static", "static-2", "weekly.sync"} {
		if Reserved(room) {
			t.Errorf("Reserved(%q) = true, want false", room)
		}
	}
}

func TestCode(t *testing.T) {
	a, b := Code(), Code()
	if want := regexp.MustCompile("^[A-Z2-7]{26}$"); a == b || !want.MatchString(a) {
		t.Errorf("codes %q and %q, want two of 26 × 5 bits", a, b)
	}
	// SHA-256 of "abc", FIPS 180-2 appendix B.1.
	if got, want := Hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; got != want {
		t.Errorf("Hash = %s, want %s", got, want)
	}
}
