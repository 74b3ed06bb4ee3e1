package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"usher/meeting"
)

const (
	// Waits between two tries begin with firstWait and double up to maxWait, so
	// that usher hears of a file soon after it is up again.
	firstWait = time.Second
	maxWait   = time.Minute
	// jitter spreads the tries of several hosts: waits are longer or shorter by
	// up to that part.
	jitter = 0.1

	// storeTimeout is how long storing is tried before the file is given up: a
	// full disk or a wrong key is seen to within a day.
	storeTimeout = 24 * time.Hour
	// missingTimeout is how long a directory that is not there, or has no file, is
	// looked for: a share may be mounted a little later.
	missingTimeout = time.Minute
	// growTimeout is how long a file may grow. Jibri's is finished before its hook
	// is called.
	growTimeout = 10 * time.Minute
)

// errStopped says that this worker does no more of a job; the next one does.
var errStopped = errors.New("left to the next worker")

// task is the work on one job.
type task struct {
	*Worker
	job
	log *slog.Logger
}

// run works until the job is settled or left to another worker. What has been
// done before a worker died is done again, which changes nothing.
func (t *task) run(ctx context.Context) {
	var answer meeting.HandOverAnswer
	err := t.insist(ctx, "report that a recording is over", func(ctx context.Context) (err error) {
		answer, err = t.report(ctx, meeting.HandOverClosed, "")
		return err
	})
	if err == nil {
		err = t.insist(ctx, "hand files over", func(ctx context.Context) error { return t.store(ctx, answer) })
	}
	_, no := errors.AsType[*refusedError](err)
	switch {
	case errors.Is(err, errStopped):
	case no:
		t.settle(ctx, refused, err)
	default:
		t.finish(ctx, err)
	}
}

// finish reports what came of storing.
func (t *task) finish(ctx context.Context, failed error) {
	phase, detail, outcome := meeting.HandOverStored, "", done
	if failed != nil {
		outcome = lost
		if len(t.Files) == 0 {
			phase, detail = meeting.HandOverLost, failed.Error()
		}
	}
	err := t.insist(ctx, "report what became of a recording", func(ctx context.Context) error {
		_, err := t.report(ctx, phase, detail)
		return err
	})
	if errors.Is(err, errStopped) {
		return
	}
	if err != nil {
		outcome, failed = refused, err
	}
	t.settle(ctx, outcome, failed)
}

// settle ends the job.
func (t *task) settle(ctx context.Context, outcome state, why error) {
	t.State, t.SettledAt = outcome, time.Now().UTC()
	if why != nil {
		t.Detail = why.Error()
	}
	err := t.insist(ctx, "settle a job", func(context.Context) error { return t.save() })
	switch {
	case err != nil:
	case outcome == done:
		t.log.Info("handed over", "files", len(t.Files))
	default:
		t.log.Error("not handed over; the files are where they were", "outcome", outcome, "stored", len(t.Files), "err", why)
	}
}

// save stores what this worker knows of the job. When the hook was called again
// since the work began, the job stays to be done.
func (t *task) save() error {
	return t.spool.change(t.Dir, func(stored *job) {
		if stored.Dir == "" || stored.AddedAt.Equal(t.AddedAt) {
			*stored = t.job
			return
		}
		stored.MeetingID, stored.RecordingID, stored.Files = t.MeetingID, t.RecordingID, t.Files
	})
}

// report makes one call to usher.
func (t *task) report(ctx context.Context, phase meeting.HandOverPhase, detail string) (answer meeting.HandOverAnswer, err error) {
	s, err := t.settings()
	if err != nil {
		return answer, err
	}
	if f, err := openFolder(t.Dir, s.RecordingsDir); err == nil {
		if m, r := f.ids(); r != "" {
			t.MeetingID, t.RecordingID = m, r
		}
		_ = f.root.Close()
	}
	what := meeting.HandOver{
		Phase: phase, JibriSession: t.session(), MeetingID: t.MeetingID, RecordingID: t.RecordingID, Detail: detail,
	}
	if phase == meeting.HandOverStored {
		what.Files = t.Files
	}
	return newCaller(s, t.transport).report(ctx, what)
}

