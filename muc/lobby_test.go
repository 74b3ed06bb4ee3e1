package muc_test

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
	"usher/muc"
)

const lobbyDomain = "lobby.meet.jitsi"

// withLobby is the site with lobbies.
func withLobby() muc.Site {
	site := site
	site.LobbyDomain = lobbyDomain
	return site
}

// setLobby has people with these nicks wait in the room's lobby, none where there
// is none, as the server keeps it; when that is new, the room says that its
// configuration has changed (status 104).
func (s *server) setLobby(room string, on bool, nicks ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fr := s.rooms[room]
	was := fr.lobby != nil
	fr.lobby = nil
	if on {
		fr.lobby = map[string]person{}
	}
	for _, nick := range nicks {
		fr.lobby[nick] = person{jid: nick + "@meet.jitsi/web", role: "participant"}
	}
	if was != on {
		s.configChanged(room)
	}
}

// configChanged has the room say that. s.mu is held.
func (s *server) configChanged(room string) {
	text := "<message type='groupchat' from='" + room + "@muc.meet.jitsi'><x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x></message>"
	s.later(func(r *muc.Rooms) {
		d := xml.NewDecoder(strings.NewReader(text))
		tok, _ := d.Token()
		r.Message(d, tok.(xml.StartElement))
	})
}

// membersOnly is the field of the room's form.
func (fr *fakeRoom) membersOnly() string {
	value := "0"
	if fr.lobby != nil {
		value = "1"
	}
	return "<field var='muc#roomconfig_membersonly'><value>" + value + "</value></field>"
}

// listLobby answers who waits; a host is in there too. s.mu is held.
func (s *server) listLobby(fr *fakeRoom, query string, reply any) error {
	if s.noLobby {
		return stanza.Error{Type: stanza.Auth, Condition: stanza.Forbidden}
	}
	if fr.lobby == nil {
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound}
	}
	items := "<item nick='aa' jid='aa@meet.jitsi/web' role='moderator'/>"
	if strings.Contains(query, `role="participant"`) {
		items = ""
		for _, nick := range slices.Sorted(maps.Keys(fr.lobby)) {
			items += fmt.Sprintf("<item nick='%s' jid='%s' role='participant'/>", nick, fr.lobby[nick].jid)
		}
	}
	return xml.Unmarshal([]byte("<query xmlns='http://jabber.org/protocol/muc#admin'>"+items+"</query>"), reply)
}

// lobbyLine is the line of who waits in what was observed.
func lobbyLine(l meeting.Lobby) string {
	line := "lobby"
	for _, o := range l.Waiting {
		line += " " + o.Nick + "/" + o.JID
	}
	return line
}

// asks counts the questions to rooms and lobbies of the kind.
func (s *server) asks(t *testing.T, kind string, want int) {
	t.Helper()
	synctest.Wait()
	if got := s.count(kind); got != want {
		t.Errorf("%d times %q, want %d", got, kind, want)
	}
}

// TestLobbyIsListedWhileThereIsOne follows a lobby from when a host switches it on
// until it is off: who waits, every two seconds, and nothing of it in between.
func TestLobbyIsListedWhileThereIsOne(t *testing.T) {
	story(t, withLobby(), func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen) // which reads the form once
		time.Sleep(30 * time.Second)
		want(t, seen)
		s.setLobby("standup", true)
		want(t, seen, "lobby")
		s.setLobby("standup", true, "bb", "cc")
		time.Sleep(2 * time.Second)
		want(t, seen, "lobby bb/bb@meet.jitsi/web cc/cc@meet.jitsi/web")
		s.setLobby("standup", true, "cc")
		time.Sleep(2 * time.Second)
		want(t, seen, "lobby cc/cc@meet.jitsi/web")
		s.setLobby("standup", false)
		want(t, seen, "lobby")
		s.asks(t, "form standup", 3)
		time.Sleep(30 * time.Second)
		want(t, seen)
	})
}

