package handover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"usher/meeting"
)

// Folders of a spool. A hook only adds to inbox, the worker alone changes the
// others.
const (
	inbox   = "new"
	work    = "work"
	done    = "done"    // usher knows where the files are
	lost    = "lost"    // usher knows that there will be none
	refused = "refused" // usher does not want them; they are where they were
)

// keepDone is how long the spool remembers where it has put files: a hook that
// is called again for a directory then tells that, instead of that it is empty.
const keepDone = 30 * 24 * time.Hour

// maxEntry is the most of an entry that is read, in bytes; one with a hundred
// files has some 40 kB.
const maxEntry = 1 << 20

// session is what session directories are called: Jibri makes a name of the
// focus's session id, which is letters and digits.
var session = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// Spool is a directory with what is still to be done.
type Spool struct{ dir string }

// entry is what the spool knows of one session directory.
type entry struct {
	Dir         string                  `json:"dir"` // absolute
	AddedAt     time.Time               `json:"added_at"`
	MeetingID   string                  `json:"meeting_id,omitempty"`
	RecordingID string                  `json:"recording_id,omitempty"`
	Files       []meeting.RecordingFile `json:"files,omitempty"`  // put where they belong
	Detail      string                  `json:"detail,omitempty"` // why it is lost or refused
}

// session returns the name of the directory, which is Jibri's id.
func (e entry) session() string { return filepath.Base(e.Dir) }

// OpenSpool makes the directory if it is not there.
func OpenSpool(dir string) (*Spool, error) {
	for _, folder := range []string{inbox, work, done, lost, refused} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("make the spool: %w", err)
		}
	}
	return &Spool{dir}, nil
}

// Add notes a session directory. When it returns, the note survives the loss of
// power. The directory itself is not looked at.
func (s *Spool) Add(dir string) error {
	if err := checkName(dir); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	e := entry{Dir: dir, AddedAt: time.Now().UTC()}
	return s.write(inbox, fmt.Sprintf("%s.%d", key(dir), time.Now().UnixNano()), e)
}

// checkName refuses what no session directory of Jibri is called.
func checkName(dir string) error {
	for part := range strings.SplitSeq(dir, "/") {
		if part == ".." {
			return fmt.Errorf("%q is no session directory: it has .. in it", dir)
		}
	}
	if strings.ContainsRune(dir, 0) || !session.MatchString(filepath.Base(dir)) {
		return fmt.Errorf("%q is no session directory: its name may have A-Z a-z 0-9 . _ - only", dir)
	}
	return nil
}

// key is the name of a directory's entry: that of the session, and something
// that tells directories of the same name in different places apart.
func key(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Base(dir) + "." + hex.EncodeToString(sum[:6])
}

// write stores an entry so that it is there whole or not at all, and stays.
func (s *Spool) write(folder, name string, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	folder = filepath.Join(s.dir, folder)
	file, err := os.CreateTemp(folder, ".part-*")
	if err != nil {
		return fmt.Errorf("write to the spool: %w", err)
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(folder, name+".json"))
	}
	if err == nil {
		return syncFolder(folder)
	}
	_ = os.Remove(file.Name())
	return fmt.Errorf("write to the spool: %w", err)
}

// syncFolder makes new names in a folder survive the loss of power.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// read returns an entry; [fs.ErrNotExist] when there is none.
func (s *Spool) read(folder, name string) (entry, error) {
	path := filepath.Join(s.dir, folder, name+".json")
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return entry{}, fmt.Errorf("%s is no entry of a spool", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return entry{}, err
	}
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return entry{}, fmt.Errorf("read %s: %w", path, err)
	}
	if err := checkName(e.Dir); err != nil || !filepath.IsAbs(e.Dir) || !strings.HasPrefix(name, key(e.Dir)) {
		return entry{}, fmt.Errorf("%s is not about the directory that it names", path)
	}
	return e, nil
}

// names returns the entries of a folder, oldest name first.
func (s *Spool) names(folder string) ([]string, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

// remove forgets an entry.
func (s *Spool) remove(folder, name string) error {
	return os.Remove(filepath.Join(s.dir, folder, name+".json"))
}

// settle moves the entry of a directory out of the work.
func (s *Spool) settle(e entry, folder string) error {
	name := key(e.Dir)
	if err := s.write(folder, name, e); err != nil {
		return err
	}
	return s.remove(work, name)
}

// setAside puts what is no entry where a person will find it.
func (s *Spool) setAside(folder, name string) error {
	return os.Rename(filepath.Join(s.dir, folder, name+".json"), filepath.Join(s.dir, refused, name+".broken"))
}

// takeIn turns the notes of hooks into entries to work off, but for directories
// that are being worked on: those wait. What was put where before stays known.
func (s *Spool) takeIn(busy map[string]bool) error {
	names, err := s.names(inbox)
	if err != nil {
		return err
	}
	var broken []error
	for _, name := range names {
		e, err := s.read(inbox, name)
		if err != nil {
			broken = append(broken, err, s.setAside(inbox, name))
			continue
		}
		k := key(e.Dir)
		if busy[k] {
			continue
		}
		for _, folder := range []string{work, done, lost, refused} {
			if before, err := s.read(folder, k); err == nil {
				e.Files, e.MeetingID, e.RecordingID = before.Files, before.MeetingID, before.RecordingID
				break
			}
		}
		if err := s.write(work, k, e); err != nil {
			return err
		}
		if err := s.remove(inbox, name); err != nil {
			return err
		}
		for _, folder := range []string{done, lost, refused} {
			_ = s.remove(folder, k) // not there, usually
		}
	}
	return errors.Join(broken...)
}

// forget drops what was done long ago.
func (s *Spool) forget(now time.Time) {
	names, err := s.names(done)
	if err != nil {
		return
	}
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(s.dir, done, name+".json"))
		if err == nil && now.Sub(info.ModTime()) > keepDone {
			_ = s.remove(done, name)
		}
	}
}

// Pending reports whether something is to be done.
func (s *Spool) Pending() (bool, error) {
	for _, folder := range []string{inbox, work} {
		if names, err := s.names(folder); err != nil || len(names) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// lock takes the spool for this process; ok is false when another has it. It is
// free again when the file is closed, by whatever end of the process.
func (s *Spool) lock() (file *os.File, ok bool, err error) {
	file, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("lock the spool: %w", err)
	}
	return file, true, nil
}
