package meeting

import "time"

// LiveStream is the live stream of a room, which somebody has started in the
// client; usher starts none. Its zero value: there is none.
//
// The focus says when one begins. Jibri streams from inside the room, so a stream
// goes on for as long as the focus says so or its streamer is in, whatever the
// focus says: one that has restarted knows nothing of it, and one that was asked
// to stop says off before Jibri has heard of it.
type LiveStream struct {
	Session string    `json:"session,omitempty"` // Jibri's id
	Since   time.Time `json:"since,omitzero"`    // the focus said on
	// Stopped is when the focus said off while the streamer was in the room, which
	// then has stopTimeout to leave.
	Stopped time.Time `json:"stopped,omitzero"`
}

// StreamInfo is the live stream of a meeting as apps see it.
type StreamInfo struct {
	Active bool  `json:"active"`
	Since  *Time `json:"since" doc:"When it began; null while there is none. In stream.ended the beginning of the one that has ended"`
}

// info returns the stream as apps see it.
func (s LiveStream) info() StreamInfo {
	return StreamInfo{Active: s.Session != "", Since: TimeOrNull(s.Since)}
}

// streams reports whether the meeting is streamed live, or is about to be. Jicofo
// has one Jibri session per room and starts no recording meanwhile (BaseJibri).
func (m Meeting) streams() bool { return m.Stream.Session != "" || m.Focus.streams() }

// streams reports whether the focus's session of Jibri's is a live stream.
func (said FocusSays) streams() bool {
	return said.Stream && said.Session != "" && said.Status != focusOff
}

// unheard reports whether the focus is in the room where its presence cannot be seen.
func (said FocusSays) unheard() bool { return said.Session == "" && said.Status != "" }

// streamer reports whether a connection streams what is or was the meeting's live stream.
func (m Meeting) streamer(p *Participant, c Occupant) bool {
	return p.Kind == KindStreamer && (c.Recording == "" || c.Recording == m.Stream.Session)
}

func (m Meeting) streamerIn() bool {
	for p, c := range m.connections {
		if m.streamer(p, c) {
			return true
		}
	}
	return false
}

// followStream takes in what has become of the live stream. While the room, or what
// the focus says, cannot be seen, nothing has.
//
// before is the meeting as it was before the event.
func (d *draft) followStream(before Meeting) {
	said := d.m.Focus
	if d.m.Session.ID == "" || said.unheard() || d.more || !d.m.StaleSince.IsZero() {
		return
	}
	if !before.StaleSince.IsZero() {
		d.window = &Window{After: Time{before.StaleSince}, Before: Time{d.at}}
		defer func() { d.window = nil }()
	}
	same := said.Session == d.m.Stream.Session
	switch {
	case said.streams() && same:
		d.stoppedStream(time.Time{})
	case said.streams() && said.Status == focusOn:
		d.endStream() // another began
		d.m.Stream = LiveStream{Session: said.Session, Since: d.at}
		d.notify(StreamStarted, Data{Stream: new(d.m.Stream.info())})
	case d.m.Stream.Session == "":
	case !d.m.streamerIn():
		d.endStream()
	case said.Status == focusOff && same && d.m.Stream.Stopped.IsZero():
		d.stoppedStream(d.at)
	}
}

func (d *draft) stoppedStream(at time.Time) {
	if d.m.Stream.Stopped != at {
		d.m.Stream.Stopped = at
		d.changed = true
	}
}

// endStream ends the live stream, if there is one. What waited for that has its
// time in the queue again.
func (d *draft) endStream() {
	s := d.m.Stream
	if s.Session == "" {
		return
	}
	d.m.Stream = LiveStream{}
	for i := range d.m.Recordings {
		if r := &d.m.Recordings[i]; r.State.waiting() && r.Waits == ReasonStream {
			r.QueueUntil = r.QueueUntil.Add(d.at.Sub(latest(s.Since, r.RequestedAt.Time)))
			d.keep(r)
		}
	}
	d.notify(StreamEnded, Data{Stream: &StreamInfo{Since: &Time{s.Since}}})
}
