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
func (d *draft) closed(r *Recording, jibriSession, recorder string) {
	r.Recorder = recorder
	if r.JibriSession == "" {
		r.named(jibriSession)
	}
	vouched := d.m.Focus.Status == focusOn && d.m.Focus.Session == r.JibriSession && d.m.StaleSince.IsZero()
	switch r.State {
	case RecordingStarting, RecordingOn:
		if vouched {
			return // the first of two recorders; the second goes on
		}
	case RecordingStopping, RecordingRequested, RecordingQueued:
	default:
		return
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = r.RequestedAt // there is a file, so it did begin
	}
	d.ended(r)
}

// stored adds files that were handed over.
func (d *draft) stored(r *Recording, f RecordingStored) {
	d.closed(r, f.JibriSession, f.Recorder)
	r = d.bring(*r) // another may have joined the list
	fresh := false
	for _, file := range f.Files {
		known := slices.ContainsFunc(r.Files, func(k RecordingFile) bool {
			return k.Dir == file.Dir && k.Name == file.Name && k.Recorder == file.Recorder
		})
		if !known {
			file.StoredAt = d.at
			r.Files = append(slices.Clone(r.Files), file)
			fresh = true
		}
	}
	if !fresh {
		d.keep(r)
		return
	}
	if r.Failure == FailFileMissing || r.Failure == FailHandOver {
		r.Failure, r.Detail = "", ""
	}
	if r.State == RecordingOn || r.State == RecordingStopping {
		d.keep(r) // told once all of it is over
		return
	}
	d.move(r, RecordingAvailable, RecordingIsAvailable)
}