// insist does something until it succeeds, is refused for good, or has failed
// for longer than its error deserves. Its error is the last one, or errStopped
// when ctx has ended or when there is a newer worker to try again.
func (t *task) insist(ctx context.Context, what string, do func(context.Context) error) error {
	since, wait, said := time.Now(), firstWait, ""
	for {
		if ctx.Err() != nil {
			return errStopped
		}
		err := do(ctx)
		if err == nil || errors.Is(err, errStopped) {
			return err
		}
		if _, no := errors.AsType[*refusedError](err); no || t.givesUp(err, since) {
			return err
		}
		if err.Error() != said { // once, while it stays the same
			said = err.Error()
			t.log.Warn(what+": will try again", "err", err)
		}
		select {
		case <-time.After(time.Duration(float64(wait) * (1 + jitter*(2*rand.Float64()-1)))):
		case <-t.retired:
			return errStopped
		case <-ctx.Done():
		}
		wait = min(2*wait, maxWait)
	}
}

// givesUp reports whether a failure has gone on for long enough; since is when
// this worker began. Calls to usher are never given up.
func (t *task) givesUp(err error, since time.Time) bool {
	if _, storing := errors.AsType[*storeError](err); !storing {
		return false
	}
	tried := time.Since(since)
	switch {
	case errors.Is(err, errNoFile):
		return tried >= missingTimeout
	case errors.Is(err, errGrowing):
		return tried >= growTimeout
	}
	// Whichever worker it was; after a long outage with some tries of this one.
	return time.Since(t.StoringAt) >= storeTimeout && tried >= missingTimeout
}

// storeError is a failure to hand files over, which does not go on for ever.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// store puts all files where they belong.
func (t *task) store(ctx context.Context, answer meeting.HandOverAnswer) error {
	s, err := t.settings()
	if err != nil {
		return err
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-t.retired:
		return errStopped
	case <-ctx.Done():
		return errStopped
	}
	if t.StoringAt.IsZero() {
		t.StoringAt = time.Now().UTC()
		if err := t.save(); err != nil {
			return &storeError{err}
		}
	}
	if err := t.storeAll(ctx, s, answer); err != nil && ctx.Err() == nil {
		return &storeError{err}
	}
	return ctx.Err()
}

func (t *task) storeAll(ctx context.Context, s Settings, answer meeting.HandOverAnswer) error {
	f, err := openFolder(t.Dir, s.RecordingsDir)
	if errors.Is(err, errNoFile) && len(t.Files) > 0 {
		return nil // all were put elsewhere before
	} else if err != nil {
		return err
	}
	defer f.root.Close()
	names, err := f.media(ctx, t.growInterval)
	if err != nil {
		return err
	}
	if len(names) == 0 && len(t.Files) == 0 {
		return errNoFile
	}
	to, err := t.shelf(s, answer.Destination)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := t.storeOne(ctx, s, f, to, name, answer); err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", name, err))
		}
	}
	if len(failed) == 0 && !to.keeps() {
		f.tidy(t.Dir)
	}
	return errors.Join(failed...)
}

// storeOne puts one file where it belongs, notes that, and only then takes it
// away from where it was.
func (t *task) storeOne(ctx context.Context, s Settings, f *folder, to shelf, name string, answer meeting.HandOverAnswer) error {
	file, err := f.openMedia(name)
	if err != nil {
		return err
	}
	defer file.Close()
	at, err := to.place(ctx, file, stem(answer, name))
	if err != nil {
		return err
	}
	at.Name, at.Dir, at.Recorder = name, f.name, s.Recorder
	at.Size, at.SHA256 = file.info.Size(), file.sha256
	known := slices.ContainsFunc(t.Files, func(k meeting.RecordingFile) bool {
		return k.Name == at.Name && k.SHA256 == at.SHA256 && k.Bucket == at.Bucket && k.Path == at.Path
	})
	if !known {
		at.Duration, at.StoredAt = duration(ctx, file.File), time.Now().UTC()
		t.Files = append(t.Files, at)
		if err := t.save(); err != nil {
			t.Files = t.Files[:len(t.Files)-1]
			return err
		}
	}
	if to.keeps() {
		return nil
	}
	if err := file.unchanged(); err != nil {
		return err
	}
	return f.root.Remove(name)
}
