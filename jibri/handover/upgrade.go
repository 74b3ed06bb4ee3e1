package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A spool of a version without job.json had a folder for each state, with a file
// per session directory that reads like a job. Of two about one directory the
// later one here counts.
var oldFolders = []struct {
	name  string
	state state
}{{"done", done}, {"lost", lost}, {"refused", refused}, {"work", pending}, {"new", pending}}

// oldLock was locked by the one worker of such a version for as long as it
// worked. Workers of today share it, so that the two never work at once.
const oldLock = "lock"

// takeInOld makes jobs of what a version without job.json left in the spool, and
// removes it there. What says nothing that could be done gets the ending .broken.
func (s *Spool) takeInOld() error {
	var problems []error
	for _, old := range oldFolders {
		paths, _ := filepath.Glob(filepath.Join(s.dir, old.name, "[^.]*.json")) // the pattern is right
		for _, path := range paths {
			err := s.takeIn(path, old.state)
			if errors.Is(err, errBroken) {
				err = errors.Join(err, os.Rename(path, path+".broken"))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // another worker took it
				problems = append(problems, fmt.Errorf("%s: %w", path, err))
			}
		}
		_ = os.Remove(filepath.Join(s.dir, old.name)) // when it is empty
	}
	return errors.Join(problems...)
}

// takeIn makes a job of one old file. What was put where before stays known.
func (s *Spool) takeIn(path string, how state) error {
	old, err := readJob(path)
	if err == nil && !strings.HasPrefix(filepath.Base(path), key(old.Dir)+".") {
		err = errBroken
	}
	if err != nil {
		return err
	}
	err = s.change(old.Dir, func(j *job) {
		if len(old.Files) > 0 {
			j.MeetingID, j.RecordingID, j.Files = old.MeetingID, old.RecordingID, old.Files
		}
		if how == pending || j.State != pending { // else it was called for since
			j.Dir, j.State, j.AddedAt, j.SettledAt, j.Detail = old.Dir, how, old.AddedAt, time.Now().UTC(), old.Detail
		}
	})
	if err != nil {
		return err
	}
	return os.Remove(path)
}
