package meeting

import (
	"cmp"
	"slices"
	"time"
)

// Recordings of the modes tracks and levels come straight from the site's video
// bridges, by package bridge: no focus and no recorder takes part, none ever
// waits in a queue, and what came of each is one part or several. A part begins
// with the recording, with each new Jitsi meeting id, and whenever another
// process goes on; it ends before the next one begins.

const (
	// bridgeTimeout is how long the bridges may take until one sends, counted from
	// when there is a conference on them. They answer at once; what takes longer is
	// a fault of the site.
	bridgeTimeout = time.Minute
	// closeTimeout is how long the last part may take to be closed: the bridge ends
	// its sockets within 5 s, and a process that takes over closes the parts of the
	// one before at once.
	closeTimeout = time.Minute
)

// FromBridge reports whether the mode needs no recorder, but the bridges.
func (m RecordingMode) FromBridge() bool { return m == ModeTracks || m == ModeLevels }

// orFile returns the mode; recordings stored by an earlier usher have none.
func (m RecordingMode) orFile() RecordingMode { return cmp.Or(m, ModeFile) }

// Notice says who informs people that their voices are recorded.
type Notice string

// Notices.
const (
	// NoticeJitsi is the one that Jitsi's client shows while a file is recorded.
	NoticeJitsi Notice = "jitsi"
	// NoticeApp is the app's own, as the site's operator has declared.
	NoticeApp Notice = "app"
)

// PartState is how far a part of a recording has come.
type PartState string

// States of a part.
const (
	PartOpen    PartState = "open"    // it is recorded
	PartClosed  PartState = "closed"  // it has ended; its files are being handed over
	PartStored  PartState = "stored"  // its files are where apps can get them
	PartMissing PartState = "missing" // its files never came, or there are none
)

// RecordingPart is a stretch of a recording from bridges, with files of its own
// that all begin at the same moment.
type RecordingPart struct {
	ID             string    `json:"id" doc:"Names the folder of its files"`
	Host           string    `json:"host" doc:"Whose disk they are on until they are stored"`
	JitsiMeetingID string    `json:"jitsi_meeting_id" doc:"Jitsi's own id of the conference"`
	State          PartState `json:"state" enum:"open,closed,stored,missing"`
	OpenedAt       Time      `json:"opened_at"`
	EndedAt        Time      `json:"ended_at" nullable:"true"`
	Detail         string    `json:"detail,omitempty" doc:"Why something is missing"`
}

// Track says whose sound is in a file of a recording from bridges.
type Track struct {
	Part          string   `json:"part"`
	ParticipantID string   `json:"participant_id,omitempty" doc:"Missing where nobody knows whose it is"`
	UserID        string   `json:"user_id,omitempty" doc:"From the token; missing for guests"`
	Name          string   `json:"name,omitempty"`
	Endpoints     []string `json:"endpoints" nullable:"false" doc:"Nicks in the room, of all their connections"`
	FirstMS       int64    `json:"first_ms" doc:"Where the sound begins, in milliseconds from the file's beginning"`
	LastMS        int64    `json:"last_ms" doc:"Where it ends"`
	Encrypted     bool     `json:"encrypted,omitempty" doc:"Some of what they said was encrypted from end to end, and is left out"`
}

// Inputs about recordings from bridges, by package bridge.
const (
	RecordingPartOpens   RecordingInputKind = "part opens"   // Part is about to be recorded, and any before it has ended; [ErrNotWanted] when that is not to be
	RecordingConnected   RecordingInputKind = "connected"    // a bridge sends
	RecordingInterrupted RecordingInputKind = "interrupted"  // no bridge has sent since Since
	RecordingPartClosed  RecordingInputKind = "part closed"  // no further sound comes for Part
	RecordingPartMissing RecordingInputKind = "part missing" // there is nothing to be had of Part: Detail
)

// trackTable is what a recording from bridges does on each input in each state; it
// stays as it is on those that are missing here. The same table is in
// docs/tracks.md.
//
// Columns: as in recordingTable; none is ever queued.
var trackTable = map[RecordingInputKind][len(recordingStates)]recordingAction{
	RecordingStop:        {stop, ignore, stop, stop, ignore, ignore, ignore, ignore, ignore},
	RecordingPartOpens:   {openPart, notWanted, openPart, openPart, notWanted, notWanted, notWanted, notWanted, notWanted},
	RecordingConnected:   {ignore, ignore, connect, connect, connectStopping, ignore, ignore, ignore, ignore},
	RecordingInterrupted: {ignore, ignore, ignore, interrupt, ignore, ignore, ignore, ignore, ignore},
	RecordingRefused:     {refuseTracks, ignore, refuseTracks, ignore, ignore, ignore, ignore, ignore, ignore},
	RecordingPartClosed:  {ignore, ignore, closePart, closePart, closePart, closePart, closePart, closePart, closePart},
	RecordingStored:      {ignore, ignore, storePart, storePart, storePart, storePart, storePart, storePart, ignore},
	RecordingPartMissing: {ignore, ignore, losePart, losePart, losePart, losePart, ignore, ignore, ignore},
	RecordingDeleted:     {notSettled, notSettled, notSettled, notSettled, notSettled, notSettled, forgetFiles, forgetFiles, forgetFiles},
	inputTime:            {expire, ignore, expire, expire, expire, expire, ignore, ignore, ignore},
}

