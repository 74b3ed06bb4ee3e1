package meeting

import (
	"slices"
	"time"
)

// RecordingInput is something that happens to a recording, or is asked of it.
type RecordingInput struct {
	Kind RecordingInputKind
	// Recording is the one that is meant, as last read; what the meeting has at hand
	// counts more. Of one that it has no longer at hand, only files can come or go.
	Recording Recording
	Reason    RecordingReason // why it is to stop, waits, or was stopped by
	Refusal   Refusal
	Failure   RecordingReason // what went wrong
	Detail    string          // of what went wrong, for people
	// JibriSession is Jibri's id for it, and Recorder who finished its files.
	JibriSession, Recorder string
	Files                  []RecordingFile
	// Part is the one that an input about a recording from bridges is about; only
	// its ID counts but for [RecordingPartOpens]. Since is when it was interrupted.
	Part  RecordingPart
	Since time.Time
	// Speakers are who spoke in a part that is stored.
	Speakers []SpeakerInfo
}

func (RecordingInput) input() {}

// RecordingInputKind names an input as docs/recording.md does.
type RecordingInputKind string

// Inputs from apps, and from whoever speaks with focus and recorders.
const (
	RecordingStop     RecordingInputKind = "stop"     // its end is asked for, by Reason; [ErrNotFound] when it is not at hand
	RecordingWaits    RecordingInputKind = "waits"    // no recorder is free, by Reason
	RecordingTried    RecordingInputKind = "tried"    // the focus is about to be asked; [ErrNotWanted] when that is not to be done any more
	RecordingAccepted RecordingInputKind = "accepted" // the focus has found a recorder, for JibriSession
	RecordingRefused  RecordingInputKind = "refused"  // the focus has not started it, or gave no answer: Refusal, Detail
	RecordingUnknown  RecordingInputKind = "unknown"  // the focus, asked to stop it, knows of none: its recorder is put out of the room
	RecordingClosed   RecordingInputKind = "closed"   // Recorder has finished a file: it is over once no recorder of it is in the room
	RecordingStored   RecordingInputKind = "stored"   // Files were handed over by Recorder; those known already are no news
	RecordingLost     RecordingInputKind = "lost"     // its files cannot be handed over: Detail
	RecordingDeleted  RecordingInputKind = "deleted"  // an app deletes its files; [ErrNotSettled] unless it is settled
)

// Inputs that follow from the room and from time.
const (
	inputFocusOn      RecordingInputKind = "focus on"          // the focus says that it records
	inputFocusOff     RecordingInputKind = "focus off"         // the focus says that it does not any more
	inputFocusOther   RecordingInputKind = "focus on another"  // the focus says that it records another one
	inputFocusForgot  RecordingInputKind = "focus forgot"      // the focus is there and speaks of no recording
	inputFocusLeft    RecordingInputKind = "focus left"        // the focus is not in the room
	inputRecorderIn   RecordingInputKind = "recorder in"       // a recorder of it is seen in the room
	inputRecorderLeft RecordingInputKind = "recorder left"     // the last recorder of it has just left
	inputRecorderOut  RecordingInputKind = "recorder not seen" // no recorder of it is seen in the room
	inputRoomGone     RecordingInputKind = "room gone"         // the room has ended
	inputTime         RecordingInputKind = "time"              // a time of recordingTimers may have come
)

// recordingStates are the columns of recordingTable.
var recordingStates = [...]RecordingState{
	RecordingRequested, RecordingQueued, RecordingStarting, RecordingOn, RecordingStopping,
	RecordingProcessing, RecordingAvailable, RecordingFailed, RecordingAborted,
}

// recordingAction changes a recording, or sets d.err and changes nothing.
type recordingAction func(d *draft, r *Recording, in RecordingInput)

