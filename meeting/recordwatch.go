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
	case said.Status == "" && said.Here:
		d.each(recordingInput{kind: inputFocusForgot})
	case said.Status == "":
		d.each(recordingInput{kind: inputFocusLeft})
	}
}

// saidOn takes in that the focus says that it records. It knows one recording at
// a time, so the end of others was missed.
func (d *draft) saidOn(said FocusSays) {
	for i := range len(d.m.Recordings) {
		if s := d.m.Recordings[i].JibriSession; s != "" && s != said.Session {
			_ = d.input(d.rec(i), recordingInput{kind: inputFocusOther})
		}
	}
	r := d.ofSession(said.Session)
	if r == nil {
		r = d.adopt(said)
	}
	_ = d.input(r, recordingInput{kind: inputFocusOn})
}

// begin takes in that a recording is under way, also one that was taken for over.
func begin(d *draft, r *Recording, _ recordingInput) error {
	unheard := r.State == RecordingAborted || r.Stop.onPurpose() // it was to be over, and the focus did not hear of it
	r.StartedAt = cmp.Or(r.StartedAt, d.at)
	r.StoppedAt, r.SettledAt, r.Doubt, r.Unknown = time.Time{}, time.Time{}, time.Time{}, false
	r.Failure, r.Detail, r.Waits = "", "", ""
	if unheard {
		d.move(r, RecordingStopping, RecordingIsStopping)
		return nil
	}
	r.Stop = ""
	d.move(r, RecordingOn, RecordingStarted)
	return nil
}

// vouch takes in that a recording goes on.
func vouch(d *draft, r *Recording, _ recordingInput) error {
	if !r.Doubt.IsZero() {
		r.Doubt = time.Time{}
		d.keep(r)
	}
	return nil
}

// vouchStopping takes in that a recording that is to stop is still under way.
func vouchStopping(d *draft, r *Recording, _ recordingInput) error {
	if r.StartedAt.IsZero() || r.Unknown {
		r.StartedAt, r.Unknown = cmp.Or(r.StartedAt, d.at), false
		d.keep(r)
	}
	return nil
}

// doubt notes since when nobody vouches for a recording, which may go on.
func doubt(d *draft, r *Recording, _ recordingInput) error {
	if r.Doubt.IsZero() {
		r.Doubt = d.at
		d.keep(r)
	}
	return nil
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
	in := recordingInput{kind: inputFocusOff}
	if said.Failure != "" {
		in.failure = FailRecorder
	} else if p, _ := d.find(said.Initiator); p >= 0 && d.m.People[p].Kind == KindHuman {
		in.reason = StopParticipant
	}
	_ = d.input(r, in)
}

// startStopped takes in that a start came to nothing. At its pending timeout
// Jicofo says off without a failure.
func startStopped(d *draft, r *Recording, in recordingInput) error {
	if in.reason == StopParticipant {
		return stopped(d, r, in)
	}
	d.startFailed(r, FailRecorder)
	return nil
}

