package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"usher/meeting"
)

const (
	// askInterval is the time between two rounds of asking the bridges while none
	// sends: the focus allocates the conference on one when the second person comes,
	// or after the loss of a bridge, in its own time.
	askInterval = 2 * time.Second
	// reconnectTime is what a bridge that has been asked may take to connect, or to
	// connect again by itself, before it is asked to stop and asked anew: its own
	// tries become as rare as one in 30 s.
	reconnectTime = 10 * time.Second
	// interruptedAfter is how long no bridge may send before the recording counts as
	// interrupted. Jicofo moves people off a dead bridge after 33 s.
	interruptedAfter = 45 * time.Second
	// startPatience is how long the bridges may take until one sends before the
	// recording fails, with what they said; the meeting itself gives up soon after.
	startPatience = 55 * time.Second
	// idleLook is the time between two looks at a recording that goes on; what
	// happens to it wakes its job.
	idleLook = 15 * time.Second
)

// connects names our connects among those of a conference, by mode.
var connects = map[meeting.RecordingMode]string{meeting.ModeTracks: "usher", meeting.ModeLevels: "usher-levels"}

// job is the work on one recording.
type job struct {
	r    *Recorder
	id   string // of the recording
	mode meeting.RecordingMode
	wake chan struct{}

	m meeting.Meeting // as last committed; guarded by r.mu

	// What follows belongs to the job's goroutine.
	part     *livePart // nil: none is open here
	unopened string    // why the last one could not be opened
	lost     time.Time // since when no bridge sends; zero while one does
}

// livePart is a part that is recorded.
type livePart struct {
	*Part
	meeting.RecordingPart
	dir     string
	bridge  string    // that sends, or was asked last; empty: not known
	asked   time.Time // when that one said that it would
	askAt   time.Time // when to ask the next time
	first   time.Time // when the bridges were asked first
	said    bool      // that it is connected was reported
	problem error     // what the bridges said last
}

func (j *job) wakeUp() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// now returns the meeting and the recording as last committed.
func (j *job) now() (meeting.Meeting, meeting.Recording) {
	j.r.mu.Lock()
	defer j.r.mu.Unlock()
	rec, _ := j.m.AtHand(j.id)
	return j.m, rec
}

// work works on the recording until it is over or ctx ends. It blocks.
func (j *job) work(ctx context.Context) {
	for {
		wait, over := j.step(ctx)
		if over {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-j.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			j.abandon()
			return
		}
	}
}

// step does what is due, and returns when to look again or that nothing is left
// to do.
func (j *job) step(ctx context.Context) (wait time.Duration, over bool) {
	m, rec := j.now()
	switch {
	case rec.State.Active():
		return j.record(ctx, m, rec), false
	case rec.State == meeting.RecordingStopping:
		j.stop(ctx, m, rec)
	case j.part != nil: // it is over without us
		j.endPart(ctx, m, rec)
	}
	return 0, true
}

// record has a bridge send, and reports how that goes.
func (j *job) record(ctx context.Context, m meeting.Meeting, rec meeting.Recording) (wait time.Duration) {
	c := m.Conference
	if j.part != nil && c.JitsiMeetingID != "" && c.JitsiMeetingID != j.part.JitsiMeetingID {
		j.endPart(ctx, m, rec)
	}
	if j.part == nil && c.JitsiMeetingID != "" && c.Bridges > 0 {
		j.openPart(ctx, m, rec)
		_, rec = j.now()
	}
	if j.part != nil && j.part.Status().Sockets > 0 {
		j.connected(ctx, m, rec)
		return idleLook
	}
	wait = j.disconnected(ctx, m, rec)
	if j.part != nil {
		wait = min(wait, j.askAgain(ctx, m, rec))
	}
	return wait
}

// connected takes note that a bridge sends.
func (j *job) connected(ctx context.Context, m meeting.Meeting, rec meeting.Recording) {
	p := j.part
	j.lost, p.problem = time.Time{}, nil
	if !p.said || !rec.InterruptedSince.IsZero() {
		p.said = true
		_ = j.r.report(ctx, m.ID, meeting.RecordingInput{Kind: meeting.RecordingConnected, Recording: rec})
	}
}

