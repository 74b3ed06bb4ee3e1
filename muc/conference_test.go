package muc_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"usher/meeting"
	"usher/muc"
)

// TestConferenceIsReportedWithJitsisID: a site that records from bridges has each
// room asked for the id once it is on one, and no site else.
func TestConferenceIsReportedWithJitsisID(t *testing.T) {
	recording := site
	recording.Conferences = true
	story(t, recording, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.set(func() { s.rooms["standup"].meetingID = "61b39dea-0000" })
		s.join("standup", "focus", onBridges(1))
		time.Sleep(time.Second)
		want(t, seen, "seen focus", `conference "61b39dea-0000" on 1`)
		s.join("standup", "focus", onBridges(1))
		s.join("standup", "mallory", onBridges(7).as("mallory@meet.jitsi/web"))
		s.join("standup", "focus", onBridges(2))
		s.join("standup", "focus", onBridges(0))
		want(t, seen, "seen focus", "seen mallory", "seen focus", `conference "61b39dea-0000" on 2`, "seen focus", `conference "61b39dea-0000" on 0`)
		s.join("standup", "focus", onBridges(1))
		s.leave("standup", "focus", "")
		want(t, seen, "seen focus", `conference "61b39dea-0000" on 1`, "meeting.FocusSaid", `conference "61b39dea-0000" on 0`)
		if got := s.count("info standup"); got != 1 {
			t.Errorf("the room was asked %d times, want once", got)
		}
		// After a new entry it may be another one.
		s.focus("standup")
		want(t, seen, "seen focus", "meeting.FocusSaid")
		s.dropOccupant()
		s.set(func() { s.rooms["standup"].meetingID = "61b39dea-0001" })
		s.raiseOccupant()
		time.Sleep(time.Second)
		want(t, seen, "sight lost", "roster aa focus mallory", `conference "" on 0`)
		s.join("standup", "focus", onBridges(1))
		time.Sleep(time.Second)
		want(t, seen, "seen focus", `conference "61b39dea-0001" on 1`)
	})
	story(t, site, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		follow(s, r, seen)
		s.join("standup", "focus", onBridges(1))
		time.Sleep(time.Minute)
		want(t, seen, "seen focus")
		if got := s.count("info"); got != 0 {
			t.Errorf("a site that records nothing from bridges has rooms asked %d times, want 0", got)
		}
	})
}

// TestRoomsWithoutMeetingID are asked again, more and more seldom, and are one
// problem of the site.
func TestRoomsWithoutMeetingID(t *testing.T) {
	recording := site
	recording.Conferences = true
	story(t, recording, func(t *testing.T, s *server, r *muc.Rooms, seen *observed) {
		s.join("standup", "focus", onBridges(1))
		s.join("standup", "aa", person{})
		r.Want("standup", meeting.WantFollow)
		time.Sleep(time.Second)
		want(t, seen, "roster aa focus")
		time.Sleep(time.Hour)
		if got := s.count("info standup"); got < 16 || got > 20 {
			t.Errorf("asked %d times in an hour, want after 5, 10, 20 s and so on, at last every five minutes", got)
		}
		if p := r.Problems()[muc.CheckMeetingID]; p.Room != "standup" || !strings.Contains(p.Do, `Component "muc.meet.jitsi" in Prosody hold "muc_meeting_id"`) {
			t.Errorf("the problem is %+v, want the room and the module", p)
		}
		s.set(func() { s.rooms["standup"].meetingID = "61b39dea-0002" })
		time.Sleep(5 * time.Minute)
		want(t, seen, `conference "61b39dea-0002" on 1`)
		if p, is := r.Problems()[muc.CheckMeetingID]; is {
			t.Errorf("the problem is still there: %+v", p)
		}
	})
}

// onBridges is the focus of a conference on so many bridges.
func onBridges(n int) person {
	return person{jid: "focus@auth.meet.jitsi/focus", role: "moderator", properties: fmt.Sprintf(
		"<conference-properties xmlns='http://jitsi.org/protocol/focus'><property key='support-terminate-restart' value='true'/><property key='bridge-count' value='%d'/></conference-properties>", n)}
}

func (p person) as(jid string) person {
	p.jid = jid
	return p
}
