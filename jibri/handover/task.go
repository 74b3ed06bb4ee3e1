package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"usher/config"
	"usher/internal/sleep"
	"usher/meeting"
	"usher/storage"
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

// errLeft ends the work on a job that another worker is to go on with.
var errLeft = errors.New("left to another worker")

// task is the work on one job. What has been done before a worker died is done
// again, which changes nothing.
type task struct {
	*Worker
	job
	log *slog.Logger
}

// run tries until the job is settled, ctx ends or another worker is to try again.
func (t *task) run(ctx context.Context) {
	failed, err := t.handOver(ctx)
	t.State = done
	switch {
	case errors.Is(err, errLeft):
		return
	case err != nil:
		t.State, t.Detail = refused, err.Error()
	case failed != nil:
		t.State, t.Detail = lost, failed.Error()
	}
	t.SettledAt = time.Now().UTC()
	never := func(error) bool { return false }
	switch err := t.retry(never, func(Settings) error { return t.save() }); {
	case err != nil: // left
	case t.State == done:
		t.log.Info("handed over", "files", len(t.Files))
	default:
		t.log.Error("not handed over; the files are where they were", "outcome", t.State, "stored", len(t.Files), "err", t.Detail)
	}
}

// handOver reports that the recording is over, stores the files, and reports what
// came of that: failed says why not all could be stored. err is errRefused or
// errLeft.
func (t *task) handOver(ctx context.Context) (failed, err error) {
	isRefused := func(err error) bool { return errors.Is(err, errRefused) }
	var answer storage.Answer
	err = t.retry(isRefused, func(s Settings) (err error) {
		answer, err = t.report(ctx, s, storage.Report{Phase: storage.PhaseClosed, Attendance: true})
		return err
	})
	if err != nil {
		return nil, err
	}
	failed = t.store(ctx, answer)
	if errors.Is(failed, errLeft) {
		return nil, failed
	}
	outcome := storage.Report{Phase: storage.PhaseStored, Files: t.Files}
	if failed != nil && len(t.Files) == 0 {
		outcome = storage.Report{Phase: storage.PhaseLost, Detail: failed.Error()}
	}
	return failed, t.retry(isRefused, func(s Settings) error {
		_, err := t.report(ctx, s, outcome)
		return err
	})
}

// retry tries until that works or is final, each time with the settings as they
// are then; wrong ones are waited for. It returns nil, the final error, or errLeft.
func (t *task) retry(final func(error) bool, try func(Settings) error) error {
	logged := ""
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		s, wrong := t.settings()
		err := wrong
		if wrong == nil {
			err = try(s)
		}
		switch {
		case err == nil:
			return nil
		case t.again.Err() != nil:
			return errLeft
		case wrong == nil && final(err):
			return err
		case err.Error() != logged: // once, while it stays the same
			logged = err.Error()
			t.log.Warn("hand over: will try again", "err", err)
		}
		if !sleep.For(t.again, time.Duration(float64(wait)*(1+jitter*(2*rand.Float64()-1)))) {
			return errLeft
		}
	}
}

// save stores what this worker knows of the job. When the hook was called again
// since the work began, the job stays to be done.
func (t *task) save() error {
	return t.spool.change(t.Dir, func(stored *job) bool {
		if stored.Dir == "" || stored.AddedAt.Equal(t.AddedAt) {
			*stored = t.job
		}
		stored.MeetingID, stored.RecordingID, stored.Files, stored.Attendance = t.MeetingID, t.RecordingID, t.Files, t.Attendance
		return true
	})
}

// report makes one call to usher.
func (t *task) report(ctx context.Context, s Settings, what storage.Report) (storage.Answer, error) {
	if root, err := openFolder(t.Dir, s.RecordingsDir); err == nil {
		if m, r := ids(root); r != "" {
			t.MeetingID, t.RecordingID = m, r
		}
		_ = root.Close()
	}
	what.JibriSession, what.MeetingID, what.RecordingID = filepath.Base(t.Dir), t.MeetingID, t.RecordingID
	return call(ctx, s, t.transport, what)
}

