package meeting

import (
	"cmp"
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// Times and numbers that hold for every recording.
const (
	// emptyTimeout is how long a recording goes on once the last human has left: a
	// page reload must not end it, and nobody wants to look at more of an empty
	// room.
	emptyTimeout = 3 * time.Second
	// stopTimeout bounds the wait for the recorder to leave, which takes it a few
	// seconds once the focus has stopped it (Jicofo's BaseJibri does so at once).
	// Then it is kicked. usher stays in the room for it.
	stopTimeout = 10 * time.Second
	// startTimeout bounds the wait for on. Jicofo tries up to six recorders and
	// gives each 90 s.
	startTimeout = 10 * time.Minute
	// adoptTimeout is how soon the focus is asked again after it said that
	// somebody's recording is starting already: one starts within some 10 s.
	adoptTimeout = 15 * time.Second
	// unconfirmedTimeout is how long a recording is believed in that nobody vouches for:
	// people's clients bring a restarted focus back within seconds.
	unconfirmedTimeout = 30 * time.Second
	// fileTimeout is how long a file may take: the hook on the recorder's host
	// tries for days, but an app wants an answer. One that comes later still counts.
	fileTimeout = 24 * time.Hour
	// brokenFileTimeout is the same for a recording that ended with an error,
	// most of which leave no file.
	brokenFileTimeout = 30 * time.Minute
	// moreFilesTimeout is the same for a recording of which some files are there:
	// those of a recorder that died before another went on.
	moreFilesTimeout = 5 * time.Minute
	// settledRetention is how long a settled recording stays at hand: for further
	// files of it, and for a focus that repeats what it said.
	settledRetention = time.Hour
	// maxAttempts is how often the focus is asked for one recording, each time
	// with up to six recorders that fail.
	maxAttempts = 3
	// maxRestarts is how often in a row a recording goes on with another
	// recorder after one died; more than that is a fault of the site.
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

// bring returns the place of a recording, which it takes there as it was stored
// if it is not at hand.
func (d *draft) bring(stored Recording) int {
	if i := d.m.recording(stored.ID); i >= 0 {
		return i
	}
	d.m.Recordings = append(d.m.Recordings, stored)
	return len(d.m.Recordings) - 1
}

// ofSession returns the recording that Jibri knows by this id, or nil.
func (d *draft) ofSession(jibriSession string) *Recording {
	i := slices.IndexFunc(d.m.Recordings, func(r Recording) bool { return r.JibriSession == jibriSession })
	if i < 0 || jibriSession == "" {
		return nil
	}
	return &d.m.Recordings[i]
}

// keep stores a recording.
func (d *draft) keep(r *Recording) {
	d.changed = true
	d.fx.Add(Effects{Recordings: []Recording{*r}})
}

// move takes a recording into a state and reports it.
func (d *draft) move(r *Recording, s RecordingState, t EventType) {
	r.State, r.Since = s, d.at
	if s.Settled() {
		r.SettledAt = Time{d.at}
	}
	d.report(r, t)
}

// report stores a recording and adds an event about it.
func (d *draft) report(r *Recording, t EventType) {
	d.keep(r)
	d.notify(t, Data{Recording: new(r.Info())})
}

// unprompt lets no recording of the mode start by itself any more in this session.
func (d *draft) unprompt(mode RecordingMode) {
	d.changed = true
	if !mode.FromBridge() {
		d.m.Unprompted = d.m.Session.ID
		return
	}
	d.m.UnpromptedModes = maps.Clone(d.m.UnpromptedModes)
	if d.m.UnpromptedModes == nil {
		d.m.UnpromptedModes = map[RecordingMode]string{}
	}
	d.m.UnpromptedModes[mode] = d.m.Session.ID
}

// prompt takes that back: whoever stopped one before has been overruled.
func (d *draft) prompt(mode RecordingMode) {
	if !mode.FromBridge() {
		d.m.Unprompted = ""
		return
	}
	d.m.UnpromptedModes = maps.Clone(d.m.UnpromptedModes)
	delete(d.m.UnpromptedModes, mode)
}

// unprompted reports whether no recording of the mode is to start by itself.
func (m Meeting) unprompted(mode RecordingMode) bool {
	if !mode.FromBridge() {
		return m.Unprompted == m.Session.ID
	}
	return m.UnpromptedModes[mode] == m.Session.ID
}

// wantRecording asks for a recording; an active one is that already.
func (d *draft) wantRecording(f RecordingWanted) error {
	switch {
	case d.m.ID == "":
		return ErrNotFound
	case d.m.State() == StateEnded:
		return ErrEnded
	}
	mode := f.Mode.orFile()
	if _, active := d.m.ActiveRecording(mode); active {
		return nil
	}
	switch {
	case d.m.Session.ID == "":
		return ErrNotLive
	case mode.FromBridge() && d.notice == "":
		return ErrNoBridges
	case mode.FromBridge() && !d.m.noticed(d.notice):
		return ErrNoNotice
	}
	d.prompt(mode)
	r := d.newRecording(mode, f.By)
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
func (d *draft) newRecording(mode RecordingMode, by Requester) Recording {
	r := Recording{
		RecordingStatus: RecordingStatus{
			ID: d.newID("rec_"), MeetingID: d.m.ID, SessionID: d.m.Session.ID,
			Mode: mode, RequestedAt: Time{d.at}, Priority: d.m.Policy.Priority,
		},
		Room: d.m.Room, By: by, MaxLength: d.m.Policy.MaxLength, Destination: d.m.Policy.Destination,
		QueueUntil: d.at.Add(cmp.Or(d.m.Policy.QueueTimeout, QueueTimeout)),
	}
	if mode.FromBridge() {
		r.Notice, r.QueueUntil = d.notice, time.Time{}
	}
	return r
}

func (d *draft) request(r Recording) {
	d.move(&d.m.Recordings[d.bring(r)], RecordingRequested, RecordingIsRequested)
}

// stop takes a recording towards its end; one that has not been started is there.
func stop(d *draft, r *Recording, in RecordingInput) {
	r.Stop, r.Failure, r.Doubt = in.Reason, cmp.Or(in.Failure, r.Failure), time.Time{}
	if r.State.waiting() {
		d.move(r, RecordingAborted, RecordingWasAborted)
	} else {
		d.move(r, RecordingStopping, RecordingIsStopping)
	}
	switch in.Reason {
	case StopRequested, StopParticipant, StopMaxLength:
		d.unprompt(r.Mode) // no automatic recording is to follow
	}
}

// wait puts a recording in line, or fails one that is not to wait.
func wait(d *draft, r *Recording, in RecordingInput) {
	switch {
	case r.NoQueue:
		d.fail(r, in.Reason)
	case r.Waits == "":
		r.Waits = in.Reason
		d.move(r, RecordingQueued, RecordingIsQueued)
	case r.Waits != in.Reason, r.State != RecordingQueued:
		r.Waits, r.State, r.Since = in.Reason, RecordingQueued, d.at
		d.keep(r)
	}
}

// try notes that the focus is asked. Apps hear of one that was queued once a
// recorder is found: where usher cannot see them, it asks again and again.
func try(d *draft, r *Recording, _ RecordingInput) {
	r.Attempts++
	if r.State == RecordingRequested {
		d.move(r, RecordingStarting, RecordingIsStarting)
		return
	}
	r.State, r.Since = RecordingStarting, d.at
	d.keep(r)
}

// tryAgain lets the focus be asked once more, as after a restart of usher.
func tryAgain(d *draft, r *Recording, _ RecordingInput) {
	if r.JibriSession != "" {
		d.err = ErrNotWanted
	}
}

func accept(d *draft, r *Recording, in RecordingInput) {
	r.named(in.JibriSession)
	r.Detail = ""
	if r.failing() {
		r.Failure = ""
	}
	if r.Waits != "" && r.State == RecordingStarting {
		r.Waits = ""
		d.report(r, RecordingIsStarting)
	} else {
		d.keep(r)
	}
}

// reopen stops a recording that was taken for over: its recorder is in the room,
// or the focus has found one and did not hear that it was to be over.
func reopen(d *draft, r *Recording, in RecordingInput) {
	if in.JibriSession != "" {
		r.named(in.JibriSession)
	}
	r.StoppedAt, r.SettledAt = Time{}, Time{}
	d.move(r, RecordingStopping, RecordingIsStopping)
}

// nothingToStop ends a recording that the focus did not start. Where it may have,
// it is asked to stop next.
func nothingToStop(d *draft, r *Recording, in RecordingInput) {
	switch in.Refusal {
	case RefusedNotReady, RefusedSilent, RefusedExists:
	default:
		if r.JibriSession == "" {
			d.ended(r)
		}
	}
}

// startRefused takes in why the focus did not start a recording.
func startRefused(d *draft, r *Recording, in RecordingInput) {
	if r.JibriSession != "" {
		return
	}
	switch in.Refusal {
	case RefusedBusy, RefusedNone:
		r.Attempts--
		in.Reason = ReasonBusy
		if in.Refusal == RefusedNone {
			in.Reason = ReasonNoRecorder
		}
		wait(d, r, in)
		return
	case RefusedNotReady:
		r.Attempts--
		r.Detail = shorten(in.Detail) // should it never become ready
		d.requestAgain(r, min(max(d.at.Sub(r.RequestedAt.Time), readyMin), readyMax))
		return
	case RefusedExists:
		if d.m.streams() {
			r.Attempts--
			in.Reason = ReasonStream
			wait(d, r, in)
			return
		}
		// It shows itself by the focus's presence, or by its recorder's.
		r.NotBefore = d.at.Add(adoptTimeout)
		d.keep(r)
		return
	}
	r.Detail = shorten(in.Detail)
	if in.Refusal == RefusedInvalid || r.Attempts >= maxAttempts {
		d.fail(r, cmp.Or(refusedFor[in.Refusal], FailRefused))
		return
	}
	d.requestAgain(r, retryPause)
}

// refusedFor is what fails a recording that the focus refuses again and again;
// what is missing is FailRefused.
var refusedFor = map[Refusal]RecordingReason{
	RefusedNotAllowed: FailNotAllowed,
	RefusedBroken:     FailRecorder,
	RefusedSilent:     FailNoAnswer,
}

// requestAgain has the focus asked again after a pause.
func (d *draft) requestAgain(r *Recording, pause time.Duration) {
	r.State, r.Since, r.NotBefore, r.Doubt = RecordingRequested, d.at, d.at.Add(pause), time.Time{}
	d.keep(r)
}

// fail settles a recording that has no file.
func (d *draft) fail(r *Recording, why RecordingReason) {
	r.Failure, r.Doubt = why, time.Time{}
	d.move(r, RecordingFailed, RecordingHasFailed)
	if r.SessionID == d.m.Session.ID && (r.By.Type == ByTrigger || r.By.Type == ByRestart) && why != FailFileMissing && why != FailHandOver {
		d.unprompt(r.Mode) // it would fail again and again
	}
}

// startFailed tries once more, or gives up, after no recorder got as far as on.
// One that is in the room nevertheless is kicked first.
func startFailed(d *draft, r *Recording, in RecordingInput) {
	switch {
	case d.m.recorderSeen(*r):
		r.Failure, r.Doubt = in.Failure, time.Time{}
		d.keep(r)
	case r.Attempts >= maxAttempts || d.m.Occupancy().Humans == 0:
		d.fail(r, in.Failure)
	default:
		if r.JibriSession != "" {
			r.GivenUp = append(slices.Clone(r.GivenUp), r.JibriSession)
		}
		r.JibriSession, r.Failure = "", ""
		d.requestAgain(r, retryPause)
	}
}

// retryFailed goes on after a failed start once no recorder is in the way.
func retryFailed(d *draft, r *Recording, _ RecordingInput) {
	if r.failing() {
		startFailed(d, r, RecordingInput{Failure: r.Failure})
	}
}

// shorten cuts a text to maxDetail bytes, never in the middle of a character.
func shorten(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	end := maxDetail
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