// ToRecord returns the recordings from bridges that are not over: package bridge
// starts, goes on with, ends or hands over each, by its state.
func (m Meeting) ToRecord() (list []Recording) {
	for _, r := range m.Recordings {
		if r.Mode.FromBridge() && !r.State.Settled() {
			list = append(list, r)
		}
	}
	return list
}

// part returns the place of a part, or -1.
func (r Recording) part(id string) int {
	return slices.IndexFunc(r.Parts, func(p RecordingPart) bool { return p.ID == id })
}

// changePart has a part of the recording changed, if there is such a one.
func (r *Recording) changePart(id string, change func(*RecordingPart)) {
	if i := r.part(id); i >= 0 {
		r.Parts = slices.Clone(r.Parts)
		change(&r.Parts[i])
	}
}

// endParts ends those parts that are open.
func (r *Recording) endParts(at time.Time) {
	for _, p := range r.Parts {
		if p.State == PartOpen {
			r.changePart(p.ID, func(p *RecordingPart) { p.State, p.EndedAt = PartClosed, Time{at} })
		}
	}
}

// allParts reports whether every part is in one of the states.
func (r Recording) allParts(states ...PartState) bool {
	return !slices.ContainsFunc(r.Parts, func(p RecordingPart) bool { return !slices.Contains(states, p.State) })
}

func openPart(d *draft, r *Recording, in RecordingInput) {
	r.endParts(d.at)
	part := in.Part
	part.State, part.OpenedAt = PartOpen, Time{d.at}
	r.Parts = append(slices.Clone(r.Parts), part)
	r.Attempts++
	if r.State == RecordingRequested {
		d.move(r, RecordingStarting, RecordingIsStarting)
	} else {
		d.keep(r)
	}
}

// connect takes in that a bridge sends, for the first time or again.
func connect(d *draft, r *Recording, _ RecordingInput) {
	switch {
	case r.State == RecordingStarting:
		r.StartedAt, r.Detail = cmp.Or(r.StartedAt, Time{d.at}), ""
		d.move(r, RecordingOn, RecordingStarted)
	case !r.InterruptedSince.IsZero():
		r.InterruptedSince = Time{}
		d.report(r, RecordingWasResumed)
	}
}

func connectStopping(d *draft, r *Recording, _ RecordingInput) {
	if r.StartedAt.IsZero() {
		r.StartedAt = Time{d.at}
		d.keep(r)
	}
}

func interrupt(d *draft, r *Recording, in RecordingInput) {
	if r.InterruptedSince.IsZero() {
		r.InterruptedSince = Time{latest(r.StartedAt.Time, in.Since)}
		d.report(r, RecordingWasInterrupted)
	}
}

// refuseTracks ends a recording that cannot be made.
func refuseTracks(d *draft, r *Recording, in RecordingInput) {
	r.Detail = shorten(in.Detail)
	unbridged(d, r, in)
}

// unbridged ends a recording of which no bridge has sent anything.
func unbridged(d *draft, r *Recording, in RecordingInput) {
	if r.allParts(PartStored, PartMissing) {
		d.fail(r, in.Failure)
	} else {
		stop(d, r, RecordingInput{Reason: StopFailure, Failure: in.Failure})
	}
}

// closePart notes the end of a part. One that is to stop is over with the last.
func closePart(d *draft, r *Recording, in RecordingInput) {
	if i := r.part(in.Part.ID); i < 0 || r.Parts[i].State != PartOpen {
		return
	}
	r.changePart(in.Part.ID, func(p *RecordingPart) { p.State, p.EndedAt = PartClosed, Time{d.at} })
	if r.State == RecordingStopping && r.allParts(PartClosed, PartStored, PartMissing) {
		bridgeLeft(d, r, RecordingInput{})
	} else {
		d.keep(r)
	}
}

// bridgeLeft ends a recording whose parts have all ended.
func bridgeLeft(d *draft, r *Recording, in RecordingInput) {
	r.endParts(d.at)
	r.Stop = cmp.Or(r.Stop, in.Reason)
	r.InterruptedSince = Time{}
	if r.StartedAt.IsZero() { // no bridge has ever sent
		for _, p := range r.Parts {
			r.changePart(p.ID, func(p *RecordingPart) { p.State = PartMissing })
		}
		if r.Failure != "" {
			d.fail(r, r.Failure)
		} else {
			d.move(r, RecordingAborted, RecordingWasAborted)
		}
		return
	}
	r.StoppedAt = Time{d.at}
	d.move(r, RecordingProcessing, RecordingStopped)
	d.settleParts(r)
}

