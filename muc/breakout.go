package muc

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"maps"
	"slices"
	"strconv"
	"time"

	"usher/meeting"
)

// maxVisitors is more than any conference has; what is above is no count.
const maxVisitors = 1_000_000

// breakoutMessage is what Jitsi's mod_muc_breakout_rooms sends to everybody in a
// main room and its breakout rooms, 0.3 s after somebody came to or left one of
// them, and after one was made, renamed or removed. It cannot be asked for, but
// whoever enters the main room gets it in that time. Where no breakout room was
// ever made, it is not sent.
type breakoutMessage struct {
	Type  string                     `json:"type"`
	Event string                     `json:"event"`
	Rooms lenient[breakoutRoomState] `json:"rooms"`
}

type breakoutRoomState struct {
	JID          string                       `json:"jid"`
	Name         string                       `json:"name"`
	Main         bool                         `json:"isMainRoom"`
	Participants lenient[breakoutParticipant] `json:"participants"` // by address in the room
}

type breakoutParticipant struct {
	JID  string `json:"jid"` // real full address
	Role string `json:"role"`
	Name string `json:"displayName"`
}

// lenient is a JSON object; Lua writes an empty one as an empty array at times.
type lenient[T any] map[string]T

// UnmarshalJSON implements json.Unmarshaler.
func (l *lenient[T]) UnmarshalJSON(text []byte) error {
	if string(text) == "[]" {
		return nil
	}
	return json.Unmarshal(text, (*map[string]T)(l))
}

// Message handles a message of the occupant's stream; see component.Handler. Only
// the component of the breakout rooms itself and rooms are listened to: nobody else
// can send from its bare domain, or from theirs.
func (r *Rooms) Message(d *xml.Decoder, start xml.StartElement) {
	at := time.Now()
	from := ""
	for _, a := range start.Attr {
		if a.Name.Local == "from" {
			from = a.Value
		}
	}
	if from != r.cfg.Site.BreakoutDomain {
		r.configChanged(d, start, from)
		return
	}
	var m struct {
		Type string `xml:"type,attr"`
		JSON string `xml:"json-message"`
	}
	var says breakoutMessage
	err := d.DecodeElement(&m, &start)
	if err == nil && m.Type != "error" {
		err = json.Unmarshal([]byte(m.JSON), &says)
	}
	room, breakouts, ok := r.cfg.Site.breakouts(says)
	r.mu.Lock()
	defer r.unlock()
	rm := r.rooms[room]
	result := "ok"
	if rm != nil && len(breakouts.Occupants) > 0 {
		rm.alone = false
	}
	switch {
	case err != nil:
		result = "undecodable"
	case m.Type == "error", says.Type != "breakout_rooms" || says.Event != "features/breakout-rooms/update":
		result = "other" // such as the request to go to another room
	case !ok:
		result = "foreign"
	case rm == nil || rm.phase != inside && rm.phase != entering:
		result = "not_followed"
	default:
		// Also the same again: somebody may have gone and come back between the two.
		rm.breakouts, rm.breakoutIDs = &breakouts, r.cfg.Site.breakoutIDs(says)
		r.report(rm, at, breakouts)
	}
	r.metrics.breakouts.WithLabelValues(result).Inc()
}

// breakouts returns whose breakout rooms a message is about, and who is in them.
// It lists usher, recorders and other services as well, which are nobody. ok is
// false for one without a room of the site.
func (s *Site) breakouts(m breakoutMessage) (room string, b meeting.Breakouts, ok bool) {
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(m.Rooms)) {
		state := m.Rooms[key]
		name, domain, _ := splitAddress(state.JID)
		if state.Main {
			if domain == s.MUC && name != "" {
				room, ok = name, true
			}
			continue
		}
		b.Rooms++
		where := &meeting.Elsewhere{Room: meeting.ParticipantRoom{ID: clip(cmp.Or(name, key)), Name: clip(state.Name)}}
		for _, address := range slices.Sorted(maps.Keys(state.Participants)) {
			p := state.Participants[address]
			_, _, nick := splitAddress(address)
			o, _ := s.occupant(nick, item{JID: p.JID, Role: p.Role}.presence())
			if p.JID == "" || seen[p.JID] || o.Kind != meeting.KindHuman && o.Kind != meeting.KindSIP {
				continue
			}
			seen[p.JID] = true
			o.Name, o.Elsewhere = clip(p.Name), where
			b.Occupants = append(b.Occupants, o)
		}
	}
	return room, b, ok
}

// breakoutIDs returns the names of the breakout rooms in a message.
func (s *Site) breakoutIDs(m breakoutMessage) (ids []string) {
	for _, state := range m.Rooms {
		if name, domain, _ := splitAddress(state.JID); !state.Main && domain == s.BreakoutDomain {
			ids = append(ids, name)
		}
	}
	return ids
}

// MainRoom returns the room whose breakout room has that name, as far as its
// component has said.
func (r *Rooms) MainRoom(breakout string) (room string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, rm := range r.rooms {
		if slices.Contains(rm.breakoutIDs, breakout) {
			return name, true
		}
	}
	return "", false
}

// visitors returns how many visitors the focus's presence counts. They are on
// other servers, and Jicofo says their number every 15 s when it changes
// (jicofo.visitors.notification-interval).
func (p *presence) visitors() int {
	for _, property := range p.Properties {
		if n, err := strconv.Atoi(property.Value); property.Key == "visitor-count" && err == nil {
			return min(max(0, n), maxVisitors)
		}
	}
	return 0
}

// visitorsReported passes on how many visitors there are, when it is new.
func (r *Rooms) visitorsReported(rm *room, at time.Time, n int) {
	if rm.visitors != n {
		rm.visitors = n
		r.report(rm, at, meeting.VisitorsCounted{Visitors: n})
	}
}
