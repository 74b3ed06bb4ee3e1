package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"usher/meeting"
	"usher/storage"
)

const (
	// handOverMin and handOverMax bound the wait between two tries to hand a part
	// over: a hiccup of S3 takes seconds, a full disk until somebody comes.
	handOverMin = 5 * time.Second
	handOverMax = 5 * time.Minute
	// maxManifest bounds what is read of a manifest, in bytes: speaking times of a
	// day of many are some megabytes.
	maxManifest = 64 << 20
)

// Results is where apps get what was recorded.
type Results struct {
	// Store takes the files; nil: they stay in the Recorder's Dir.
	Store storage.Storage
	// Root is the directory that usher serves files from, which Dir is then in.
	Root string
}

// partFolder is what the folders of parts are called.
var partFolder = regexp.MustCompile(`^(rec_[0-9A-HJKMNP-TV-Z]{26})-[0-9]+$`)

// leftParts returns the folders that are in Dir.
func (r *Recorder) leftParts() (parts []string) {
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Error("cannot look for what was recorded before", "dir", r.cfg.Dir, "err", err)
	}
	for _, e := range entries {
		if e.IsDir() && partFolder.MatchString(e.Name()) {
			parts = append(parts, e.Name())
		}
	}
	return parts
}

// handOverLeft hands over what processes before this one have recorded on this
// host and not handed over, one part after the other.
func (r *Recorder) handOverLeft(ctx context.Context, parts []string) {
	for _, part := range parts {
		id := partFolder.FindStringSubmatch(part)[1]
		rec, err := r.cfg.Recording(ctx, id)
		for errors.Is(err, meeting.ErrUnavailable) && pause(ctx, handOverMin) {
			rec, err = r.cfg.Recording(ctx, id)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, meeting.ErrNotFound):
			r.log.Debug("nobody knows what was recorded here", "part", part)
		case err != nil:
			r.log.Error("cannot hand over what was recorded before", "part", part, "err", err)
		case wantsPart(rec, part):
			r.log.Info("handing over what was recorded before", "part", part)
			r.handOver(ctx, rec, part)
		}
	}
}

// wantsPart reports whether the files of a part are awaited, or may come late.
func wantsPart(rec meeting.Recording, part string) bool {
	for _, p := range rec.Parts {
		if p.ID == part {
			return p.State != meeting.PartStored && rec.Deleted.IsZero()
		}
	}
	return false
}

// handOver puts the files of a part where apps can get them, and reports that. It
// tries again until it succeeds or ctx ends.
func (r *Recorder) handOver(ctx context.Context, rec meeting.Recording, part string) {
	log := r.log.With("recording_id", rec.ID, "part", part)
	in := meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: rec, Part: meeting.RecordingPart{ID: part}}
	for wait := handOverMin; ; wait = min(2*wait, handOverMax) {
		var err error
		if err = r.keep(ctx, part, &in); err == nil {
			break
		}
		log.Error("cannot hand over what was recorded, trying again", "err", err, "wait", wait)
		if !pause(ctx, wait) {
			return
		}
	}
	if len(in.Files) == 0 {
		in.Kind = meeting.RecordingPartMissing
	}
	if !r.report(ctx, rec.MeetingID, in) {
		return
	}
	log.Info("what was recorded is handed over", "files", len(in.Files))
	if r.cfg.Results.Store != nil || len(in.Files) == 0 {
		if err := os.RemoveAll(filepath.Join(r.cfg.Dir, part)); err != nil {
			log.Error("cannot remove what is handed over", "err", err)
		}
	}
}

// keep stores the files of a part and reports where they are and who spoke; none, and
// why, when nothing was recorded.
func (r *Recorder) keep(ctx context.Context, part string, in *meeting.RecordingInput) error {
	in.Files = nil
	root, err := os.OpenRoot(filepath.Join(r.cfg.Dir, part))
	if errors.Is(err, fs.ErrNotExist) {
		in.Detail = "its folder is gone from host " + r.cfg.Host
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	m, err := readManifest(root)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && m.End == 0:
		in.Detail = "no bridge has sent anything"
		return nil
	case err != nil:
		return err
	}
	in.Detail, in.Speakers = m.Problem, talkOf([]Manifest{m}).speakers()
	var files []meeting.RecordingFile
	for i := range m.Tracks {
		file, err := r.keepFile(ctx, root, part, m.Tracks[i].File)
		if errors.Is(err, fs.ErrNotExist) || err == nil && file.Size == 0 {
			continue // the disk did not take any of it
		}
		if err != nil {
			return err
		}
		file.Duration = time.Duration(m.Tracks[i].Last) * time.Millisecond
		file.Track = m.Tracks[i].track(part)
		files = append(files, file)
	}
	manifest, err := r.keepFile(ctx, root, part, manifestName)
	if err == nil {
		in.Files = append(files, manifest)
	}
	return err
}

func readManifest(root *os.Root) (m Manifest, err error) {
	file, _, err := storage.OpenPlain(root, manifestName)
	if err != nil {
		return m, err
	}
	defer file.Close()
	return m, json.NewDecoder(io.LimitReader(file, maxManifest)).Decode(&m)
}

// track says for apps whose sound is in the file.
func (t ManifestTrack) track(part string) *meeting.Track {
	return &meeting.Track{
		Part: part, ParticipantID: t.Participant, UserID: t.UserID, Name: t.Name, Endpoints: t.Endpoints,
		FirstMS: t.First, LastMS: t.Last, Encrypted: t.Encrypted,
	}
}

// keepFile stores one file of a part, under the part's name and its own.
func (r *Recorder) keepFile(ctx context.Context, root *os.Root, part, name string) (at meeting.RecordingFile, err error) {
	file, err := storage.OpenFile(root, name)
	if err != nil {
		return at, err
	}
	defer file.Close()
	if r.cfg.Results.Store != nil {
		at, err = r.cfg.Results.Store.Put(ctx, file, part+"/"+strings.TrimSuffix(name, path.Ext(name)))
	} else {
		at.Storage = meeting.StorageFile
		at.Path, err = filepath.Rel(r.cfg.Results.Root, filepath.Join(r.cfg.Dir, part, name))
		if err == nil && !filepath.IsLocal(at.Path) {
			err = fmt.Errorf("%s is not below %s", r.cfg.Dir, r.cfg.Results.Root)
		}
		at.Path = filepath.ToSlash(at.Path)
	}
	at.Name, at.Dir, at.Size, at.SHA256, at.Recorder = name, part, file.Size, file.SHA256, r.cfg.Host
	return at, err
}