// disconnected takes note that no bridge sends, reports that once it has been so for
// too long, and returns when to look again.
func (j *job) disconnected(ctx context.Context, m meeting.Meeting, rec meeting.Recording) (wait time.Duration) {
	if j.lost.IsZero() {
		j.lost = time.Now()
	}
	left := interruptedAfter - time.Since(j.lost)
	if left > 0 {
		return min(left, idleLook)
	}
	j.interrupted(ctx, m, rec)
	return idleLook
}

// interrupted reports that the recording does not go on for now.
func (j *job) interrupted(ctx context.Context, m meeting.Meeting, rec meeting.Recording) {
	if rec.State == meeting.RecordingOn && rec.InterruptedSince.IsZero() {
		_ = j.r.report(ctx, m.ID, meeting.RecordingInput{Kind: meeting.RecordingInterrupted, Recording: rec, Since: j.lost})
	}
}

// askAgain asks the bridges, none of which sends, and reports when none has begun to.
func (j *job) askAgain(ctx context.Context, m meeting.Meeting, rec meeting.Recording) (wait time.Duration) {
	p, now := j.part, time.Now()
	if m.Conference.Bridges == 0 {
		p.first = time.Time{}
		return idleLook
	}
	if p.first.IsZero() {
		p.first = now
	}
	appeared := errors.Is(p.problem, errUnseen) && len(j.r.cfg.Bridges.InSight()) > 0
	if appeared || !now.Before(p.askAt) {
		j.ask(ctx)
	}
	if rec.State == meeting.RecordingStarting && !p.said && now.Sub(p.first) >= startPatience {
		_ = j.r.report(ctx, m.ID, meeting.RecordingInput{
			Kind: meeting.RecordingRefused, Recording: rec, Failure: meeting.FailStartTimeout, Detail: p.trouble(j.r.cfg.URL),
		})
	}
	return max(time.Until(p.askAt), 0)
}

// trouble says for people why no bridge sends.
func (p *livePart) trouble(url string) string {
	if p.problem == nil {
		return fmt.Sprintf("bridge %s was asked and has not connected to %s (tracks-url)", p.bridge, url)
	}
	return p.problem.Error()
}

// openPart begins a part: it is in the meeting's state before any bridge knows of
// it.
func (j *job) openPart(ctx context.Context, m meeting.Meeting, rec meeting.Recording) {
	next := meeting.RecordingPart{Host: j.r.cfg.Host, JitsiMeetingID: m.Conference.JitsiMeetingID}
	id, err := j.makeFolder(rec)
	next.ID = id
	dir := filepath.Join(j.r.cfg.Dir, id)
	var part *Part
	if err == nil {
		part, err = j.r.cfg.Server.Open(PartConfig{
			Meeting: next.JitsiMeetingID, ID: next.ID, Dir: dir, Levels: j.mode == meeting.ModeLevels,
			Person: j.person, Changed: j.wakeUp,
		})
	}
	if err != nil {
		j.cannotOpen(ctx, m, rec, err)
		return
	}
	j.unopened = ""
	j.part = &livePart{Part: part, RecordingPart: next, dir: dir}
	if j.r.report(ctx, m.ID, meeting.RecordingInput{Kind: meeting.RecordingPartOpens, Recording: rec, Part: next}) != nil {
		j.discard(ctx)
	}
}

// cannotOpen reports that nothing can be written. A recording that is on goes on once
// that works; every look at it tries again.
func (j *job) cannotOpen(ctx context.Context, m meeting.Meeting, rec meeting.Recording, err error) {
	if why := err.Error(); why != j.unopened {
		j.unopened = why
		j.r.log.Error("cannot record from bridges", "recording_id", j.id, "err", err)
	}
	if rec.State == meeting.RecordingOn {
		j.lost = cmp.Or(j.lost, time.Now())
		j.interrupted(ctx, m, rec)
		return
	}
	_ = j.r.report(ctx, m.ID, meeting.RecordingInput{
		Kind: meeting.RecordingRefused, Recording: rec, Failure: meeting.FailDisk, Detail: err.Error(),
	})
}

// makeFolder makes the folder of a new part and returns the part's id, by the next
// number that is free: a process that was killed before the part was in the meeting's
// state has left a folder that nobody knows.
func (j *job) makeFolder(rec meeting.Recording) (id string, err error) {
	if err := os.MkdirAll(j.r.cfg.Dir, 0o750); err != nil {
		return "", err
	}
	for n := len(rec.Parts) + 1; ; n++ {
		id := fmt.Sprintf("%s-%d", rec.ID, n)
		if slices.ContainsFunc(rec.Parts, func(p meeting.RecordingPart) bool { return p.ID == id }) {
			continue
		}
		if err := os.Mkdir(filepath.Join(j.r.cfg.Dir, id), 0o750); !errors.Is(err, fs.ErrExist) {
			return id, err
		}
	}
}

