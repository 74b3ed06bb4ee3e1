package meeting

import (
	"cmp"
	"slices"
	"time"
)

// over takes in that a recording has ended and its recorder has left: from now
// on its file is awaited, if it ever began. One that broke goes on with another
// recorder, which waits for people as every request does (see [Meeting.ToStart]).
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
	r.StoppedAt = Time{d.at}
	d.nameStop(r)
	d.move(r, RecordingProcessing, RecordingStopped)
	if stored {
		d.move(r, RecordingAvailable, RecordingIsAvailable)
	}
	_, another := d.m.ActiveRecording(ModeFile)
	switch {
	case another, r.Deserted:
	case d.m.Session.ID == "" || d.m.State() == StateEnded || d.m.unprompted(ModeFile):
	case r.Stop == StopRecorder && d.m.StaleSince.IsZero():
		d.unprompt(ModeFile) // its own decision, such as that nobody has said a word for long
	case r.Failure != "" && !r.Stop.onPurpose():
		if r.Restarts >= maxRestarts {
			d.unprompt(ModeFile)
			return
		}
		next := d.newRecording(ModeFile, Requester{ByRestart, r.ID})
		next.Priority, next.MaxLength, next.Restarts = r.Priority, r.MaxLength, r.Restarts+1
		next.NotBefore = d.at.Add(retryPause)
		d.request(next)
	}
}

// nameStop names the reason of a recording that nobody stopped. Jibri does so
// itself when the main room has been empty for 30 s (EmptyCallStatusCheck).
func (d *draft) nameStop(r *Recording) {
	r.Deserted = r.Deserted || r.Stop == "" && r.Failure == "" && d.m.deserted()
	if r.Stop == "" && r.Failure != "" {
		r.Stop = StopFailure
	}
	r.Stop = cmp.Or(r.Stop, StopRecorder)
}

func closeFile(d *draft, r *Recording, _ RecordingInput) {
	if (r.State == RecordingStarting || r.State == RecordingOn) &&
		d.m.Focus.Status == focusOn && d.m.Focus.Session == r.JibriSession && d.m.StaleSince.IsZero() {
		return // the first of two recorders; the second goes on
	}
	if !r.Doubt.IsZero() {
		// The focus has restarted, or is away, and could neither stop the recorder
		// nor replace it: it died.
		r.Failure = cmp.Or(r.Failure, FailFocusLost)
	}
	r.StartedAt = cmp.Or(r.StartedAt, r.RequestedAt) // there is a file, so it did begin
	d.ended(r)
}

// addFiles notes files that were handed over, and that makes a recording
// available unless it is still under way.
func addFiles(d *draft, r *Recording, in RecordingInput) {
	fresh := false
	for _, file := range in.Files {
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
	if fresh && r.State != RecordingOn && r.State != RecordingStopping {
		makeAvailable(d, r, in)
	} else {
		d.keep(r)
	}
}

func makeAvailable(d *draft, r *Recording, _ RecordingInput) {
	d.move(r, RecordingAvailable, RecordingIsAvailable)
}

// lose fails a recording whose files cannot be handed over. When there are files
// they are those of another recorder.
func lose(d *draft, r *Recording, in RecordingInput) {
	if len(r.Files) == 0 {
		r.Detail = shorten(in.Detail)
		d.fail(r, FailHandOver)
	}
}

// forgetFiles notes that the files of a recording are deleted.
func forgetFiles(d *draft, r *Recording, _ RecordingInput) {
	if r.Deleted.IsZero() {
		r.Deleted = d.at
		d.report(r, RecordingWasDeleted)
	}
}
