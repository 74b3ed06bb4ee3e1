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

	// storePatience is how long storing is tried before the file is given up: a
	// full disk or a wrong key is seen to within a day.
	storePatience = 24 * time.Hour
	// missingPatience is how long a directory that is not there, or has no file,
	// is looked for: a share may be mounted a little later.
	missingPatience = time.Minute
	// growPatience is how long a file may grow. Jibri's is finished before its
	// hook is called.
	growPatience = 10 * time.Minute
	// callPatience: usher is told whenever it can be.
	callPatience = time.Duration(1<<63 - 1)
)

// course is the way of one session directory through the hand-over.
type course struct {
	*Worker
	entry
	log *slog.Logger
}

// run works until the entry is settled or ctx ends. What has been done before a
// worker died is done again, which changes nothing.
func (c *course) run(ctx context.Context) {
	if f, err := openFolder(c.Dir, c.cfg.RecordingsDir); err == nil {
		if m, r := f.ids(); r != "" {
			c.MeetingID, c.RecordingID = m, r
		}
		_ = f.root.Close()
	}
	var answer meeting.HandOverAnswer
	err := c.insist(ctx, "tell usher that a recording is over", func(ctx context.Context) (err error) {
		answer, err = c.tell(ctx, meeting.HandOverClosed, "")
		return err
	})
	if err == nil {
		err = c.insist(ctx, "hand files over", func(ctx context.Context) error { return c.store(ctx, answer) })
	}
	if _, no := errors.AsType[*refusedError](err); !no && ctx.Err() == nil {
		c.finish(ctx, err)
		return
	}
	c.settle(ctx, refused, err)
}

// finish tells usher what came of storing.
func (c *course) finish(ctx context.Context, failed error) {
	phase, detail, folder := meeting.HandOverStored, "", done
	if failed != nil {
		folder = lost
		if len(c.Files) == 0 {
			phase, detail = meeting.HandOverLost, failed.Error()
		}
	}
	err := c.insist(ctx, "tell usher what became of a recording", func(ctx context.Context) error {
		_, err := c.tell(ctx, phase, detail)
		return err
	})
	if err != nil {
		folder, failed = refused, err
	}
	c.settle(ctx, folder, failed)
}

// settle puts the entry where it stays. Nothing happens once ctx has ended: the
// next worker goes on.
func (c *course) settle(ctx context.Context, folder string, why error) {
	if why != nil {
		c.Detail = why.Error()
	}
	err := c.insist(ctx, "settle an entry", func(context.Context) error { return c.spool.settle(c.entry, folder) })
	switch {
	case err != nil:
	case folder == done:
		c.log.Info("handed over", "files", len(c.Files))
	default:
		c.log.Error("not handed over; the files are where they were", "outcome", folder, "stored", len(c.Files), "err", why)
	}
}

func (c *course) tell(ctx context.Context, phase meeting.HandOverPhase, detail string) (meeting.HandOverAnswer, error) {
	what := meeting.HandOver{
		Phase: phase, JibriSession: c.session(), MeetingID: c.MeetingID, RecordingID: c.RecordingID, Detail: detail,
	}
	if phase == meeting.HandOverStored {
		what.Files = c.Files
	}
	return c.call.tell(ctx, what)
}

// insist does something until it succeeds, is refused for good, or has failed
// for longer than its error deserves. Its error is the last one, or that of
// ctx.
func (c *course) insist(ctx context.Context, what string, do func(context.Context) error) error {
	since, wait, said := time.Now(), firstWait, ""
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := do(ctx)
		if err == nil {
			return nil
		}
		if _, no := errors.AsType[*refusedError](err); no || time.Since(since) >= patience(err) {
			return err
		}
		if err.Error() != said { // once, while it stays the same
			said = err.Error()
			c.log.Warn(what+": will try again", "err", err)
		}
		select {
		case <-time.After(time.Duration(float64(wait) * (1 + jitter*(2*rand.Float64()-1)))):
		case <-ctx.Done():
		}
		wait = min(2*wait, maxWait)
	}
}

// patience is for how long an error may go on.
func patience(err error) time.Duration {
	if _, ours := errors.AsType[*storeError](err); !ours {
		return callPatience
	}
	switch {
	case errors.Is(err, errNoFile):
		return missingPatience
	case errors.Is(err, errGrowing):
		return growPatience
	}
	return storePatience
}

// storeError is a failure to hand files over, which does not go on for ever.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// store puts all files where they belong.
func (c *course) store(ctx context.Context, answer meeting.HandOverAnswer) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := c.storeAll(ctx, answer); err != nil {
		return &storeError{err}
	}
	return nil
}

func (c *course) storeAll(ctx context.Context, answer meeting.HandOverAnswer) error {
	f, err := openFolder(c.Dir, c.cfg.RecordingsDir)
	if errors.Is(err, errNoFile) && len(c.Files) > 0 {
		return nil // all were put elsewhere before
	} else if err != nil {
		return err
	}
	defer f.root.Close()
	names, err := f.media(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 && len(c.Files) == 0 {
		return errNoFile
	}
	to, err := c.shelf(answer.Destination)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := c.storeOne(ctx, f, to, name, answer); err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", name, err))
		}
	}
	if len(failed) == 0 && !to.keeps() {
		f.tidy(c.Dir)
	}
	return errors.Join(failed...)
}

// storeOne puts one file where it belongs, notes that, and only then takes it
// away from where it was.
func (c *course) storeOne(ctx context.Context, f *folder, to shelf, name string, answer meeting.HandOverAnswer) error {
	file, err := f.openMedia(name)
	if err != nil {
		return err
	}
	defer file.Close()
	at, err := to.place(ctx, file, stem(answer, name))
	if err != nil {
		return err
	}
	at.Name, at.Dir, at.Recorder = name, f.name, c.cfg.Recorder
	at.Size, at.SHA256 = file.info.Size(), file.sha256
	known := slices.ContainsFunc(c.Files, func(k meeting.RecordingFile) bool {
		return k.Name == at.Name && k.SHA256 == at.SHA256 && k.Bucket == at.Bucket && k.Path == at.Path
	})
	if !known {
		at.Duration, at.StoredAt = duration(ctx, file.File), time.Now().UTC()
		c.Files = append(c.Files, at)
		if err := c.spool.write(work, key(c.Dir), c.entry); err != nil {
			c.Files = c.Files[:len(c.Files)-1]
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
