package meeting

import (
	"cmp"
	"slices"
	"time"
)

// A recording is over when its recorder has left the room, whatever the focus
// or anybody else said of it: until then somebody may still be recorded. A
// recorder that does not leave by itself is kicked, and Jibri then ends as if it
// had been asked to.

// labelTimeout is how long a recorder that comes in after a recording may take to
// say what it records. Jibri says so as soon as it is in (CallPage.addToPresence).
const labelTimeout = 10 * time.Second

// recorderKickReason is what a recorder is shown when it is kicked.
const recorderKickReason = "recording is over"

// named notes which session of Jibri's the recording is.
func (r *Recording) named(jibriSession string) {
	r.JibriSession = jibriSession
	r.GivenUp = slices.DeleteFunc(slices.Clone(r.GivenUp), func(s string) bool { return s == jibriSession })
}

// recordedBy returns the place of the recording that a recorder in the room
// belongs to, or -1. One that does not say what it records has only just come
// in, or its page was loaded anew; it is taken to be that of the newest recording
// that may have one.
func (m Meeting) recordedBy(c Occupant) int {
	if c.Recording != "" {
		if i := slices.IndexFunc(m.Recordings, func(r Recording) bool { return r.JibriSession == c.Recording }); i >= 0 {
			return i
		}
		if i := slices.IndexFunc(m.Recordings, func(r Recording) bool { return slices.Contains(r.GivenUp, c.Recording) }); i >= 0 {
			return i
		}
		// It may come in before the focus has said which session it is.
		return slices.IndexFunc(m.Recordings, func(r Recording) bool {
			return r.JibriSession == "" && !r.Mode.FromBridge() && (r.State == RecordingStarting || r.State == RecordingStopping)
		})
	}
	processing := -1
	for i := len(m.Recordings) - 1; i >= 0; i-- {
		r := m.Recordings[i]
		if r.Mode.FromBridge() {
			continue
		}
		switch r.State {
		case RecordingStarting, RecordingOn, RecordingStopping:
			return i
		case RecordingProcessing:
			if processing < 0 && r.Recorder == "" { // nobody has finished a file of it
				processing = i
			}
		}
	}
	return processing
}

// recorderIn reports whether a recorder of this recording is in the room, as far
// as usher knows.
func (m Meeting) recorderIn(r Recording) bool {
	at := m.recording(r.ID)
	for p, c := range m.connections {
		past := slices.Contains(r.GivenUp, c.Recording) || r.State == RecordingProcessing && c.Recording == ""
		if at >= 0 && p.Kind == KindRecorder && !past && m.recordedBy(c) == at {
			return true
		}
	}
	return false
}

// recorderSeen is recorderIn while usher sees the room.
func (m Meeting) recorderSeen(r Recording) bool {
	return m.StaleSince.IsZero() && m.State() != StateEnded && m.recorderIn(r)
}

// failing reports whether the start of the recording has failed and only its
// recorder, which is still in the room, is in the way of the next try.
func (r Recording) failing() bool { return r.State == RecordingStarting && r.Failure != "" }

// recorderKicks yields the nicks of recorders in the room that are not to stay, and
// from when on each is to be kicked. That goes on until it has left.
func (m Meeting) recorderKicks(yield func(nick string, from time.Time) bool) {
	stopped := !m.Stream.Stopped.IsZero()
	if len(m.Recordings) == 0 && !stopped || !m.StaleSince.IsZero() {
		return
	}
	for p, c := range m.connections {
		from, ok := m.Stream.Stopped.Add(stopTimeout), stopped && m.streamer(p, c)
		if p.Kind == KindRecorder {
			from, ok = m.kickFrom(p, c)
		}
		if ok && !yield(c.Nick, from) {
			return
		}
	}
}

// kickFrom returns from when on a recorder in the room is to be kicked; ok is
// false for one that may stay.
func (m Meeting) kickFrom(p *Participant, c Occupant) (from time.Time, ok bool) {
	i := m.recordedBy(c)
	if i < 0 {
		return time.Time{}, false // nothing of usher's
	}
	r := m.Recordings[i]
	switch {
	case slices.Contains(r.GivenUp, c.Recording):
		return time.Time{}, true
	case r.State == RecordingStarting:
		return time.Time{}, r.failing()
	case r.State.Active():
		return time.Time{}, false
	case r.State == RecordingStopping && !r.Unknown:
		return r.Since.Add(stopTimeout), true
	case r.State == RecordingProcessing && c.Recording == "":
		return p.ArrivedAt.Add(labelTimeout), true
	}
	return time.Time{}, true
}

// ended takes in that somebody says that a recording is over: it is once no
// recorder of it is in the room.
func (d *draft) ended(r *Recording) {
	switch {
	case !d.m.recorderSeen(*r):
		d.over(r)
	case r.State == RecordingStopping:
		d.keep(r)
	default:
		r.Doubt = time.Time{}
		d.nameStop(r)
		d.move(r, RecordingStopping, RecordingIsStopping)
	}
}

// recorderMoves has recordings react to their recorders: in the room, gone since
// before, or not there. In other states than these they do not.
func (d *draft) recorderMoves(before Meeting) {
	for i := range len(d.m.Recordings) {
		r := &d.m.Recordings[i]
		kind := inputRecorderOut
		switch {
		case r.State != RecordingStarting && r.State != RecordingStopping && r.State != RecordingProcessing:
			continue
		case d.m.recorderSeen(*r):
			kind = inputRecorderIn
		case d.m.State() != StateEnded && before.recorderIn(*r) && !d.m.recorderIn(*r):
			kind = inputRecorderLeft
		}
		d.input(r, RecordingInput{Kind: kind})
	}
}

// finish ends a recording whose recorder is not in the room any more.
func finish(d *draft, r *Recording, in RecordingInput) {
	r.Stop, r.Failure = cmp.Or(r.Stop, in.Reason), cmp.Or(in.Failure, r.Failure)
	d.over(r)
}

// forgotten ends a recording of which the focus knows nothing any more.
func forgotten(d *draft, r *Recording, _ RecordingInput) {
	r.Unknown = true
	d.ended(r)
}