// store puts all files where they belong, each time once there is a slot for
// that. It returns why not all are there, or errLeft.
func (t *task) store(ctx context.Context, answer storage.Answer) error {
	var since time.Time // when this worker began to
	return t.retry(func(err error) bool { return t.givesUp(err, time.Since(since)) }, func(s Settings) error {
		if err := t.slots.Acquire(t.again, 1); err != nil {
			return err
		}
		defer t.slots.Release(1)
		if since.IsZero() {
			since = time.Now()
		}
		if t.StoringAt.IsZero() {
			t.StoringAt = time.Now().UTC()
			if err := t.save(); err != nil {
				return err
			}
		}
		return t.storeAll(ctx, s, answer)
	})
}

// givesUp reports whether storing has failed for long enough, tried of that in
// this worker.
func (t *task) givesUp(err error, tried time.Duration) bool {
	switch {
	case errors.Is(err, errNoFile):
		return tried >= missingTimeout
	case errors.Is(err, storage.ErrChanged):
		return tried >= growTimeout
	}
	// Whichever worker it was; after a long outage with some tries of this one.
	return time.Since(t.StoringAt) >= storeTimeout && tried >= missingTimeout
}

func (t *task) storeAll(ctx context.Context, s Settings, answer storage.Answer) error {
	root, err := openFolder(t.Dir, s.RecordingsDir)
	if errors.Is(err, errNoFile) && len(t.Files) > 0 {
		return nil // all were put elsewhere before
	} else if err != nil {
		return err
	}
	defer root.Close()
	names, err := media(ctx, root, t.growInterval)
	if err != nil {
		return err
	}
	if len(names) == 0 && len(t.Files) == 0 {
		return errNoFile
	}
	to, err := t.storage(s, answer.Destination)
	if err != nil {
		return err
	}
	var failed []error
	if len(names) > 0 && len(answer.Attendance) > 0 {
		t.storeAttendance(ctx, root, to, answer.Attendance, stem(answer, names[0]))
	}
	for _, name := range names {
		if err := t.storeOne(ctx, s, root, to, name, stem(answer, name)); err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", name, err))
		}
	}
	if len(failed) == 0 && to != nil {
		tidy(root, t.Dir)
	}
	return errors.Join(failed...)
}

// newStorage returns where files go: to the destination that usher names, else
// where the settings say. It is nil when they stay.
func newStorage(s Settings, to *meeting.Destination) (storage.Storage, error) {
	switch {
	case to != nil:
		bucket, folder, _ := strings.Cut(strings.TrimRight(to.Bucket, "/"), "/")
		if folder != "" {
			folder += "/"
		}
		return storage.NewS3(config.S3{
			Endpoint: to.Endpoint, Region: to.Region, AccessKey: to.AccessKey, SecretKey: config.Secret(to.SecretKey),
		}, bucket, folder)
	case s.HandOver == S3:
		return storage.NewS3(s.S3.S3, s.S3.Bucket, s.S3.Prefix)
	case s.HandOver == Move:
		return storage.Folder(s.TargetDir), nil
	}
	return nil, nil
}

// storeOne puts one file where it belongs, notes that, and only then takes it
// away from where it was. Its name there begins with stem, if it gets a new one.
func (t *task) storeOne(ctx context.Context, s Settings, root *os.Root, to storage.Storage, name, stem string) error {
	file, err := storage.OpenFile(root, name)
	if err != nil {
		return err
	}
	defer file.Close()
	at := meeting.RecordingFile{Storage: meeting.StorageFile, Path: file.Dir + "/" + name}
	if to != nil {
		at, err = to.Put(ctx, file, stem)
	} else {
		err = file.Sync()
	}
	if err != nil {
		return err
	}
	at.Name, at.Dir, at.Recorder = name, file.Dir, s.Recorder
	at.Size, at.SHA256, at.Attendance = file.Size, file.SHA256, t.Attendance
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
	if to == nil {
		return nil
	}
	if err := file.Unchanged(); err != nil {
		return err
	}
	return root.Remove(name)
}
