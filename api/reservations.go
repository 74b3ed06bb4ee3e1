package api

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"usher/meeting"
)

const (
	// OpenEndedReservation is how long a room without an end is reserved.
	// Prosody throws everybody out when it is over, so it outlasts any
	// conference; and it forgets no sooner a reservation whose room was never
	// made, so it is not for ever.
	OpenEndedReservation = 7 * 24 * time.Hour
	// ReservationGrace is added to a meeting's end. usher itself ends it on
	// time and shows people why; Prosody's end, which shows nothing, is for
	// when usher is away for long. It must not come first when an app moves the
	// end of a meeting that is going on, of which Prosody cannot be notified.
	ReservationGrace = 24 * time.Hour
	// maxReservationBody, in bytes, is far more than its three short fields.
	maxReservationBody = 16 << 10
)

// Prosody's mod_reservations asks before it lets a
// room come into being: every first join waits for it. So the answer comes from
// memory, and does not change when it is asked for again. The reservation's id
// is the room's name; nothing is stored.
//
// Prosody shows the message of a refusal to people, remembers a refusal for 30
// to 90 seconds, and repeats a request that got a 5xx three times, 3 s apart.

// reservation is the answer that mod_reservations wants; it refuses one from
// which a field is missing.
type reservation struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"` // as it was asked for
	MailOwner string       `json:"mail_owner"`
	StartTime meeting.Time `json:"start_time"`
	Duration  int64        `json:"duration"` // whole seconds from StartTime on
	// MaxOccupants may be there only where the site's configuration has it
	// enabled; elsewhere some versions refuse the whole answer.
	MaxOccupants int `json:"max_occupants,omitempty"`
	// Lobby likewise.
	Lobby bool `json:"lobby,omitempty"`
}

// postReservation lets people into a room, or says why not.
func (s *server) postReservation(w http.ResponseWriter, r *http.Request) error {
	// Read by hand: ParseForm wants a Content-Type, which a site can lose by
	// setting headers of its own.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReservationBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		s.asked.WithLabelValues(reservationInvalid).Inc()
		writeJSON(w, http.StatusRequestEntityTooLarge, message{"The request is too large."})
		return nil
	}
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil || form.Get("name") == "" {
		s.asked.WithLabelValues(reservationInvalid).Inc()
		writeJSON(w, http.StatusBadRequest, message{"The request names no room."})
		return nil
	}
	if room, ok := s.reserve(w, form.Get("name"), form.Get("mail_owner")); ok {
		s.Expect(room)
	}
	return nil
}

// getReservation answers the same question after a conflict, which postReservation
// never reports.
func (s *server) getReservation(w http.ResponseWriter, r *http.Request) error {
	s.reserve(w, r.PathValue("id"), "")
	return nil
}

// deleteReservation hears that a room is gone. usher sees that for itself, and better: a
// restart of Prosody is not reported.
func (s *server) deleteReservation(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// message is a refusal; people read it.
type message struct {
	Message string `json:"message"`
}

// reserve answers, and returns the room when people may come in.
func (s *server) reserve(w http.ResponseWriter, name, owner string) (room string, allowed bool) {
	room, now := strings.ToLower(name), time.Now()
	// Asked on both sides: the meetings may come or go in between.
	running := s.Service.Running()
	m, known := s.Service.Room(room)
	breakout := false
	if main, ok := s.mainRoom(room, known); ok {
		// Prosody asks for breakout rooms as well, of which it alone knows which exist.
		m, known = s.Service.Room(main)
		breakout = known
	}
	running = running && s.Service.Running()
	result := reservationGranted
	defer func() { s.asked.WithLabelValues(result).Inc() }()
	switch {
	case !running:
		result = reservationAway
		// This process does not lead, or has not loaded its meetings: it knows
		// of no room, which is not the same as that there is none. Prosody
		// remembers a refusal but repeats after a 5xx, by then it is known.
		writeJSON(w, http.StatusServiceUnavailable, message{"Meetings cannot be started right now. Please try again in a minute."})
	case !known:
		result = reservationUnknown
		writeJSON(w, http.StatusForbidden, message{"There is no such meeting. It may be over, or the link is wrong."})
	case m.State() == meeting.StateEnded, isOver(m, now):
		result = reservationOver
		writeJSON(w, http.StatusForbidden, message{"This meeting is over."})
	case now.Before(m.StartAt):
		result = reservationEarly
		writeJSON(w, http.StatusForbidden, message{"This meeting opens on " + m.StartAt.UTC().Format("2 January 2006 at 15:04:05 UTC") + "."})
	default:
		granted := reservation{
			ID: room, Name: name, MailOwner: owner,
			// Prosody drops the fraction of a second.
			StartTime: timeOf(now.Truncate(time.Second)),
			Duration:  seconds(m, now),
		}
		if s.ReservationOccupants && !breakout {
			granted.MaxOccupants = m.MaxParticipants
		}
		granted.Lobby = s.ReservationLobby && m.Lobby && !breakout
		writeJSON(w, http.StatusOK, granted)
		return room, true
	}
	return "", false
}

// breakoutPatience is how long a name that may be a new breakout room's is waited
// for: people hear of the room at the same moment as usher, which may have megabytes to
// read where there are thousands, and Prosody remembers a refusal.
const breakoutPatience = 3 * time.Second

// mainRoom returns the room whose breakout room has that name, if it is not known as
// one of its own. It blocks for breakoutPatience at most.
func (s *server) mainRoom(name string, known bool) (room string, ok bool) {
	if known || s.MainRoom == nil {
		return "", false
	}
	uuid := len(name) == 36 && strings.Count(name, "-") == 4 // as mod_muc_breakout_rooms makes them
	for until := time.Now().Add(breakoutPatience); ; time.Sleep(breakoutPatience / 60) {
		if room, ok = s.MainRoom(name); ok || !uuid || !time.Now().Before(until) {
			return room, ok
		}
	}
}

// seconds returns how long the room may exist.
func seconds(m meeting.Meeting, now time.Time) int64 {
	end, _ := m.EndsAt()
	if m.FirstSession.IsZero() && m.MaxDuration > 0 {
		// It begins now, as far as is known.
		if first := now.Add(m.MaxDuration); end.IsZero() || first.Before(end) {
			end = first
		}
	}
	if end.IsZero() {
		return int64(OpenEndedReservation / time.Second)
	}
	return wholeSeconds(end.Sub(now)) + wholeSeconds(ReservationGrace)
}

// wholeSeconds returns the time in seconds, rounded up, however long it is.
func wholeSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// isOver reports whether the meeting's end has come, although that may not be
// stored yet.
func isOver(m meeting.Meeting, now time.Time) bool {
	end, _ := m.EndsAt()
	return !end.IsZero() && !now.Before(end)
}
