package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/stack"
	"usher/meeting"
)

// TestPluginsDoNotTakeUsherForAHost proves the rules of usher's affiliation on a real
// Prosody whose plugin asks whether an owner is in the room, in an open and in a
// members-only room: usher enters as a member, is an owner only from before it
// asks to record, to stop or to kick until it is answered, asks once more when it
// is refused, is never none, and does not stay what others make it. So guests are
// put out after the host has left, as without usher.
func TestPluginsDoNotTakeUsherForAHost(t *testing.T) {
	for _, room := range []string{"open", "closed"} {
		t.Run(room, func(t *testing.T) {
			plugin, err := filepath.Abs("testdata/mod_owner_party.lua")
			must(t, err)
			notes := filepath.Join(t.TempDir(), "notes")
			must(t, os.WriteFile(notes, nil, 0o600))
			s := &studio{scene: newSceneOn(t, func(c *stack.ProsodyConfig) {
				c.MUCModule, c.MUCModuleFile = plugin, notes
			}, "--no-elects-moderator"), dirs: map[string]string{}}
			read := func() []string {
				text, err := os.ReadFile(notes)
				must(t, err)
				return strings.Split(strings.TrimSpace(string(text)), "\n")
			}
			member := func() {
				t.Helper()
				s.until("usher is a member again", func() bool {
					lines := read()
					last := ""
					for _, line := range lines {
						if strings.HasPrefix(line, "is ") {
							last = line
						}
					}
					return last == "is member"
				})
			}
			s.jibri("jibri-1", nil)
			s.create(room)
			host, bob, carol := s.person("Ada", "u-ada"), s.person("Bob", "u-bob"), s.person("Carol", "u-carol")
			s.enter(host, bob, carol)
			s.counts(3)
			member()

			must(t, s.call(t.Context(), "POST", "/v1/meetings/"+s.id+"/recordings", nil, nil))
			s.until("it is recorded", func() bool { return host.Recording().Status == "on" })
			member()
			owned := strings.Count(strings.Join(read(), "\n"), "is owner")
			must(t, host.RaiseHand(within(t)))
			s.until("usher was made an owner", func() bool { return strings.Count(strings.Join(read(), "\n"), "is owner") > owned })
			member()
			var list struct{ Data []meeting.RecordingInfo }
			must(t, s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/recordings", nil, &list))
			must(t, s.call(t.Context(), "POST", "/v1/recordings/"+list.Data[0].ID+"/stop", nil, nil))
			s.until("the recorder is gone", func() bool { return s.meeting().Occupancy.Recorders == 0 && host.Recording().Status == "off" })
			member()

			var people struct{ Data []meeting.ParticipantInfo }
			must(t, s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/participants", nil, &people))
			for _, p := range people.Data {
				if p.Name == "Bob" {
					must(t, s.call(t.Context(), "DELETE", "/v1/meetings/"+s.id+"/participants/"+p.ID+"?reason="+url.QueryEscape("noise"), nil, nil))
				}
			}
			s.counts(2)
			member()
			must(t, host.Leave(within(t)))
			s.counts(0)

			checkOwnership(t, read())
		})
	}
}

// checkOwnership holds what the plugin wrote down against the rules.
func checkOwnership(t *testing.T, lines []string) {
	t.Helper()
	is, asked, seen := "", 0, map[string]int{}
	for _, line := range lines {
		seen[line]++
		what, _, _ := strings.Cut(line, " ")
		switch {
		case line == "is none", what == "joins" && line != "joins member":
			t.Errorf("%q, want never", line)
		case what == "is":
			if line == "is member" && asked > 0 {
				t.Error("usher gave its ownership up before it was answered")
			}
			is = line
		case what == "answered":
			asked--
		case what == "asks", what == "kicks":
			if is != "is owner" {
				t.Errorf("usher %s while it %s, want as an owner", line, is)
			}
			if what == "asks" {
				asked++
			}
		}
	}
	if seen["joins member"] == 0 || seen["asks start"] < 2 || seen["asks stop"] == 0 || seen["kicks"] == 0 || is != "is member" {
		t.Errorf("not all of it was seen: %v", seen)
	}
	if t.Failed() {
		t.Logf("the plugin saw\n%s", strings.Join(lines, "\n"))
	}
}
