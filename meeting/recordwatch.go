package meeting

import (
	"cmp"
	"slices"
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
		d.each(RecordingInput{Kind: inputFocusForgot})
	case said.Status == "":
		d.each(RecordingInput{Kind: inputFocusLeft})
	}
}

// saidOn takes in that the focus says that it records, or streams. It knows one
// session of Jibri's at a time, so the end of others was missed.
func (d *draft) saidOn(said FocusSays) {
	for i := range len(d.m.Recordings) {
		if s := d.m.Recordings[i].JibriSession; s != "" && (s != said.Session || said.Stream) {
			d.input(&d.m.Recordings[i], RecordingInput{Kind: inputFocusOther})
		}
	}
	if said.Stream {
		return
	}
	r := d.ofSession(said.Session)
	if r == nil {
		r = d.adopt(said)
	}
	d.input(r, RecordingInput{Kind: inputFocusOn})
}

// begin takes in that a recording is under way, also one that was taken for over.
func begin(d *draft, r *Recording, _ RecordingInput) {
	unheard := r.State == RecordingAborted || r.Stop.onPurpose() // it was to be over, and the focus did not hear of it
	r.StartedAt = cmp.Or(r.StartedAt, Time{d.at})
	r.StoppedAt, r.SettledAt, r.Doubt, r.Unknown = Time{}, Time{}, time.Time{}, false
	r.Failure, r.Detail, r.Waits = "", "", ""
	if unheard {
		d.move(r, RecordingStopping, RecordingIsStopping)
		return
	}
	r.Stop, r.Deserted = "", false
	d.move(r, RecordingOn, RecordingStarted)
}

// vouch takes in that a recording goes on.
func vouch(d *draft, r *Recording, _ RecordingInput) {
	if !r.Doubt.IsZero() {
		r.Doubt = time.Time{}
		d.keep(r)
	}
}

// vouchStopping takes in that a recording that is to stop is still under way.
func vouchStopping(d *draft, r *Recording, _ RecordingInput) {
	if r.StartedAt.IsZero() || r.Unknown {
		r.StartedAt, r.Unknown = cmp.Or(r.StartedAt, Time{d.at}), false
		d.keep(r)
	}
}

// doubt notes since when nobody vouches for a recording, which may go on.
func doubt(d *draft, r *Recording, _ RecordingInput) {
	if r.Doubt.IsZero() {
		r.Doubt = d.at
		d.keep(r)
	}
}

// adopt returns the recording that a session of Jibri's belongs to which usher
// has not heard of: one that was asked for, or one that somebody started in the
// client.
func (d *draft) adopt(said FocusSays) *Recording {
	for i := range d.m.Recordings {
		r := &d.m.Recordings[i]
		if r.JibriSession == "" && !r.Mode.FromBridge() && (r.State.waiting() || r.State == RecordingStarting || r.State == RecordingStopping) {
			r.named(said.Session)
			return r
		}
	}
	by := Requester{Type: ByParticipant}
	if p, _ := d.find(said.Initiator); p >= 0 {
		by.Name = d.m.People[p].ID
	}
	r := d.newRecording(ModeFile, by)
	r.JibriSession, r.State = said.Session, RecordingStarting
	return &d.m.Recordings[d.bring(r)]
}

// saidOff takes in that the focus says that a recording is over.
func (d *draft) saidOff(said FocusSays) {
	r := d.ofSession(said.Session)
	if r == nil {
		return // of before our time
	}
	in := RecordingInput{Kind: inputFocusOff}
	if said.Failure != "" {
		in.Failure = FailRecorder
	} else if p, _ := d.find(said.Initiator); p >= 0 && d.m.People[p].Kind == KindHuman {
		in.Reason = StopParticipant
	}
	d.input(r, in)
}

// startStopped takes in that a start came to nothing. At its pending timeout
// Jicofo says off without a failure.
func startStopped(d *draft, r *Recording, in RecordingInput) {
	if in.Reason == StopParticipant {
		stopped(d, r, in)
		return
	}
	startFailed(d, r, RecordingInput{Failure: FailRecorder})
}

// stopped takes in that the focus says that a recording is over.
func stopped(d *draft, r *Recording, in RecordingInput) {
	if in.Reason != "" && r.State != RecordingStopping {
		r.Stop = in.Reason
		d.unprompt(ModeFile)
	}
	r.Failure = cmp.Or(in.Failure, r.Failure)
	d.ended(r)
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
	return m.Session.EmptySince.Add(emptyTimeout)
}

// recordingTimer is a time at which a recording changes by itself; zero: never.
type recordingTimer struct {
	at   time.Time
	then recordingAction
	in   RecordingInput
}

