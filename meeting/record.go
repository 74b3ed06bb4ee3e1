package meeting

import (
	"cmp"
	"slices"
	"time"
)

// Times and numbers that hold for every recording.
const (
	// emptyGrace is how long a recording goes on once the last human has left: a
	// page reload must not end it, and nobody wants to look at more of an empty
	// room.
	emptyGrace = 3 * time.Second
	// stopPatience bounds the wait for the recorder to leave, which takes it a few
	// seconds once the focus has told it to (Jicofo's BaseJibri does so at once).
	// Then it is kicked. usher stays in the room for it.
	stopPatience = 10 * time.Second
	// startPatience bounds the wait for on. Jicofo tries up to six recorders and
	// gives each 90 s.
	startPatience = 10 * time.Minute
	// adoptPatience is how soon the focus is asked again after it said that
	// somebody's recording is starting already: one starts within some 10 s.
	adoptPatience = 15 * time.Second
	// doubtGrace is how long a recording is believed in that nobody vouches for:
	// people's clients bring a restarted focus back within seconds.
	doubtGrace = 30 * time.Second
	// filePatience is how long a file may take: the hook on the recorder's host
	// tries for days, but an app wants an answer. One that comes later still counts.
	filePatience = 24 * time.Hour
	// brokenFilePatience is the same for a recording that ended with an error,
	// most of which leave no file.
	brokenFilePatience = 30 * time.Minute
	// moreFilesPatience is the same for a recording of which some files are there:
	// those of a recorder that died before another went on.
	moreFilesPatience = 5 * time.Minute
	// settledStay is how long a settled recording stays at hand: for further
	// files of it, and for a focus that repeats what it said.
	settledStay = time.Hour
	// maxAttempts is how often the focus is asked for one recording, each time
	// with up to six recorders that fail.
	maxAttempts = 3
	// maxRestarts is how often in a row a recording goes on with another
	// recorder after one died; more is no chance but a fault of the site.
	maxRestarts = 3
	// retryPause is the wait after recorders failed.
	retryPause = 5 * time.Second
	// The wait after the focus or usher was not in the room yet grows with the
	// time that the recording has waited, from readyMin to readyMax: that is over
	// in a second or two, or the site cannot record at all.
	readyMin = time.Second
	readyMax = 15 * time.Second
	// maxDetail is how many bytes of a failure's text are kept.
	maxDetail = 500
)

// rec returns the recording at the index, ready to be changed.
func (d *draft) rec(i int) *Recording {
	if !d.ownedRecs {
		d.m.Recordings = slices.Clone(d.m.Recordings)
		d.ownedRecs = true
	}
	return &d.m.Recordings[i]
}

// bring returns a recording that is at hand, or takes it there as it was stored.
func (d *draft) bring(stored Recording) *Recording {
	if i := d.m.recording(stored.ID); i >= 0 {
		return d.rec(i)
	}
	d.ownedRecs = true
	d.m.Recordings = append(slices.Clone(d.m.Recordings), stored.clone())
	return &d.m.Recordings[len(d.m.Recordings)-1]
}

// ofSession returns the recording that Jibri knows by this id, or nil.
func (d *draft) ofSession(jibriSession string) *Recording {
	i := slices.IndexFunc(d.m.Recordings, func(r Recording) bool { return r.JibriSession == jibriSession })
	if i < 0 || jibriSession == "" {
		return nil
	}
	return d.rec(i)
}

// keep stores a recording.
func (d *draft) keep(r *Recording) {
	d.changed = true
	d.fx.Add(Effects{Recordings: []Recording{r.clone()}})
}

// move takes a recording into a state and tells of it.
func (d *draft) move(r *Recording, s RecordingState, t NoticeType) {
	r.State, r.Since = s, d.at
	if s.Settled() {
		r.SettledAt = d.at
	}
	d.tell(r, t)
}

// tell stores a recording and tells of it.
func (d *draft) tell(r *Recording, t NoticeType) {
	d.keep(r)
	info := r.Info()
	d.notify(t).Data.Recording = &info
}

// unprompt lets no recording start by itself any more in this session.
func (d *draft) unprompt() {
	d.m.Unprompted = d.m.Session.ID
	d.changed = true
}

