package meeting

import (
	"cmp"
	"time"
)

// focusSaid takes in what the focus's presence says; the same again is no news.
func (d *draft) focusSaid(said FocusSays) {
	if d.m.Focus == said {
		return
	}
	d.m.Focus = said
	d.changed = true
	d.heard(said)
}

// heard draws conclusions from what the focus says.
func (d *draft) heard(said FocusSays) {
	switch {
	case said.Here && said.Status == focusOn:
		d.saidOn(said)
	case said.Here && said.Status == focusOff:
		d.saidOff(said)
	case said.Status == "":
		// It left, or came back without memory: what it started may go on.
		for i := range d.m.Recordings {
			r := d.m.Recordings[i]
			lost := r.State == RecordingOn || r.State == RecordingStarting && !said.Here
			if lost && r.Doubt.IsZero() {
				p := d.rec(i)
				p.Doubt = d.at
				d.keep(p)
			}
		}
	}
}

// saidOn takes in that the focus says that it records.
func (d *draft) saidOn(said FocusSays) {
	d.endOthers(said.Session)
	r := d.ofSession(said.Session)
	if r == nil {
		r = d.adopt(said)
	}
	switch r.State {
	case RecordingOn:
		if !r.Doubt.IsZero() {
			r.Doubt = time.Time{}
			d.keep(r)
		}
	case RecordingStopping:
		if r.StartedAt.IsZero() || r.Unknown {
			r.StartedAt, r.Unknown = cmp.Or(r.StartedAt, d.at), false
			d.keep(r)
		}
	default:
		r.StartedAt = cmp.Or(r.StartedAt, d.at)
		r.StoppedAt, r.SettledAt, r.Doubt, r.Unknown = time.Time{}, time.Time{}, time.Time{}, false
		r.Failure, r.Detail, r.Waits = "", "", ""
		if r.State == RecordingAborted || r.Stop.onPurpose() {
			// It was to be over, and the focus did not hear of it.
			d.move(r, RecordingStopping, RecordingIsStopping)
			return
		}
		r.Stop = ""
		d.move(r, RecordingOn, RecordingStarted)
	}
}

// endOthers ends recordings of other sessions than the one that the focus now
// says that it records: it knows one at a time, so their off was missed.
func (d *draft) endOthers(jibriSession string) {
	for i := range d.m.Recordings {
		r := d.m.Recordings[i]
		going := r.State == RecordingStarting || r.State == RecordingOn || r.State == RecordingStopping
		if going && r.JibriSession != "" && r.JibriSession != jibriSession {
			p := d.rec(i)
			p.Unknown = true
			d.ended(p)
		}
	}
}

// adopt returns the recording that a session of Jibri's belongs to which usher
// has not heard of: one that was asked for, or one that somebody started in the
// client.
func (d *draft) adopt(said FocusSays) *Recording {
	for i := range d.m.Recordings {
		r := d.m.Recordings[i]
		if r.JibriSession == "" && (r.State.waiting() || r.State == RecordingStarting || r.State == RecordingStopping) {
			p := d.rec(i)
			p.named(said.Session)
			return p
		}
	}
	by := Requester{Type: ByParticipant}
	if p, _ := d.find(said.Initiator); p >= 0 {
		by.Name = d.m.People[p].ID
	}
	r := d.newRecording(by)
	r.JibriSession, r.State = said.Session, RecordingStarting
	return d.bring(r)
}

// saidOff takes in that the focus says that a recording is over.
func (d *draft) saidOff(said FocusSays) {
	r := d.ofSession(said.Session)
	if r == nil {
		return // of before our time
	}
	p, _ := d.find(said.Initiator)
	byPerson := said.Failure == "" && p >= 0 && d.m.People[p].Kind == KindHuman
	switch {
	case r.State == RecordingStarting && !byPerson:
		// Also without a failure: at its pending timeout Jicofo says off alone.
		d.startFailed(r, FailRecorder)
	case r.State == RecordingStarting, r.State == RecordingOn:
		if byPerson {
			r.Stop = StopParticipant
			d.unprompt()
		}
		fallthrough
	case r.State == RecordingStopping:
		if said.Failure != "" {
			r.Failure = FailRecorder
		}
		d.ended(r)
	}
}

// noHuman returns when the meeting counts as empty for recordings, zero while a
// human is in. While the room cannot be seen nobody knows.
func (m Meeting) noHuman() time.Time {
	switch {
	case !m.StaleSince.IsZero():
		return time.Time{}
	case m.Session.ID == "":
		return latest(m.CreatedAt, m.IdleSince)
	case m.Session.EmptySince.IsZero():
		return time.Time{}
	}
	return m.Session.EmptySince.Add(emptyGrace)
}

