package meeting

import (
	"slices"
	"time"
)

// maxSpans is how many stretches of time of each kind are kept of somebody, the
// latest of them. Who unmutes to speak does so some ten times an hour, so it is more
// than a working day of that, and a stored participant stays below some 15 kB.
const maxSpans = 100

// Spans are stretches of time, one after the other: beginning, end, beginning and so
// on, in milliseconds since the person joined. Without its end the last one goes on.
type Spans []int64

func (s Spans) open() bool { return len(s)%2 == 1 }

// set begins or ends a stretch, and reports whether that is news. It leaves what
// others hold of s as it was. Time that goes back stands still, and a stretch that
// took no time is none.
func (s *Spans) set(on bool, at int64) bool {
	list := slices.Clip(*s)
	switch n := len(list); {
	case on == list.open():
		return false
	case on:
		list = list[max(0, n-2*(maxSpans-1)):]
		if n > 0 {
			at = max(at, list[len(list)-1])
		}
		*s = append(list, at)
	case at > list[n-1]:
		*s = append(list, at)
	case n > 1:
		*s = list[:n-1]
	default:
		*s = nil
	}
	return true
}

// History is what somebody did in a session, as far as usher saw it: in a breakout
// room microphone and camera are not seen. Who holds one may keep it.
type History struct {
	Visits Spans      `json:"visits,omitempty"` // those that have ended
	Muted  Spans      `json:"muted,omitempty"`
	Camera Spans      `json:"camera,omitempty"` // on
	Rooms  []RoomSpan `json:"rooms,omitempty"`  // breakout rooms
}

// RoomSpan is one visit to a breakout room.
type RoomSpan struct {
	ParticipantRoom
	Span Spans `json:"span"` // one
}

// enter notes that somebody is in a room from then on, and reports whether that is
// news. A room that gets another name meanwhile stays the same.
func (h *History) enter(room ParticipantRoom, at int64) bool {
	last := len(h.Rooms) - 1
	inside := last >= 0 && h.Rooms[last].Span.open()
	if inside && h.Rooms[last].ID == room.ID || !inside && room.ID == "" {
		return false
	}
	h.Rooms = slices.Clone(h.Rooms)
	if inside && h.Rooms[last].Span.set(false, at) && len(h.Rooms[last].Span) == 0 {
		h.Rooms = h.Rooms[:last]
	}
	if room.ID != "" {
		h.Rooms = append(h.Rooms[max(0, len(h.Rooms)+1-maxSpans):], RoomSpan{room, Spans{at}})
	}
	if len(h.Rooms) == 0 {
		h.Rooms = nil
	}
	return true
}

// sinceJoined returns a time as a [History] has it.
func (p *Participant) sinceJoined(at time.Time) int64 {
	return max(0, at.Sub(p.JoinedAt.Time).Milliseconds())
}

// note adds to the history of a person what they are at the given time.
func (p *Participant) note(at time.Time) {
	p.noteAs(at, p.Audio == MediaOff, p.Video == MediaOn, p.Room)
}

// noteLeft ends what the person did, and the visit.
func (p *Participant) noteLeft(at time.Time) {
	p.noteAs(at, false, false, ParticipantRoom{})
	if !p.Kind.moves() {
		return
	}
	h := p.history()
	h.Visits.set(true, p.sinceJoined(p.ArrivedAt))
	h.Visits.set(false, p.sinceJoined(at))
	p.History = &h
}

func (p *Participant) noteAs(at time.Time, muted, camera bool, room ParticipantRoom) {
	if !p.Kind.moves() {
		return // a recorder attends nothing
	}
	h, ms := p.history(), p.sinceJoined(at)
	changed := h.Muted.set(muted, ms)
	changed = h.Camera.set(camera, ms) || changed
	if changed = h.enter(room, ms) || changed; changed {
		p.History = &h
	}
}

// history returns a copy, which may be changed by its methods.
func (p *Participant) history() History {
	if p.History == nil {
		return History{}
	}
	return *p.History
}