// wantRecording asks for a recording; an active one is that already.
func (d *draft) wantRecording(f RecordingWanted) error {
	switch {
	case d.m.ID == "":
		return ErrNotFound
	case d.m.State() == StateEnded:
		return ErrEnded
	}
	if _, active := d.m.ActiveRecording(); active {
		return nil
	}
	if d.m.Session.ID == "" {
		return ErrNotLive
	}
	d.m.Unprompted = "" // whoever stopped one before has been overruled
	r := d.newRecording(f.By)
	r.NoQueue = f.NoQueue
	assign(&r.Priority, f.Priority)
	assign(&r.MaxLength, f.MaxLength)
	if f.QueueTimeout != nil && *f.QueueTimeout > 0 {
		r.QueueUntil = d.at.Add(*f.QueueTimeout)
	}
	d.request(r)
	return nil
}

// newRecording returns one by the meeting's policy, not yet asked for.
func (d *draft) newRecording(by Requester) Recording {
	return Recording{
		ID: d.newID("rec_"), MeetingID: d.m.ID, SessionID: d.m.Session.ID, Room: d.m.Room,
		Mode: ModeFile, By: by, RequestedAt: d.at,
		Priority: d.m.Policy.Priority, MaxLength: d.m.Policy.MaxLength, Destination: d.m.Policy.Destination,
		QueueUntil: d.at.Add(cmp.Or(d.m.Policy.QueueTimeout, QueueTimeout)),
	}
}

func (d *draft) request(r Recording) {
	d.move(d.bring(r), RecordingRequested, RecordingIsRequested)
}

// stopRecording takes a recording towards its end.
func (d *draft) stopRecording(r *Recording, why RecordingReason) {
	switch {
	case r.State.waiting():
		r.Stop = why
		d.move(r, RecordingAborted, RecordingWasAborted)
	case r.State == RecordingStarting, r.State == RecordingOn:
		r.Stop, r.Doubt = why, time.Time{}
		d.move(r, RecordingStopping, RecordingIsStopping)
	default:
		return
	}
	switch why {
	case StopRequested, StopParticipant, StopMaxLength:
		d.unprompt() // or an automatic one would follow at once
	}
}

// recordingFact takes in a fact about one recording.
func (d *draft) recordingFact(f Fact) error {
	if d.m.ID == "" {
		return ErrNotFound
	}
	at := func(id string) *Recording {
		if i := d.m.recording(id); i >= 0 {
			return d.rec(i)
		}
		return nil
	}
	switch f := f.(type) {
	case RecordingStop:
		r := at(f.ID)
		if r == nil {
			return ErrNotFound
		}
		d.stopRecording(r, f.Reason)
	case RecordingWaits:
		if r := at(f.ID); r != nil && r.State.waiting() {
			d.queue(r, f.Reason)
		}
	case RecordingTried:
		r := at(f.ID)
		if r == nil || !r.State.waiting() && (r.State != RecordingStarting || r.JibriSession != "") {
			return ErrNotWanted
		}
		switch r.State {
		case RecordingRequested:
			r.Attempts++
			d.move(r, RecordingStarting, RecordingIsStarting)
		case RecordingQueued:
			// Told once a recorder is found: where usher cannot see them, it asks
			// again and again.
			r.Attempts++
			r.State, r.Since = RecordingStarting, d.at
			d.keep(r)
		}
	case RecordingAccepted:
		return d.accepted(at(f.ID), f.JibriSession)
	case RecordingRefused:
		if r := at(f.ID); r != nil && r.JibriSession == "" {
			d.refused(r, f)
		}
	case RecordingUnknown:
		if r := at(f.ID); r != nil && r.State == RecordingStopping {
			r.Unknown = true
			d.ended(r)
		}
	case RecordingClosed:
		r := d.bring(f.Recording)
		d.closed(r, f.JibriSession, f.Recorder)
		d.keep(d.bring(*r))
	case RecordingStored:
		d.stored(d.bring(f.Recording), f)
	case RecordingLost:
		// While it goes on this is the first of two recorders, and when there are
		// files they are the other's.
		if r := d.bring(f.Recording); r.State == RecordingProcessing && len(r.Files) == 0 {
			r.Detail = shorten(f.Detail)
			d.fail(r, FailHandOver)
		}
	case RecordingDeleted:
		r := d.bring(f.Recording)
		switch {
		case !r.State.Settled():
			return ErrNotSettled
		case r.Deleted.IsZero():
			r.Deleted = d.at
			d.tell(r, RecordingWasDeleted)
		}
	}
	return nil
}