// storePart notes the files of a part; those that are known are no news.
func storePart(d *draft, r *Recording, in RecordingInput) {
	if i := r.part(in.Part.ID); i < 0 || r.Parts[i].State == PartStored {
		return
	}
	if !r.Deleted.IsZero() {
		d.err = ErrNotWanted
		return
	}
	for _, file := range in.Files {
		file.StoredAt = d.at
		r.Files = append(slices.Clip(r.Files), file)
	}
	r.changePart(in.Part.ID, func(p *RecordingPart) {
		p.State, p.EndedAt, p.Detail = PartStored, cmp.Or(p.EndedAt, Time{d.at}), shorten(in.Detail)
	})
	if len(in.Speakers) > 0 {
		d.notify(SpeakerStats, Data{Recording: new(r.Info()), Speakers: in.Speakers})
	}
	switch r.State {
	case RecordingAvailable, RecordingFailed: // it was taken for missing
		r.Failure, r.Detail = "", ""
		d.move(r, RecordingAvailable, RecordingIsAvailable)
	case RecordingProcessing:
		d.keep(r)
		d.settleParts(r)
	default:
		d.keep(r)
	}
}

func losePart(d *draft, r *Recording, in RecordingInput) {
	if i := r.part(in.Part.ID); i < 0 || r.Parts[i].State == PartStored || r.Parts[i].State == PartMissing {
		return
	}
	r.changePart(in.Part.ID, func(p *RecordingPart) {
		p.State, p.EndedAt, p.Detail = PartMissing, cmp.Or(p.EndedAt, Time{d.at}), shorten(in.Detail)
	})
	d.keep(r)
	if r.State == RecordingProcessing {
		d.settleParts(r)
	}
}

// settleParts settles a recording once nothing more is expected of its parts.
func (d *draft) settleParts(r *Recording) {
	switch {
	case !r.allParts(PartStored, PartMissing):
	case len(r.Files) > 0:
		d.move(r, RecordingAvailable, RecordingIsAvailable)
	default:
		for _, p := range r.Parts {
			r.Detail = cmp.Or(p.Detail, r.Detail)
		}
		d.fail(r, FailFileMissing)
	}
}

// missParts gives up on parts that nobody has handed over.
func missParts(d *draft, r *Recording, _ RecordingInput) {
	for _, p := range r.Parts {
		if p.State != PartStored {
			r.changePart(p.ID, func(p *RecordingPart) {
				p.State, p.Detail = PartMissing, cmp.Or(p.Detail, "host "+p.Host+" did not hand it over in time")
			})
		}
	}
	d.settleParts(r)
}

// trackTimers is recordingTimers of a recording from bridges.
func (m Meeting) trackTimers(r Recording) []recordingTimer {
	empty := recordingTimer{m.noHuman(), stop, RecordingInput{Reason: StopEmpty}}
	switch r.State {
	case RecordingRequested, RecordingStarting:
		var late time.Time
		if m.Conference.Bridges > 0 && m.StaleSince.IsZero() {
			late = latest(r.Since, m.Conference.Since).Add(bridgeTimeout)
		}
		return []recordingTimer{empty, {late, unbridged, RecordingInput{Failure: FailStartTimeout}}}
	case RecordingOn:
		timers := []recordingTimer{empty}
		if r.MaxLength > 0 {
			timers = append(timers, recordingTimer{r.StartedAt.Add(r.MaxLength), stop, RecordingInput{Reason: StopMaxLength}})
		}
		return timers
	case RecordingStopping:
		over := r.Since
		if slices.ContainsFunc(r.Parts, func(p RecordingPart) bool { return p.State == PartOpen }) {
			over = over.Add(closeTimeout)
		}
		return []recordingTimer{{over, bridgeLeft, RecordingInput{Reason: StopUnconfirmed}}}
	case RecordingProcessing:
		return []recordingTimer{{r.StoppedAt.Add(fileTimeout), missParts, RecordingInput{}}}
	}
	return []recordingTimer{{at: r.SettledAt.Add(settledRetention)}}
}

// noticed reports whether people are informed of a recording from bridges: by the
// app, or by Jitsi's own notice of a recording to a file.
func (m Meeting) noticed(app Notice) bool {
	return app == NoticeApp || slices.ContainsFunc(m.Recordings, func(r Recording) bool {
		return !r.Mode.FromBridge() && r.State == RecordingOn
	})
}

// stopUnnoticed ends recordings from bridges of which nobody is informed any more.
func (d *draft) stopUnnoticed() {
	for i := range d.m.Recordings {
		if r := &d.m.Recordings[i]; r.Mode.FromBridge() && r.State.Active() && !d.m.noticed(r.Notice) {
			d.input(r, RecordingInput{Kind: RecordingStop, Reason: StopNotice})
		}
	}
}
