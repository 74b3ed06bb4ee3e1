package handover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// maxMetadata is the most of metadata.json that is read, in bytes. Jibri
	// lists the participants that have a token there, some 300 bytes each.
	maxMetadata = 1 << 20
	// maxFiles is the most files that one directory may have: Jibri writes one,
	// and one more for each time it is started again for the session.
	maxFiles = 100
	// growInterval is the time between two looks that tell whether a file still
	// grows: ffmpeg writes several times a second.
	growInterval = time.Second
)

// Errors that a later look may find gone.
var (
	errNoFile  = errors.New("there is no recording in the session directory")
	errGrowing = errors.New("the file still grows")
)

// extensions are those of the files that are handed over. Jibri writes mp4
// unless it was told otherwise.
var extensions = []string{".mp4", ".mkv", ".webm"}

// ourID is the form of usher's ids: a prefix and a ULID.
var ourID = regexp.MustCompile(`^[a-z]{3}_[0-9A-Za-z]{1,60}$`)

// folder is an open session directory. Nothing outside it can be reached
// through it.
type folder struct {
	root *os.Root
	name string
}

// openFolder opens a session directory, which must lie directly in recordings
// unless that is empty. One that is not there is errNoFile.
func openFolder(dir, recordings string) (*folder, error) {
	if err := checkName(dir); err != nil {
		return nil, err
	}
	parent, name := filepath.Split(filepath.Clean(dir))
	if recordings != "" {
		// The same directory may have two names.
		want, err := os.Stat(recordings)
		if err != nil {
			return nil, fmt.Errorf("look at recordings-dir: %w", err)
		}
		if got, err := os.Stat(parent); err != nil || !os.SameFile(got, want) {
			return nil, fmt.Errorf("%s is not in recordings-dir %s", dir, recordings)
		}
	}
	above, err := os.OpenRoot(parent)
	if err != nil {
		return nil, fmt.Errorf("open the recordings' directory: %w", err)
	}
	defer above.Close()
	info, err := above.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the directory is gone", errNoFile)
	} else if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	root, err := above.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		_ = root.Close()
		return nil, fmt.Errorf("%s changed while it was opened", dir)
	}
	return &folder{root, name}, nil
}

// open opens a plain file, and nothing else.
func (f *folder) open(name string) (*os.File, fs.FileInfo, error) {
	seen, err := f.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%q is not a plain file", name)
	}
	// Without O_NONBLOCK a pipe that has just taken its place would block.
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil || !os.SameFile(seen, info) {
		_ = file.Close()
		return nil, nil, fmt.Errorf("%q changed while it was opened", name)
	}
	return file, info, nil
}

// ids returns what metadata.json says of usher's ids, nothing if it does not.
// They are a hint: usher ties a directory to a recording by the session's id.
func (f *folder) ids() (meetingID, recordingID string) {
	file, info, err := f.open("metadata.json")
	if err != nil {
		return "", ""
	}
	defer file.Close()
	if info.Size() > maxMetadata {
		return "", ""
	}
	text, err := io.ReadAll(io.LimitReader(file, maxMetadata))
	if err != nil {
		return "", ""
	}
	var m struct {
		Usher struct {
			MeetingID   string `json:"meeting_id"`
			RecordingID string `json:"recording_id"`
		} `json:"usher"`
	}
	if json.Unmarshal(text, &m) != nil || !ourID.MatchString(m.Usher.MeetingID) || !ourID.MatchString(m.Usher.RecordingID) {
		return "", ""
	}
	return m.Usher.MeetingID, m.Usher.RecordingID
}

// media returns the names of the files to hand over, in order, once they have
// stopped to grow for that long.
func (f *folder) media(ctx context.Context, interval time.Duration) ([]string, error) {
	before, err := f.look()
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(interval):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, err := f.look()
	if err != nil {
		return nil, err
	}
	var names []string
	for name, now := range after {
		if was, ok := before[name]; !ok || was.Size() != now.Size() || !was.ModTime().Equal(now.ModTime()) {
			return nil, fmt.Errorf("%w: %q", errGrowing, name)
		}
		names = append(names, name)
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("the session directory has %d files, more than %d", len(names), maxFiles)
	}
	slices.Sort(names)
	return names, nil
}

// look returns the files that may be handed over.
func (f *folder) look() (map[string]fs.FileInfo, error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the session directory: %w", err)
	}
	found := map[string]fs.FileInfo{}
	for _, e := range entries {
		if !slices.Contains(extensions, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		info, err := f.root.Lstat(e.Name())
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			found[e.Name()] = info
		}
	}
	return found, nil
}

// tidy removes the directory when nothing but metadata.json is left in it.
func (f *folder) tidy(dir string) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "metadata.json" {
		return
	}
	_ = f.root.Remove("metadata.json")
	_ = os.Remove(dir) // fails when something has come into it
}

// mediaFile is an open file that is to be handed over.
type mediaFile struct {
	*os.File
	folder *folder
	name   string
	info   fs.FileInfo
	sha256 string // hex
}

// openMedia opens a file and reads all of it for its checksum.
func (f *folder) openMedia(name string) (*mediaFile, error) {
	file, info, err := f.open(name)
	if err != nil {
		return nil, err
	}
	m := &mediaFile{File: file, folder: f, name: name, info: info}
	m.sha256, err = checksum(file)
	if err == nil {
		err = m.unchanged()
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return m, nil
}

// unchanged reports whether the file is still the one that was opened, of the
// same size and age.
func (m *mediaFile) unchanged() error {
	now, err := m.Stat()
	if err != nil {
		return err
	}
	if now.Size() != m.info.Size() || !now.ModTime().Equal(m.info.ModTime()) {
		return errGrowing
	}
	return nil
}

// checksum reads a file from its beginning.
func checksum(file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