// queue puts a recording in line, or fails one that is not to wait.
func (d *draft) queue(r *Recording, why RecordingReason) {
	switch {
	case r.NoQueue:
		d.fail(r, why)
	case r.Waits == "":
		r.Waits = why
		d.move(r, RecordingQueued, RecordingIsQueued)
	case r.Waits != why, r.State != RecordingQueued:
		r.Waits, r.State, r.Since = why, RecordingQueued, d.at
		d.keep(r)
	}
}

func (d *draft) accepted(r *Recording, jibriSession string) error {
	switch {
	case r == nil:
		return ErrNotWanted
	case r.JibriSession == jibriSession:
		return nil // the focus said so first
	case r.State.Settled() && r.JibriSession == "":
		// It was to be over before it began, and the focus did not hear of it.
		r.named(jibriSession)
		r.SettledAt = time.Time{}
		d.move(r, RecordingStopping, RecordingIsStopping)
		return nil
	case r.State != RecordingStarting && r.State != RecordingStopping, r.JibriSession != "":
		return ErrNotWanted
	}
	r.named(jibriSession)
	r.Detail = ""
	if r.failing() {
		r.Failure = ""
	}
	if r.Waits != "" && r.State == RecordingStarting {
		r.Waits = ""
		d.tell(r, RecordingIsStarting)
	} else {
		d.keep(r)
	}
	if said := d.m.Focus; said.Session == jibriSession {
		d.heard(said)
	}
	return nil
}

// refused takes in why the focus did not start a recording.
func (d *draft) refused(r *Recording, f RecordingRefused) {
	if r.State == RecordingStopping {
		switch f.Refusal {
		case RefusedNotReady, RefusedSilent, RefusedExists:
			// The focus may have started it; it is told to stop next.
		default:
			d.ended(r) // nothing to stop
		}
		return
	}
	if r.State != RecordingStarting {
		return
	}
	again := func(pause time.Duration) {
		r.State, r.Since, r.NotBefore, r.Doubt = RecordingRequested, d.at, d.at.Add(pause), time.Time{}
		d.keep(r)
	}
	why := FailRefused
	switch f.Refusal {
	case RefusedBusy:
		r.Attempts--
		d.queue(r, ReasonBusy)
		return
	case RefusedNone:
		r.Attempts--
		d.queue(r, ReasonNoRecorder)
		return
	case RefusedNotReady:
		r.Attempts--
		r.Detail = shorten(f.Detail) // should it never become ready
		again(min(max(d.at.Sub(r.RequestedAt), readyMin), readyMax))
		return
	case RefusedExists:
		// It shows itself by the focus's presence, or by its recorder's.
		r.NotBefore = d.at.Add(adoptPatience)
		d.keep(r)
		if d.m.Focus.Status == focusOn && d.ofSession(d.m.Focus.Session) == nil {
			d.heard(d.m.Focus)
		}
		return
	case RefusedNotAllowed:
		why = FailNotAllowed
	case RefusedBroken:
		why = FailRecorder
	case RefusedSilent:
		why = FailNoAnswer
	}
	r.Detail = shorten(f.Detail)
	if f.Refusal == RefusedInvalid || r.Attempts >= maxAttempts {
		d.fail(r, why)
		return
	}
	again(retryPause)
}

// fail settles a recording that has no file.
func (d *draft) fail(r *Recording, why RecordingReason) {
	r.Failure, r.Doubt = why, time.Time{}
	d.move(r, RecordingFailed, RecordingHasFailed)
	if r.SessionID == d.m.Session.ID && (r.By.Type == ByTrigger || r.By.Type == ByRestart) && why != FailFileMissing && why != FailHandOver {
		d.unprompt() // it would fail again and again
	}
}

// startFailed tries once more, or gives up, after no recorder got as far as on.
// One that is in the room nevertheless is kicked first.
func (d *draft) startFailed(r *Recording, why RecordingReason) {
	if d.m.recorderSeen(*r) {
		r.Failure, r.Doubt = why, time.Time{}
		d.keep(r)
		return
	}
	if r.Attempts >= maxAttempts || d.m.Occupancy().Humans == 0 {
		d.fail(r, why)
		return
	}
	if r.JibriSession != "" {
		r.GivenUp = append(slices.Clone(r.GivenUp), r.JibriSession)
	}
	r.State, r.Since, r.JibriSession, r.Failure, r.Doubt = RecordingRequested, d.at, "", "", time.Time{}
	r.NotBefore = d.at.Add(retryPause)
	d.keep(r)
}

func shorten(text string) string {
	if len(text) > maxDetail {
		return text[:maxDetail]
	}
	return text
}