// recordingTable is what a recording does on each input in each state. The same
// table in docs/recording.md names the states that it may then be in; a test
// compares it with what the actions do.
//
// Columns: requested, queued, starting, recording, stopping, processing,
// available, failed, aborted.
var recordingTable = map[RecordingInputKind][len(recordingStates)]recordingAction{
	RecordingStop:     {stop, stop, stop, stop, ignore, ignore, ignore, ignore, ignore},
	RecordingWaits:    {wait, wait, ignore, ignore, ignore, ignore, ignore, ignore, ignore},
	RecordingTried:    {try, try, tryAgain, notWanted, notWanted, notWanted, notWanted, notWanted, notWanted},
	RecordingAccepted: {notWanted, notWanted, accept, notWanted, accept, notWanted, reopen, reopen, reopen},
	RecordingRefused:  {ignore, ignore, startRefused, ignore, nothingToStop, ignore, ignore, ignore, ignore},
	RecordingUnknown:  {ignore, ignore, ignore, ignore, forgotten, ignore, ignore, ignore, ignore},
	inputFocusOn:      {begin, begin, begin, vouch, vouchStopping, begin, begin, begin, begin},
	inputFocusOff:     {ignore, ignore, startStopped, stopped, stopped, ignore, ignore, ignore, ignore},
	inputFocusOther:   {ignore, ignore, forgotten, forgotten, forgotten, ignore, ignore, ignore, ignore},
	inputFocusForgot:  {ignore, ignore, ignore, doubt, ignore, ignore, ignore, ignore, ignore},
	inputFocusLeft:    {ignore, ignore, doubt, doubt, ignore, ignore, ignore, ignore, ignore},
	inputRecorderIn:   {ignore, ignore, ignore, ignore, ignore, reopen, ignore, ignore, ignore},
	inputRecorderLeft: {ignore, ignore, retryFailed, ignore, finish, ignore, ignore, ignore, ignore},
	inputRecorderOut:  {ignore, ignore, retryFailed, ignore, ignore, ignore, ignore, ignore, ignore},
	inputRoomGone:     {ignore, ignore, finish, finish, finish, ignore, ignore, ignore, ignore},
	inputTime:         {expire, expire, expire, expire, expire, expire, ignore, ignore, ignore},
	RecordingClosed:   {closeFile, closeFile, closeFile, closeFile, closeFile, ignore, ignore, ignore, ignore},
	RecordingStored:   {addFiles, addFiles, addFiles, addFiles, addFiles, addFiles, addFiles, addFiles, addFiles},
	RecordingLost:     {ignore, ignore, ignore, ignore, ignore, lose, ignore, ignore, ignore},
	RecordingDeleted:  {notSettled, notSettled, notSettled, notSettled, notSettled, notSettled, forgetFiles, forgetFiles, forgetFiles},
}

func ignore(*draft, *Recording, RecordingInput)           {}
func notWanted(d *draft, _ *Recording, _ RecordingInput)  { d.err = ErrNotWanted }
func notSettled(d *draft, _ *Recording, _ RecordingInput) { d.err = ErrNotSettled }

// input has a recording react. The pointer may be stale afterwards, because
// another recording may have joined the list.
func (d *draft) input(r *Recording, in RecordingInput) {
	table := recordingTable
	if r.Mode.FromBridge() {
		table = trackTable
	}
	column := slices.Index(recordingStates[:], r.State)
	if row, known := table[in.Kind]; known && column >= 0 {
		row[column](d, r, in)
	}
}

// each has every recording react that the meeting has at hand now.
func (d *draft) each(in RecordingInput) {
	for i := range len(d.m.Recordings) {
		d.input(&d.m.Recordings[i], in)
	}
}

// applyRecording takes in an input about one recording.
func (d *draft) applyRecording(in RecordingInput) error {
	i, err := d.meant(in)
	if i < 0 {
		return err
	}
	r := &d.m.Recordings[i]
	switch {
	case !slices.Contains(recordingStates[:], r.State):
		return ErrNotFound
	case in.Kind == RecordingAccepted && r.JibriSession == in.JibriSession:
		return nil // the focus said so first
	case in.Kind == RecordingAccepted && r.JibriSession != "":
		return ErrNotWanted
	case (in.Kind == RecordingClosed || in.Kind == RecordingStored) && !r.Mode.FromBridge():
		d.closed(i, in)
	}
	if in.Kind != RecordingClosed {
		d.input(&d.m.Recordings[i], in)
	}
	if d.err == nil && d.saidBefore(d.m.Recordings[i], in) {
		d.heard(d.m.Focus)
	}
	return d.err
}

// meant returns where the recording is that an input is about, -1 when nothing
// comes of the input but perhaps an error. It brings one that is not at hand, of
// which only files can come or go.
func (d *draft) meant(in RecordingInput) (int, error) {
	if d.m.ID == "" {
		return -1, ErrNotFound
	}
	if i := d.m.recording(in.Recording.ID); i >= 0 {
		return i, nil
	}
	switch in.Kind {
	case RecordingStop:
		return -1, ErrNotFound
	case RecordingTried, RecordingAccepted, RecordingPartOpens:
		return -1, ErrNotWanted
	case RecordingWaits, RecordingRefused, RecordingUnknown, RecordingConnected, RecordingInterrupted:
		return -1, nil
	}
	return d.bring(in.Recording), nil
}

// closed takes in that a recorder has finished a file.
func (d *draft) closed(i int, in RecordingInput) {
	r := &d.m.Recordings[i]
	r.Recorder = in.Recorder
	if r.JibriSession == "" {
		r.named(in.JibriSession)
	}
	in.Kind = RecordingClosed
	d.input(r, in)
	d.keep(&d.m.Recordings[i]) // another may have joined the list
}

// saidBefore reports whether the focus spoke of the recording before this answer
// about its start came: of its session, or, where another start came first, of
// one that no other recording is.
func (d *draft) saidBefore(r Recording, in RecordingInput) bool {
	said := d.m.Focus
	switch in.Kind {
	case RecordingAccepted:
		return said.Session == in.JibriSession && !r.State.Settled()
	case RecordingRefused:
		return in.Refusal == RefusedExists && r.State == RecordingStarting && r.JibriSession == "" &&
			said.Status == focusOn && d.ofSession(said.Session) == nil
	}
	return false
}
