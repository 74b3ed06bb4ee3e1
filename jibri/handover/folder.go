package handover

import (
	"context"
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
	"time"

	"usher/internal/sleep"
	"usher/storage"
)

const (
	// maxMetadata is the most of metadata.json that is read, in bytes. Jibri
	// lists the participants that have a token there, some 300 bytes each.
	maxMetadata = 1 << 20
	// growInterval is the time between two looks that tell whether a file still
	// grows: ffmpeg writes several times a second.
	growInterval = time.Second
)

// errNoFile says that a session directory has no recording; a later look may
// find one.
var errNoFile = errors.New("there is no recording in the session directory")

// extensions are those of the files that are handed over. Jibri writes mp4
// unless it is configured otherwise.
var extensions = []string{".mp4", ".mkv", ".webm"}

// ourID is the form of usher's ids: a prefix and a ULID.
var ourID = regexp.MustCompile(`^[a-z]{3}_[0-9A-Za-z]{1,60}$`)

// openFolder opens a session directory, which must lie directly in recordings
// unless that is empty. Nothing outside it can be reached through it. One that is
// not there is errNoFile.
func openFolder(dir, recordings string) (*os.Root, error) {
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
	return above.OpenRoot(name)
}

// ids returns what metadata.json says of usher's ids, nothing if it does not.
// They are a hint: usher ties a directory to a recording by the session's id.
func ids(root *os.Root) (meetingID, recordingID string) {
	file, _, err := storage.OpenPlain(root, "metadata.json")
	if err != nil {
		return "", ""
	}
	defer file.Close()
	var m struct {
		Usher struct {
			MeetingID   string `json:"meeting_id"`
			RecordingID string `json:"recording_id"`
		} `json:"usher"`
	}
	text, err := io.ReadAll(io.LimitReader(file, maxMetadata)) // one that is longer is no JSON then
	if err != nil || json.Unmarshal(text, &m) != nil || !ourID.MatchString(m.Usher.MeetingID) || !ourID.MatchString(m.Usher.RecordingID) {
		return "", ""
	}
	return m.Usher.MeetingID, m.Usher.RecordingID
}

// media returns the names of the files to hand over, in order, once they have
// stopped to grow for that long.
func media(ctx context.Context, root *os.Root, interval time.Duration) ([]string, error) {
	before, err := look(root)
	if err != nil {
		return nil, err
	}
	if !sleep.For(ctx, interval) {
		return nil, context.Cause(ctx)
	}
	after, err := look(root)
	if err != nil {
		return nil, err
	}
	if len(after) > storage.MaxFiles {
		return nil, fmt.Errorf("the session directory has %d files, more than %d", len(after), storage.MaxFiles)
	}
	var names []string
	for _, now := range after {
		names = append(names, now.Name())
	}
	if !slices.EqualFunc(before, after, func(a, b fs.FileInfo) bool {
		return a.Name() == b.Name() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	}) {
		return nil, fmt.Errorf("%w: one of %q", storage.ErrChanged, names)
	}
	return names, nil
}

// look returns the files that may be handed over, by name.
func look(root *os.Root) (found []fs.FileInfo, err error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if !slices.Contains(extensions, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		if info, err := root.Lstat(e.Name()); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			found = append(found, info)
		}
	}
	return found, err
}

// tidy removes the directory when nothing but metadata.json and attendanceFile is left
// in it.
func tidy(root *os.Root, dir string) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "metadata.json" && e.Name() != attendanceFile }) {
		return
	}
	_ = root.Remove("metadata.json")
	_ = root.Remove(attendanceFile)
	_ = os.Remove(dir) // fails when something has come into it
}