// recordingDue returns when the next thing happens to a recording by itself,
// zero if nothing does.
func (m Meeting) recordingDue(r Recording) time.Time {
	var next time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	switch r.State {
	case RecordingRequested, RecordingQueued:
		earliest(r.QueueUntil)
		earliest(m.noHuman())
	case RecordingStarting:
		earliest(r.Since.Add(startPatience))
		earliest(m.noHuman())
		if !r.failing() {
			earliest(m.doubtedUntil(r))
		}
	case RecordingOn:
		if r.MaxLength > 0 {
			earliest(r.StartedAt.Add(r.MaxLength))
		}
		earliest(m.noHuman())
		earliest(m.doubtedUntil(r))
	case RecordingStopping:
		switch {
		case m.Closed:
			earliest(r.Since) // the room went, and its recorder with it
		case m.StaleSince.IsZero() && m.State() != StateEnded && !m.recorderIn(r):
			earliest(r.Since.Add(stopPatience))
		}
	case RecordingProcessing:
		patience := filePatience
		switch {
		case len(r.Files) > 0:
			patience = moreFilesPatience
		case r.Failure != "":
			patience = brokenFilePatience
		}
		earliest(r.StoppedAt.Add(patience))
	default:
		if r.JibriSession == "" || r.JibriSession != m.Focus.Session {
			earliest(r.SettledAt.Add(settledStay))
		}
	}
	return next
}

// doubtedUntil returns when a recording that nobody vouches for is taken for
// over, zero while somebody does or the room cannot be seen.
func (m Meeting) doubtedUntil(r Recording) time.Time {
	if r.Doubt.IsZero() || !m.StaleSince.IsZero() || r.State == RecordingOn && m.recorderIn(r) {
		return time.Time{}
	}
	return r.Doubt.Add(doubtGrace)
}

// endRecordings takes every recording towards its end, because the meeting ends.
func (d *draft) endRecordings() {
	for i := range d.m.Recordings {
		d.stopRecording(d.rec(i), StopMeetingEnd)
	}
}

// roomEnded takes in that the room is gone: nobody records it any more.
func (d *draft) roomEnded() {
	if d.m.Focus != (FocusSays{}) {
		d.m.Focus = FocusSays{}
		d.changed = true
	}
	for i := range d.m.Recordings {
		switch d.m.Recordings[i].State {
		case RecordingStarting, RecordingOn:
			r := d.rec(i)
			r.Stop = StopRoomGone
			d.over(r)
		case RecordingStopping:
			d.over(d.rec(i))
		}
	}
}

// records makes the changes to recordings whose time has come, or which follow
// from what else changed, and lets the meeting's policy start one.
//
// before is the meeting as it was before the event.
func (d *draft) records(before Meeting) {
	for i := 0; i < len(d.m.Recordings); i++ {
		d.recorderLeft(i, before)
	}
	for i := 0; i < len(d.m.Recordings); i++ {
		if t := d.m.recordingDue(d.m.Recordings[i]); !t.IsZero() && !d.at.Before(t) {
			d.recordingIsDue(d.rec(i))
		}
	}
	d.forgetSettled()
	n := d.m.Policy.humans()
	if n == 0 || d.m.Session.ID == "" || d.m.Unprompted == d.m.Session.ID ||
		!d.m.StaleSince.IsZero() || d.m.Occupancy().Humans < n {
		return
	}
	for _, r := range d.m.Recordings {
		if r.State.Active() || r.State == RecordingStopping {
			return
		}
	}
	d.request(d.newRecording(Requester{ByTrigger, string(d.m.Policy.Trigger)}))
}

// recordingIsDue makes the change whose time [Meeting.recordingDue] named.
func (d *draft) recordingIsDue(r *Recording) {
	due := func(t time.Time) bool { return !t.IsZero() && !d.at.Before(t) }
	switch r.State {
	case RecordingRequested, RecordingQueued:
		if due(d.m.noHuman()) {
			d.stopRecording(r, StopEmpty)
		} else {
			d.fail(r, FailQueueTimeout)
		}
	case RecordingStarting:
		switch {
		case due(d.m.noHuman()):
			d.stopRecording(r, StopEmpty)
		case due(d.m.doubtedUntil(*r)):
			d.startFailed(r, FailFocusLost)
		default:
			r.Failure = FailStartTimeout
			d.stopRecording(r, StopFailure) // should it begin after all
		}
	case RecordingOn:
		switch {
		case due(d.m.noHuman()):
			d.stopRecording(r, StopEmpty)
		case due(d.m.doubtedUntil(*r)):
			r.Failure, r.Stop = FailFocusLost, StopFailure
			d.over(r)
		default:
			d.stopRecording(r, StopMaxLength)
		}
	case RecordingStopping:
		if r.Stop == "" {
			r.Stop = StopUnconfirmed
		}
		d.over(r)
	case RecordingProcessing:
		switch {
		case len(r.Files) > 0: // of a recorder that died earlier
			d.move(r, RecordingAvailable, RecordingIsAvailable)
		case r.Failure != "":
			d.fail(r, r.Failure)
		default:
			d.fail(r, FailFileMissing)
		}
	}
}

// forgetSettled lets go of recordings about which nothing more is expected. The
// store keeps them.
func (d *draft) forgetSettled() {
	for i := len(d.m.Recordings) - 1; i >= 0; i-- {
		r := d.m.Recordings[i]
		if t := d.m.recordingDue(r); r.State.Settled() && !t.IsZero() && !d.at.Before(t) {
			d.rec(i)
			d.m.Recordings = append(d.m.Recordings[:i], d.m.Recordings[i+1:]...)
			d.changed = true
		}
	}
}