// recordingTimers returns what waits for its time in the recording's state. Of
// several that are due the first counts.
func (m Meeting) recordingTimers(r Recording) []recordingTimer {
	if r.Mode.FromBridge() {
		return m.trackTimers(r)
	}
	empty := recordingTimer{m.noHuman(), stop, RecordingInput{Reason: StopEmpty}}
	switch r.State {
	case RecordingRequested, RecordingQueued:
		if m.streams() {
			return []recordingTimer{empty}
		}
		return []recordingTimer{empty, {r.QueueUntil, giveUp, RecordingInput{Failure: FailQueueTimeout}}}
	case RecordingStarting:
		return []recordingTimer{
			empty,
			{m.doubtedUntil(r), startFailed, RecordingInput{Failure: FailFocusLost}},
			// Stopped, should it begin after all.
			{r.Since.Add(startTimeout), stop, RecordingInput{Reason: StopFailure, Failure: FailStartTimeout}},
		}
	case RecordingOn:
		timers := []recordingTimer{empty, {m.doubtedUntil(r), finish, RecordingInput{Reason: StopFailure, Failure: FailFocusLost}}}
		if r.MaxLength > 0 {
			timers = append(timers, recordingTimer{r.StartedAt.Add(r.MaxLength), stop, RecordingInput{Reason: StopMaxLength}})
		}
		return timers
	case RecordingStopping:
		return []recordingTimer{{m.unansweredAt(r), finish, RecordingInput{Reason: StopUnconfirmed}}}
	case RecordingProcessing:
		switch {
		case len(r.Files) > 0: // of a recorder that died earlier
			return []recordingTimer{{r.StoppedAt.Add(moreFilesTimeout), makeAvailable, RecordingInput{}}}
		case r.Failure != "":
			return []recordingTimer{{r.StoppedAt.Add(brokenFileTimeout), giveUp, RecordingInput{Failure: r.Failure}}}
		}
		return []recordingTimer{{r.StoppedAt.Add(fileTimeout), giveUp, RecordingInput{Failure: FailFileMissing}}}
	}
	if r.JibriSession == "" || r.JibriSession != m.Focus.Session {
		return []recordingTimer{{at: r.SettledAt.Add(settledRetention)}} // the meeting lets go of it
	}
	return nil
}

func giveUp(d *draft, r *Recording, in RecordingInput) { d.fail(r, in.Failure) }

// recordingDue returns when the next thing happens to a recording by itself,
// zero if nothing does.
func (m Meeting) recordingDue(r Recording) (next time.Time) {
	for _, t := range m.recordingTimers(r) {
		next = earliest(next, t.at)
	}
	return next
}

// expire makes the change whose time has come.
func expire(d *draft, r *Recording, _ RecordingInput) {
	for _, t := range d.m.recordingTimers(*r) {
		if d.due(t.at) {
			t.then(d, r, t.in)
			return
		}
	}
}

// unansweredAt returns when a recording that is to stop is taken for over, though
// nobody says so; zero while that is not known.
func (m Meeting) unansweredAt(r Recording) time.Time {
	switch {
	case m.Closed:
		return r.Since // the room went, and its recorder with it
	case m.StaleSince.IsZero() && m.State() != StateEnded && !m.recorderIn(r):
		return r.Since.Add(stopTimeout)
	}
	return time.Time{}
}

// doubtedUntil returns when a recording that nobody vouches for is taken for
// over, zero while somebody does, the room cannot be seen, or the start has failed
// anyway.
func (m Meeting) doubtedUntil(r Recording) time.Time {
	if r.Doubt.IsZero() || !m.StaleSince.IsZero() || r.failing() || r.State == RecordingOn && m.recorderIn(r) {
		return time.Time{}
	}
	return r.Doubt.Add(unconfirmedTimeout)
}

// roomEnded takes in that the room is gone: nobody records it any more.
func (d *draft) roomEnded() {
	if d.m.Focus != (FocusSays{}) {
		d.m.Focus = FocusSays{}
		d.changed = true
	}
	d.conferenceChanged(Conference{})
	d.each(RecordingInput{Kind: inputRoomGone, Reason: StopRoomGone})
}

// records makes the changes to recordings whose time has come, or which follow
// from what else changed, and lets the meeting's policy start one.
//
// before is the meeting as it was before the event.
func (d *draft) records(before Meeting) {
	d.recorderMoves(before)
	if d.m.streams() {
		d.each(RecordingInput{Kind: RecordingWaits, Reason: ReasonStream})
	}
	for i := 0; i < len(d.m.Recordings); i++ { // one that goes on with another recorder joins the list
		d.input(&d.m.Recordings[i], RecordingInput{Kind: inputTime})
	}
	// Of what is settled nothing more is expected; the store keeps it.
	kept := slices.DeleteFunc(d.m.Recordings, func(r Recording) bool { return r.State.Settled() && d.due(d.m.recordingDue(r)) })
	d.changed = d.changed || len(kept) < len(d.m.Recordings)
	d.m.Recordings = kept
	d.stopUnnoticed()
	d.forgetEndpoints()
	if d.m.Policy.humans() > 0 && !d.more && d.m.State() == StateLive && d.m.StaleSince.IsZero() && d.m.inMain(KindHuman) >= d.m.Policy.humans() {
		for _, mode := range d.m.Policy.modes() {
			d.trigger(mode)
		}
	}
}

// trigger has a recording of the mode start by the meeting's policy, unless it
// cannot now or must not any more.
func (d *draft) trigger(mode RecordingMode) {
	blocked := d.m.streams()
	if mode.FromBridge() {
		blocked = d.notice == "" || !d.m.noticed(d.notice)
	}
	if blocked || d.m.unprompted(mode) || slices.ContainsFunc(d.m.Recordings, func(r Recording) bool {
		return r.Mode.orFile() == mode && (r.State.Active() || r.State == RecordingStopping)
	}) {
		return
	}
	r := d.newRecording(mode, Requester{ByTrigger, string(d.m.Policy.Trigger)})
	if d.m.Policy.Trigger == TriggerAutomatic && !mode.FromBridge() {
		r.NotBefore = d.at.Add(d.triggerDelay)
	}
	d.request(r)
}