// discard ends the part and leaves nothing of it; but where ctx has ended the part may
// be in the meeting's state, and its folder is what the next start reports it by.
func (j *job) discard(ctx context.Context) {
	at, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = j.part.Close(at)
	if ctx.Err() == nil {
		_ = os.RemoveAll(j.part.dir) // whatever is left is found when usher starts again
	}
	j.part = nil
}

// person says whose an endpoint is.
func (j *job) person(endpoint string) Person {
	j.r.mu.Lock()
	e, _ := j.m.Endpoint(endpoint)
	j.r.mu.Unlock()
	return Person{ID: e.ParticipantID, UserID: e.UserID, Name: e.Name, Encrypted: e.Encrypted}
}

// ask asks the bridges for the meeting's sound. One that sends it already does so to
// a part of before, which nobody can tell it to forget: it is asked to stop first.
func (j *job) ask(ctx context.Context) {
	p, b, connect := j.part, j.r.cfg.Bridges, connects[j.mode]
	url := j.r.cfg.URL + p.Path()
	bridge, err := b.start(ctx, p.bridge, p.JitsiMeetingID, connect, url)
	if errors.Is(err, errRunning) {
		if ours := bridge == p.bridge && !p.asked.IsZero(); ours && time.Since(latest(p.asked, j.lost)) < reconnectTime {
			p.askAt = time.Now().Add(askInterval)
			return // it connects by itself
		}
		b.stop(ctx, bridge, p.JitsiMeetingID, connect)
		bridge, err = b.start(ctx, bridge, p.JitsiMeetingID, connect, url)
	}
	now := time.Now()
	p.askAt = now.Add(askInterval)
	if err == nil {
		p.bridge, p.asked, p.problem = bridge, now, nil
		j.r.log.Info("bridge asked for a meeting's sound", "bridge", bridge, "recording_id", j.id, "part", p.ID)
		return
	}
	if p.problem == nil || p.problem.Error() != err.Error() {
		j.r.log.Log(ctx, slog.LevelInfo, "no bridge sends a meeting's sound", "recording_id", j.id, "reason", err)
	}
	p.problem = err
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// stop ends the recording: its part, and those of processes before this one.
func (j *job) stop(ctx context.Context, m meeting.Meeting, rec meeting.Recording) {
	if j.part != nil {
		j.endPart(ctx, m, rec)
		_, rec = j.now()
	}
	var stopped []string // Jitsi's meeting ids
	for _, p := range rec.Parts {
		if p.State != meeting.PartOpen {
			continue
		}
		if !slices.Contains(stopped, p.JitsiMeetingID) {
			stopped = append(stopped, p.JitsiMeetingID)
			j.r.cfg.Bridges.stop(ctx, "", p.JitsiMeetingID, connects[j.mode])
		}
		_ = j.r.report(ctx, m.ID, meeting.RecordingInput{Kind: meeting.RecordingPartClosed, Recording: rec, Part: p})
	}
}

// endPart has the bridge stop, closes the part and hands it over.
func (j *job) endPart(ctx context.Context, m meeting.Meeting, rec meeting.Recording) {
	p := j.part
	j.part = nil
	j.r.cfg.Bridges.stop(ctx, p.bridge, p.JitsiMeetingID, connects[j.mode])
	closing, cancel := context.WithTimeout(ctx, usualEnd)
	defer cancel()
	if _, err := p.Close(closing); err != nil {
		j.r.log.Error("part of what a meeting's people said is lost", "recording_id", j.id, "part", p.ID, "err", err)
	}
	_ = j.r.report(ctx, m.ID, meeting.RecordingInput{Kind: meeting.RecordingPartClosed, Recording: rec, Part: p.RecordingPart})
	j.r.work.Go(func() { j.r.handOver(ctx, j.id, p.ID) })
}

// abandon closes the part because this process does not lead any more. The bridge
// is left to the one that does, and the folder to the next start.
func (j *job) abandon() {
	if j.part == nil {
		return
	}
	at, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.part.Close(at); err != nil {
		j.r.log.Error("part of what a meeting's people said is lost", "recording_id", j.id, "part", j.part.ID, "err", err)
	}
	j.part = nil
}
