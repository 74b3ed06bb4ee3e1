package meeting

import (
	"cmp"
	"slices"
	"time"
	"unicode/utf8"
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
func (d *draft) move(r *Recording, s RecordingState, t EventType) {
	r.State, r.Since = s, d.at
	if s.Settled() {
		r.SettledAt = d.at
	}
	d.tell(r, t)
}

// tell stores a recording and tells of it.
func (d *draft) tell(r *Recording, t EventType) {
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

func ignore(*draft, *Recording, recordingInput) error     { return nil }
func notWanted(*draft, *Recording, recordingInput) error  { return ErrNotWanted }
func notSettled(*draft, *Recording, recordingInput) error { return ErrNotSettled }

// abort ends a recording that has not been started.
func abort(d *draft, r *Recording, in recordingInput) error {
	r.Stop = in.reason
	d.move(r, RecordingAborted, RecordingWasAborted)
	d.unpromptAfter(in.reason)
	return nil
}

// stop takes a recording towards its end.
func stop(d *draft, r *Recording, in recordingInput) error {
	r.Stop, r.Doubt = in.reason, time.Time{}
	d.move(r, RecordingStopping, RecordingIsStopping)
	d.unpromptAfter(in.reason)
	return nil
}

// unpromptAfter keeps an automatic recording from following one that was ended
// for this reason.
func (d *draft) unpromptAfter(why RecordingReason) {
	switch why {
	case StopRequested, StopParticipant, StopMaxLength:
		d.unprompt()
	}
}

// wait puts a recording in line, or fails one that is not to wait.
func wait(d *draft, r *Recording, in recordingInput) error {
	switch {
	case r.NoQueue:
		d.fail(r, in.reason)
	case r.Waits == "":
		r.Waits = in.reason
		d.move(r, RecordingQueued, RecordingIsQueued)
	case r.Waits != in.reason, r.State != RecordingQueued:
		r.Waits, r.State, r.Since = in.reason, RecordingQueued, d.at
		d.keep(r)
	}
	return nil
}

// try notes that the focus is asked. Apps hear of one that was queued once a
// recorder is found: where usher cannot see them, it asks again and again.
func try(d *draft, r *Recording, _ recordingInput) error {
	r.Attempts++
	if r.State == RecordingRequested {
		d.move(r, RecordingStarting, RecordingIsStarting)
		return nil
	}
	r.State, r.Since = RecordingStarting, d.at
	d.keep(r)
	return nil
}

// tryAgain lets the focus be asked once more, as after a restart of usher.
func tryAgain(_ *draft, r *Recording, _ recordingInput) error {
	if r.JibriSession != "" {
		return ErrNotWanted
	}
	return nil
}

// accepted takes in that the focus has found a recorder, and then what it said of
// that before.
func (d *draft) accepted(f RecordingAccepted) error {
	r, _ := d.m.AtHand(f.ID)
	switch r.JibriSession {
	case "":
	case f.JibriSession:
		return nil // the focus said so first
	default:
		return ErrNotWanted
	}
	err := d.inputAt(f.ID, ErrNotWanted, recordingInput{kind: inputAccepted, session: f.JibriSession})
	if said := d.m.Focus; err == nil && said.Session == f.JibriSession && !r.State.Settled() {
		d.heard(said)
	}
	return err
}

func accept(d *draft, r *Recording, in recordingInput) error {
	r.named(in.session)
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
	return nil
}

// acceptLate stops a recording that was to be over before it began, of which the
// focus did not hear.
func acceptLate(d *draft, r *Recording, in recordingInput) error {
	r.named(in.session)
	r.SettledAt = time.Time{}
	d.move(r, RecordingStopping, RecordingIsStopping)
	return nil
}

// nothingToStop ends a recording that the focus did not start. Where it may have,
// it is asked to stop next.
func nothingToStop(d *draft, r *Recording, in recordingInput) error {
	switch in.refusal {
	case RefusedNotReady, RefusedSilent, RefusedExists:
	default:
		if r.JibriSession == "" {
			d.ended(r)
		}
	}
	return nil
}

// refused takes in that the focus did not start a recording. If another start
// came first, the recording that it speaks of is this one.
func (d *draft) refused(f RecordingRefused) error {
	err := d.inputAt(f.ID, nil, recordingInput{kind: inputRefused, refusal: f.Refusal, detail: f.Detail})
	r, _ := d.m.AtHand(f.ID)
	waits := r.State == RecordingStarting && r.JibriSession == ""
	if said := d.m.Focus; waits && f.Refusal == RefusedExists && said.Status == focusOn && d.ofSession(said.Session) == nil {
		d.heard(said)
	}
	return err
}

// startRefused takes in why the focus did not start a recording.
func startRefused(d *draft, r *Recording, in recordingInput) error {
	if r.JibriSession != "" {
		return nil
	}
	switch in.refusal {
	case RefusedBusy:
		r.Attempts--
		return wait(d, r, recordingInput{reason: ReasonBusy})
	case RefusedNone:
		r.Attempts--
		return wait(d, r, recordingInput{reason: ReasonNoRecorder})
	case RefusedNotReady:
		r.Attempts--
		r.Detail = shorten(in.detail) // should it never become ready
		d.requestAgain(r, min(max(d.at.Sub(r.RequestedAt), readyMin), readyMax))
		return nil
	case RefusedExists:
		// It shows itself by the focus's presence, or by its recorder's.
		r.NotBefore = d.at.Add(adoptPatience)
		d.keep(r)
		return nil
	}
	r.Detail = shorten(in.detail)
	if in.refusal == RefusedInvalid || r.Attempts >= maxAttempts {
		d.fail(r, cmp.Or(refusedFor[in.refusal], FailRefused))
		return nil
	}
	d.requestAgain(r, retryPause)
	return nil
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
	r.JibriSession, r.Failure = "", ""
	d.requestAgain(r, retryPause)
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