func stopped(d *draft, r *Recording, in recordingInput) error {
	if in.reason != "" && r.State != RecordingStopping {
		r.Stop = in.reason
		d.unprompt()
	}
	r.Failure = cmp.Or(in.failure, r.Failure)
	d.ended(r)
	return nil
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

// recordingTimer is a time at which a recording changes by itself; zero: never.
type recordingTimer struct {
	at   time.Time
	then func(d *draft, r *Recording)
}

// recordingTimers returns what waits for its time in the recording's state. Of
// several that are due the first counts.
func (m Meeting) recordingTimers(r Recording) []recordingTimer {
	end := func(how recordingAction, why, failure RecordingReason) func(*draft, *Recording) {
		return func(d *draft, r *Recording) {
			r.Failure = cmp.Or(failure, r.Failure)
			_ = how(d, r, recordingInput{reason: why})
		}
	}
	switch r.State {
	case RecordingRequested, RecordingQueued:
		return []recordingTimer{
			{m.noHuman(), end(abort, StopEmpty, "")},
			{r.QueueUntil, func(d *draft, r *Recording) { d.fail(r, FailQueueTimeout) }},
		}
	case RecordingStarting:
		timers := []recordingTimer{{m.noHuman(), end(stop, StopEmpty, "")}}
		if !r.failing() {
			timers = append(timers, recordingTimer{m.doubtedUntil(r), func(d *draft, r *Recording) { d.startFailed(r, FailFocusLost) }})
		}
		// Stopped, should it begin after all.
		return append(timers, recordingTimer{r.Since.Add(startPatience), end(stop, StopFailure, FailStartTimeout)})
	case RecordingOn:
		timers := []recordingTimer{
			{m.noHuman(), end(stop, StopEmpty, "")},
			{m.doubtedUntil(r), func(d *draft, r *Recording) {
				r.Failure, r.Stop = FailFocusLost, StopFailure
				d.over(r)
			}},
		}
		if r.MaxLength > 0 {
			timers = append(timers, recordingTimer{r.StartedAt.Add(r.MaxLength), end(stop, StopMaxLength, "")})
		}
		return timers
	case RecordingStopping:
		return []recordingTimer{{m.unansweredAt(r), func(d *draft, r *Recording) {
			r.Stop = cmp.Or(r.Stop, StopUnconfirmed)
			d.over(r)
		}}}
	case RecordingProcessing:
		switch {
		case len(r.Files) > 0: // of a recorder that died earlier
			return []recordingTimer{{r.StoppedAt.Add(moreFilesPatience), func(d *draft, r *Recording) {
				d.move(r, RecordingAvailable, RecordingIsAvailable)
			}}}
		case r.Failure != "":
			return []recordingTimer{{r.StoppedAt.Add(brokenFilePatience), func(d *draft, r *Recording) { d.fail(r, r.Failure) }}}
		}
		return []recordingTimer{{r.StoppedAt.Add(filePatience), func(d *draft, r *Recording) { d.fail(r, FailFileMissing) }}}
	default:
		if r.JibriSession == "" || r.JibriSession != m.Focus.Session {
			return []recordingTimer{{at: r.SettledAt.Add(settledStay)}} // see forgetSettled
		}
	}
	return nil
}

// recordingDue returns when the next thing happens to a recording by itself,
// zero if nothing does.
func (m Meeting) recordingDue(r Recording) (next time.Time) {
	for _, t := range m.recordingTimers(r) {
		if !t.at.IsZero() && (next.IsZero() || t.at.Before(next)) {
			next = t.at
		}
	}
	return next
}

// expire makes the change whose time has come.
func expire(d *draft, r *Recording, _ recordingInput) error {
	for _, t := range d.m.recordingTimers(*r) {
		if !t.at.IsZero() && !d.at.Before(t.at) {
			t.then(d, r)
			return nil
		}
	}
	return nil
}

// unansweredAt returns when a recording that is to stop is taken for over, though
// nobody says so; zero while that is not known.
func (m Meeting) unansweredAt(r Recording) time.Time {
	switch {
	case m.Closed:
		return r.Since // the room went, and its recorder with it
	case m.StaleSince.IsZero() && m.State() != StateEnded && !m.recorderIn(r):
		return r.Since.Add(stopPatience)
	}
	return time.Time{}
}

// doubtedUntil returns when a recording that nobody vouches for is taken for
// over, zero while somebody does or the room cannot be seen.
func (m Meeting) doubtedUntil(r Recording) time.Time {
	if r.Doubt.IsZero() || !m.StaleSince.IsZero() || r.State == RecordingOn && m.recorderIn(r) {
		return time.Time{}
	}
	return r.Doubt.Add(doubtGrace)
}

// roomEnded takes in that the room is gone: nobody records it any more.
func (d *draft) roomEnded() {
	if d.m.Focus != (FocusSays{}) {
		d.m.Focus = FocusSays{}
		d.changed = true
	}
	d.each(recordingInput{kind: inputRoomGone})
}

// records makes the changes to recordings whose time has come, or which follow
// from what else changed, and lets the meeting's policy start one.
//
// before is the meeting as it was before the event.
func (d *draft) records(before Meeting) {
	d.recorderMoves(before)
	for i := 0; i < len(d.m.Recordings); i++ {
		if t := d.m.recordingDue(d.m.Recordings[i]); !t.IsZero() && !d.at.Before(t) {
			_ = d.input(d.rec(i), recordingInput{kind: inputTime})
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
