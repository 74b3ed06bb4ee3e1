package handover

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"usher/meeting"
	"usher/storage"
)

const (
	// doneRetention is how long the spool remembers where it has put files: a hook
	// that is called again for a directory then reports that, instead of that it
	// is empty.
	doneRetention = 30 * 24 * time.Hour
	// maxJob is the most of a job that is read, in bytes; one with a hundred files
	// has some 40 kB.
	maxJob = 1 << 20
)

// Files of a spool, besides a folder with a job.json for each session.
const (
	jobFile    = "job.json"
	lockFile   = "jobs.lock"     // locked while a job is changed
	workerFile = "newest-worker" // replaced by every worker that starts
	logFile    = "finalize.log"
)

// state is how a job stands.
type state string

const (
	pending state = "pending" // to be done
	done    state = "done"    // usher knows where the files are
	lost    state = "lost"    // usher knows that there will be none
	refused state = "refused" // usher does not want them; they are where they were
)

// job is what the spool knows of one session directory: its job.json.
type job struct {
	Dir         string                  `json:"dir"` // absolute
	State       state                   `json:"state"`
	AddedAt     time.Time               `json:"added_at"`            // by the last call of the hook
	StoringAt   time.Time               `json:"storing_at,omitzero"` // since when storing has been tried
	SettledAt   time.Time               `json:"settled_at,omitzero"`
	MeetingID   string                  `json:"meeting_id,omitempty"`
	RecordingID string                  `json:"recording_id,omitempty"`
	Files       []meeting.RecordingFile `json:"files,omitempty"`      // put where they belong
	Attendance  string                  `json:"attendance,omitempty"` // path of what says who was there
	Detail      string                  `json:"detail,omitempty"`     // why it is lost or refused
}

// Spool is a directory with what is still to be done. Several processes may use
// it at the same time.
type Spool struct{ dir string }

// OpenSpool makes the directory if it is not there.
func OpenSpool(dir string) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	return &Spool{dir}, nil
}

// Add notes a session directory. When it returns, the note survives the loss of
// power. The directory itself is not looked at. What is known of one that was
// handed over before stays known.
func (s *Spool) Add(dir string) error {
	if err := checkName(dir); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return s.change(dir, func(j *job) bool {
		*j = job{
			Dir: dir, State: pending, AddedAt: time.Now().UTC(),
			MeetingID: j.MeetingID, RecordingID: j.RecordingID, Files: j.Files, Attendance: j.Attendance,
		}
		return true
	})
}

// checkName refuses what no session directory of Jibri is called.
func checkName(dir string) error {
	if slices.Contains(strings.Split(dir, "/"), "..") {
		return fmt.Errorf("%q is no session directory: it has .. in it", dir)
	}
	if strings.ContainsRune(dir, 0) || !storage.SessionName.MatchString(filepath.Base(dir)) {
		return fmt.Errorf("%q is no session directory: its name may have A-Z a-z 0-9 . _ - only", dir)
	}
	return nil
}

// key is the name of a directory's folder in the spool: that of the session, and
// something that keeps directories of the same name in different places apart.
func key(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Base(dir) + "." + hex.EncodeToString(sum[:6])
}

// change has the job of a directory changed and stores it, whole or not at all,
// so that it stays; or forgets it, if change returns false. Processes do so one
// after the other. A job that cannot be read is set aside for a person to see.
func (s *Spool) change(dir string, change func(*job) (keep bool)) error {
	lock, err := lock(filepath.Join(s.dir, lockFile), os.O_CREATE|os.O_RDWR, syscall.LOCK_EX)
	if err != nil {
		return fmt.Errorf("lock the spool: %w", err)
	}
	defer lock.Close()
	folder := filepath.Join(s.dir, key(dir))
	path := filepath.Join(folder, jobFile)
	j, err := s.read(key(dir))
	if errors.Is(err, errBroken) {
		err = os.Rename(path, path+".broken")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !change(&j) {
		return os.RemoveAll(folder)
	}
	text, err := json.Marshal(j)
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err == nil {
		err = replace(path, text)
	}
	if err == nil {
		err = errors.Join(syncDir(folder), syncDir(s.dir))
	}
	if err != nil {
		return fmt.Errorf("write to the spool: %w", err)
	}
	return nil
}

// replace gives a file another content, or leaves it as it is. Whoever calls it
// sees to it that nobody else does at the same time.
func replace(path string, text []byte) error {
	part := path + ".part" // that of a process that was killed is overwritten
	file, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// syncDir makes new names in a directory survive the loss of power.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// errBroken says that a file of the spool does not hold what it should.
var errBroken = errors.New("it is broken")

// read returns a job; [fs.ErrNotExist] when there is none, errBroken when it
// says nothing that could be done.
func (s *Spool) read(name string) (j job, err error) {
	path := filepath.Join(s.dir, name, jobFile)
	info, err := os.Lstat(path)
	var text []byte
	if err == nil && info.Mode().IsRegular() && info.Size() <= maxJob {
		text, err = os.ReadFile(path)
	}
	if err == nil && (json.Unmarshal(text, &j) != nil || checkName(j.Dir) != nil || !filepath.IsAbs(j.Dir) ||
		key(j.Dir) != name || !slices.Contains([]state{pending, done, lost, refused}, j.State)) {
		err = errBroken
	}
	if err != nil {
		return job{}, fmt.Errorf("read the job %s: %w", name, err)
	}
	return j, nil
}

// jobs returns all that can be read, oldest first, and what is wrong with the
// others.
func (s *Spool) jobs() (jobs []job, err error) {
	folders, err := os.ReadDir(s.dir)
	problems := []error{err}
	for _, f := range folders {
		j, err := s.read(f.Name())
		switch {
		case err == nil:
			jobs = append(jobs, j)
		case f.IsDir() && !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, err)
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Or(a.AddedAt.Compare(b.AddedAt), strings.Compare(a.Dir, b.Dir)) })
	return jobs, errors.Join(problems...)
}

// takeOver makes whoever calls it the newest worker, for as long as the file is
// the one that has the name workerFile.
func (s *Spool) takeOver() (*os.File, error) {
	file, err := os.CreateTemp(s.dir, ".worker-*")
	if err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), filepath.Join(s.dir, workerFile)); err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()), file.Close())
	}
	return file, nil
}

// isNewest reports whether no other worker has taken over since.
func (s *Spool) isNewest(worker *os.File) bool {
	newest, err := os.Stat(filepath.Join(s.dir, workerFile))
	own, err2 := worker.Stat()
	return err != nil || err2 != nil || os.SameFile(newest, own)
}

// lock takes a job for whoever calls it; [syscall.EWOULDBLOCK] when somebody has
// it.
func (s *Spool) lock(name string) (*os.File, error) {
	return lock(filepath.Join(s.dir, name), os.O_RDONLY, syscall.LOCK_EX|syscall.LOCK_NB)
}

// lock locks a file or directory until what it returns is closed, by whatever
// end of the process.
func lock(path string, open, how int) (*os.File, error) {
	file, err := os.OpenFile(path, open, 0o600)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(file.Fd()), how)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