// TestLobbyThatIsSwitchedOnMeanwhile has the answer to a question about the lobby
// overtaken by the news that there is one, or by the end of the room.
func TestLobbyThatIsSwitchedOnMeanwhile(t *testing.T) {
	story(t, withLobby(), func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() {
			s.lobbyTakes = 10 * time.Millisecond
			s.configChanged("standup")
		})
		time.Sleep(5 * time.Millisecond)
		s.setLobby("standup", true, "bb")
		time.Sleep(time.Second)
		want(t, seen, "lobby", "lobby bb/bb@meet.jitsi/web")
		time.Sleep(1010 * time.Millisecond) // the next list is under way
		s.destroyRoom("standup")
		time.Sleep(time.Minute)
		want(t, seen, "room gone destroyed")
	})
}

// TestLobbyIsListedFromTheEntryOn enters a room whose people wait already, loses the
// control stream, and goes on with it: the meeting is told of the whole lobby each
// time, and of nothing while it cannot be seen.
func TestLobbyIsListedFromTheEntryOn(t *testing.T) {
	story(t, withLobby(), func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.focus("standup")
		s.join("standup", "aa", person{})
		s.setLobby("standup", true, "bb")
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		want(t, seen, "roster aa focus", "lobby bb/bb@meet.jitsi/web")
		s.dropControl()
		time.Sleep(20 * time.Second)
		want(t, seen)
		s.raiseControl()
		want(t, seen, "lobby bb/bb@meet.jitsi/web")
	})
}

// TestLobbyOfARoomThatNobodyIsIn has somebody wait whom all have left: usher is out
// of the room, and looks into its lobby until the room is gone. So does one that has
// started since.
func TestLobbyOfARoomThatNobodyIsIn(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		story(t, withLobby(), func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
			s.focus("standup")
			s.join("standup", "aa", person{})
			s.setLobby("standup", true, "bb")
			if !restarted {
				r.Want("standup", meeting.WantSoon)
				time.Sleep(time.Second)
			}
			s.leave("standup", "aa", "")
			s.leave("standup", "focus", "")
			time.Sleep(10 * time.Second)
			seen.take()
			if restarted {
				r.Want("standup", meeting.WantSoon)
			}
			s.inAfter(t, 0, false, "usher is in a room that all have left")
			time.Sleep(2 * time.Second)
			if got := seen.take(); !slices.Contains(got, "lobby bb/bb@meet.jitsi/web") {
				t.Errorf("restarted %v: observed %q of a lobby in which somebody waits", restarted, got)
			}
			s.set(func() { delete(s.rooms, "standup") })
			time.Sleep(2 * time.Second)
			if got := seen.take(); len(got) == 0 || got[len(got)-1] != "lobby" {
				t.Errorf("restarted %v: observed %q of a room that is gone, want nobody in its lobby", restarted, got)
			}
			time.Sleep(20 * time.Second)
			want(t, seen)
		})
	}
}

// TestLobbyThatUsherMayNotSee is one finding about the site, and no flood.
func TestLobbyThatUsherMayNotSee(t *testing.T) {
	story(t, withLobby(), func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() { s.noLobby = true })
		s.setLobby("standup", true, "bb")
		time.Sleep(time.Minute)
		want(t, seen)
		p := r.Problems()[muc.CheckLobby]
		if p.Room != "standup" || !strings.Contains(p.Do, `Component "lobby.meet.jitsi"`) {
			t.Errorf("the finding is %+v, want one of standup that says what Prosody is to have", p)
		}
		if n := s.count("form standup"); n > 6 {
			t.Errorf("the lobby was tried %d times in a minute, want at most every 15 s", n)
		}
		s.set(func() { s.noLobby = false })
		time.Sleep(16 * time.Second)
		if p := r.Problems()[muc.CheckLobby]; p.Seen != "" {
			t.Errorf("once usher may see it, the finding is %+v", p)
		}
	})
}

// takeTime has an answer take its time. s.mu is held before and after.
func (s *server) takeTime() {
	takes := s.lobbyTakes
	s.mu.Unlock()
	time.Sleep(takes)
	s.mu.Lock()
}
