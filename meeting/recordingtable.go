package meeting

import "slices"

// recordingInput is one thing that a recording reacts to.
type recordingInput struct {
	kind    inputKind
	reason  RecordingReason // why it is to stop, waits, or was stopped by
	failure RecordingReason // what the focus says went wrong
	refusal Refusal
	session string // Jibri's id for it
	detail  string // of what went wrong, for people
	files   []RecordingFile
}

// inputKind names an input as docs/recording.md does.
type inputKind string

const (
	inputStop         inputKind = "stop"              // an app, a limit or the meeting's end asks for its end
	inputWaits        inputKind = "waits"             // no recorder is free
	inputTried        inputKind = "tried"             // the focus is about to be asked
	inputAccepted     inputKind = "accepted"          // the focus has found a recorder
	inputRefused      inputKind = "refused"           // the focus has not started it, or gave no answer
	inputUnknown      inputKind = "unknown"           // the focus, asked to stop it, knows of none
	inputFocusOn      inputKind = "focus on"          // the focus says that it records
	inputFocusOff     inputKind = "focus off"         // the focus says that it does not any more
	inputFocusOther   inputKind = "focus on another"  // the focus says that it records another one
	inputFocusForgot  inputKind = "focus forgot"      // the focus is there and speaks of no recording
	inputFocusLeft    inputKind = "focus left"        // the focus is not in the room
	inputRecorderIn   inputKind = "recorder in"       // a recorder of it is seen in the room
	inputRecorderLeft inputKind = "recorder left"     // the last recorder of it has just left
	inputRecorderOut  inputKind = "recorder not seen" // no recorder of it is seen in the room
	inputRoomGone     inputKind = "room gone"         // the room has ended
	inputTime         inputKind = "time"              // a time of recordingTimers may have come
	inputClosed       inputKind = "closed"            // a recorder has finished a file
	inputStored       inputKind = "stored"            // files were handed over, after closed
	inputLost         inputKind = "lost"              // its files cannot be handed over
	inputDeleted      inputKind = "deleted"           // an app deletes its files
)

// recordingStates are the columns of recordingTable.
var recordingStates = [...]RecordingState{
	RecordingRequested, RecordingQueued, RecordingStarting, RecordingOn, RecordingStopping,
	RecordingProcessing, RecordingAvailable, RecordingFailed, RecordingAborted,
}

type recordingAction func(d *draft, r *Recording, in recordingInput) error

// recordingTable is what a recording does on each input in each state. The same
// table in docs/recording.md names the states that it may then be in; a test
// compares it with what the actions do.
//
// Columns: requested, queued, starting, recording, stopping, processing,
// available, failed, aborted.
var recordingTable = map[inputKind][len(recordingStates)]recordingAction{
	inputStop:         {abort, abort, stop, stop, ignore, ignore, ignore, ignore, ignore},
	inputWaits:        {wait, wait, ignore, ignore, ignore, ignore, ignore, ignore, ignore},
	inputTried:        {try, try, tryAgain, notWanted, notWanted, notWanted, notWanted, notWanted, notWanted},
	inputAccepted:     {notWanted, notWanted, accept, notWanted, accept, notWanted, acceptLate, acceptLate, acceptLate},
	inputRefused:      {ignore, ignore, startRefused, ignore, nothingToStop, ignore, ignore, ignore, ignore},
	inputUnknown:      {ignore, ignore, ignore, ignore, forgotten, ignore, ignore, ignore, ignore},
	inputFocusOn:      {begin, begin, begin, vouch, vouchStopping, begin, begin, begin, begin},
	inputFocusOff:     {ignore, ignore, startStopped, stopped, stopped, ignore, ignore, ignore, ignore},
	inputFocusOther:   {ignore, ignore, forgotten, forgotten, forgotten, ignore, ignore, ignore, ignore},
	inputFocusForgot:  {ignore, ignore, ignore, doubt, ignore, ignore, ignore, ignore, ignore},
	inputFocusLeft:    {ignore, ignore, doubt, doubt, ignore, ignore, ignore, ignore, ignore},
	inputRecorderIn:   {ignore, ignore, ignore, ignore, ignore, resume, ignore, ignore, ignore},
	inputRecorderLeft: {ignore, ignore, retryFailed, ignore, finish, ignore, ignore, ignore, ignore},
	inputRecorderOut:  {ignore, ignore, retryFailed, ignore, ignore, ignore, ignore, ignore, ignore},
	inputRoomGone:     {ignore, ignore, loseRoom, loseRoom, finish, ignore, ignore, ignore, ignore},
	inputTime:         {expire, expire, expire, expire, expire, expire, ignore, ignore, ignore},
	inputClosed:       {closeFile, closeFile, closeFile, closeFile, closeFile, ignore, ignore, ignore, ignore},
	inputStored:       {offerFiles, offerFiles, offerFiles, addFiles, addFiles, offerFiles, offerFiles, offerFiles, offerFiles},
	inputLost:         {ignore, ignore, ignore, ignore, ignore, lose, ignore, ignore, ignore},
	inputDeleted:      {notSettled, notSettled, notSettled, notSettled, notSettled, notSettled, forgetFiles, forgetFiles, forgetFiles},
}

// input has a recording react. The pointer may be stale afterwards, because
// another recording may have joined the list.
func (d *draft) input(r *Recording, in recordingInput) error {
	column := slices.Index(recordingStates[:], r.State)
	if column < 0 {
		return ErrNotFound
	}
	return recordingTable[in.kind][column](d, r, in)
}

// each has every recording react that the meeting has at hand now.
func (d *draft) each(in recordingInput) {
	for i := range len(d.m.Recordings) {
		_ = d.input(d.rec(i), in) // none of these inputs is refused
	}
}

// applyRecording takes in an input about one recording.
func (d *draft) applyRecording(f Input) error {
	if d.m.ID == "" {
		return ErrNotFound
	}
	switch f := f.(type) {
	case RecordingStop:
		return d.inputAt(f.ID, ErrNotFound, recordingInput{kind: inputStop, reason: f.Reason})
	case RecordingWaits:
		return d.inputAt(f.ID, nil, recordingInput{kind: inputWaits, reason: f.Reason})
	case RecordingTried:
		return d.inputAt(f.ID, ErrNotWanted, recordingInput{kind: inputTried})
	case RecordingAccepted:
		return d.accepted(f)
	case RecordingRefused:
		return d.refused(f)
	case RecordingUnknown:
		return d.inputAt(f.ID, nil, recordingInput{kind: inputUnknown})
	case RecordingClosed:
		d.closed(f.Recording, f.JibriSession, f.Recorder)
		return nil
	case RecordingStored:
		d.closed(f.Recording, f.JibriSession, f.Recorder)
		return d.input(d.bring(f.Recording), recordingInput{kind: inputStored, files: f.Files})
	case RecordingLost:
		return d.input(d.bring(f.Recording), recordingInput{kind: inputLost, detail: f.Detail})
	case RecordingDeleted:
		return d.input(d.bring(f.Recording), recordingInput{kind: inputDeleted})
	}
	return nil
}

// inputAt is input for a recording at hand; missing is the error if it is not.
func (d *draft) inputAt(id string, missing error, in recordingInput) error {
	i := d.m.recording(id)
	if i < 0 {
		return missing
	}
	return d.input(d.rec(i), in)
}
