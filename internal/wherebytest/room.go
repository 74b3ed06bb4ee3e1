package wherebytest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	// hookTimeout is how long a receiver may take (docs.whereby.com, "Webhooks").
	hookTimeout = 5 * time.Second
	// hookTries is how often a webhook is sent while it is answered 5xx.
	hookTries = 3
	// hookPause is the wait before the second try, and twice that before the third.
	hookPause = 2 * time.Second
)

// Event is a webhook as it was signed and sent.
type Event struct {
	ID, Type string
	Body     []byte
}

// Join lets somebody into a meeting's room and returns the webhooks that this
// makes, in order; they are on their way. The second person begins a session.
func (s *Server) Join(id, name string) []Event {
	s.mu.Lock()
	m := s.meetings[s.index(id)]
	m.in = append(m.in, name)
	types := []string{"room.client.joined"}
	if len(m.in) == 2 {
		m.Sessions = append(m.Sessions, Session{RoomSessionID: newID(), RoomName: m.RoomName, StartedAt: stamp(time.Now())})
		types = append(types, "room.session.started")
	}
	return s.tell(m, name, types...)
}

// Leave lets somebody out. The last but one ends the session.
func (s *Server) Leave(id, name string) []Event {
	s.mu.Lock()
	m := s.meetings[s.index(id)]
	m.in = slices.DeleteFunc(m.in, func(n string) bool { return n == name })
	types := []string{"room.client.left"}
	if len(m.in) == 1 {
		now := stamp(time.Now())
		m.Sessions[len(m.Sessions)-1].EndedAt = &now
		types = append(types, "room.session.ended")
	}
	return s.tell(m, name, types...)
}

// Record adds a recording of a meeting, whose webhook names its room alone.
func (s *Server) Record(id string) []Event {
	s.mu.Lock()
	m := s.meetings[s.index(id)]
	now := stamp(time.Now())
	s.recorded = append(s.recorded, Recording{newID(), newID(), m.RoomName, m.RoomName[1:] + "-" + now + ".mp4", now, now, 1})
	return s.tell(m, "", "recording.finished")
}

// tell makes the events and has them sent; s.mu is held, and given up.
func (s *Server) tell(m *Meeting, name string, types ...string) (events []Event) {
	defer s.mu.Unlock()
	for _, kind := range types {
		data := map[string]any{"roomName": m.RoomName}
		switch kind {
		case "recording.finished":
			r := s.recorded[len(s.recorded)-1]
			data["filename"], data["recordingId"], data["status"] = r.Filename, r.RecordingID, "completed"
		default:
			data["meetingId"], data["subdomain"] = m.MeetingID, "acme"
			if len(m.Sessions) > 0 {
				data["roomSessionId"] = m.Sessions[len(m.Sessions)-1].RoomSessionID
			}
		}
		if name != "" && kind != "room.session.started" && kind != "room.session.ended" {
			data["displayName"], data["roleName"], data["numClients"] = name, "visitor", len(m.in)
			data["participantId"], data["isDialIn"] = newID(), false
		}
		s.events++
		e := Event{ID: fmt.Sprintf("%064x", sha256.Sum256([]byte(strconv.Itoa(s.events)))), Type: kind}
		var b bytes.Buffer // as JSON.stringify writes it
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(map[string]any{"id": e.ID, "apiVersion": "1.0", "createdAt": stamp(time.Now()), "type": kind, "data": data})
		e.Body = bytes.TrimSpace(b.Bytes())
		events = append(events, e)
	}
	for _, e := range events {
		if s.hook != "" {
			s.queue <- e
		}
	}
	return events
}

// deliver sends webhooks one after the other: Whereby promises no order, and so a
// receiver that keeps the one in which they come is tried with one that is known.
func (s *Server) deliver() {
	for {
		select {
		case e := <-s.queue:
			s.mu.Lock()
			url := s.hook
			s.mu.Unlock()
			s.send(url, e)
		case <-s.closed:
			return
		}
	}
}

// Sign returns the header of a webhook that is signed at a time.
func Sign(secret string, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// send sends an event until it is taken.
func (s *Server) send(url string, e Event) {
	client := &http.Client{Timeout: hookTimeout}
	for try := range hookTries {
		r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(e.Body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Whereby-Signature", Sign(WebhookSecret, time.Now(), e.Body))
		res, err := client.Do(r)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode < http.StatusInternalServerError {
				return
			}
		}
		select {
		case <-time.After(hookPause << try):
		case <-s.closed:
			return
		}
	}
}
