package meeting

import (
	"slices"
	"time"
)

// over takes in that a recording has ended and its recorder has left: from now
// on its file is awaited, if it ever began. One that broke goes on with another
// recorder while people are in.
func (d *draft) over(r *Recording) {
	r.Doubt = time.Time{}
	stored := r.State == RecordingStopping && slices.ContainsFunc(r.Files, func(f RecordingFile) bool { return !f.StoredAt.Before(r.Since) })
	if r.StartedAt.IsZero() {
		if r.Failure != "" {
			d.fail(r, r.Failure)
		} else {
			d.move(r, RecordingAborted, RecordingWasAborted)
		}
		return
	}
	r.StoppedAt = d.at
	r.stopped()
	d.move(r, RecordingProcessing, RecordingStopped)
	if stored {
		d.move(r, RecordingAvailable, RecordingIsAvailable)
	}
	_, another := d.m.ActiveRecording()
	switch {
	case another:
	case d.m.Session.ID == "" || d.m.State() == StateEnded || d.m.Unprompted == d.m.Session.ID:
	case r.Stop == StopRecorder && d.m.StaleSince.IsZero():
		d.unprompt() // its own decision, such as that nobody has said a word for long
	case r.Failure != "" && !r.Stop.onPurpose() && d.m.Occupancy().Humans > 0:
		if r.Restarts >= maxRestarts {
			d.unprompt()
			return
		}
		next := d.newRecording(Requester{ByRestart, r.ID})
		next.Priority, next.MaxLength, next.Restarts = r.Priority, r.MaxLength, r.Restarts+1
		next.NotBefore = d.at.Add(retryPause)
		d.request(next)
	}
}

// stopped names the reason of a recording that nobody stopped.
func (r *Recording) stopped() {
	switch {
	case r.Stop != "":
	case r.Failure != "":
		r.Stop = StopFailure
	default:
		r.Stop = StopRecorder
	}
}

// closed takes in that a recorder has finished a file.
func (d *draft) closed(stored Recording, jibriSession, recorder string) {
	r := d.bring(stored)
	r.Recorder = recorder
	if r.JibriSession == "" {
		r.named(jibriSession)
	}
	_ = d.input(r, recordingInput{kind: inputClosed})
	d.keep(d.bring(*r)) // another may have joined the list
}

func closeFile(d *draft, r *Recording, _ recordingInput) error {
	if (r.State == RecordingStarting || r.State == RecordingOn) &&
		d.m.Focus.Status == focusOn && d.m.Focus.Session == r.JibriSession && d.m.StaleSince.IsZero() {
		return nil // the first of two recorders; the second goes on
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = r.RequestedAt // there is a file, so it did begin
	}
	d.ended(r)
	return nil
}

// addFiles notes files that were handed over before the recording is over.
func addFiles(d *draft, r *Recording, in recordingInput) error {
	d.addFiles(r, in.files)
	return nil
}

// offerFiles makes a recording available when files were handed over.
func offerFiles(d *draft, r *Recording, in recordingInput) error {
	if d.addFiles(r, in.files) {
		d.move(r, RecordingAvailable, RecordingIsAvailable)
	}
	return nil
}

// addFiles stores the files that are not known yet, and reports whether there are
// any.
func (d *draft) addFiles(r *Recording, files []RecordingFile) (fresh bool) {
	for _, file := range files {
		known := slices.ContainsFunc(r.Files, func(k RecordingFile) bool {
			return k.Dir == file.Dir && k.Name == file.Name && k.Recorder == file.Recorder
		})
		if !known {
			file.StoredAt = d.at
			r.Files = append(slices.Clone(r.Files), file)
			fresh = true
		}
	}
	if fresh && (r.Failure == FailFileMissing || r.Failure == FailHandOver) {
		r.Failure, r.Detail = "", ""
	}
	d.keep(r)
	return fresh
}

// lose fails a recording whose files cannot be handed over. When there are files
// they are those of another recorder.
func lose(d *draft, r *Recording, in recordingInput) error {
	if len(r.Files) == 0 {
		r.Detail = shorten(in.detail)
		d.fail(r, FailHandOver)
	}
	return nil
}

// forgetFiles notes that the files of a recording are deleted.
func forgetFiles(d *draft, r *Recording, _ recordingInput) error {
	if r.Deleted.IsZero() {
		r.Deleted = d.at
		d.tell(r, RecordingWasDeleted)
	}
	return nil
}
