package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"usher/internal/sleep"
	"usher/meeting"
	"usher/storage"
)

const (
	// handOverMin and handOverMax bound the wait between two tries to hand a part
	// over: a hiccup of S3 takes seconds, a full disk until somebody comes.
	handOverMin = 5 * time.Second
	handOverMax = 5 * time.Minute
	// maxHandOvers bounds the parts that are handed over at the same time: all read
	// the same disk and share the way to the storage.
	maxHandOvers = 4
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

// handOver puts the files of a part where apps can get them, and reports that. It
// tries again until it succeeds or ctx ends.
func (r *Recorder) handOver(ctx context.Context, recording, part string) {
	log := r.log.With("recording_id", recording, "part", part)
	for wait := handOverMin; ; wait = min(2*wait, handOverMax) {
		err := r.tryHandOver(ctx, recording, part, log)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			log.Error("cannot hand over what was recorded, trying again", "err", err, "wait", wait)
		}
		if !sleep.For(ctx, wait) {
			return
		}
	}
}

// tryHandOver does so once. The recording is read anew for that: meanwhile an app may
// have deleted it, and a recording that is over is reported about as it is now.
func (r *Recorder) tryHandOver(ctx context.Context, recording, part string, log *slog.Logger) error {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rec, err := r.cfg.Recording(ctx, recording)
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		log.Debug("nobody knows what was recorded here")
		return nil
	case err != nil:
		return err
	case !rec.Deleted.IsZero():
		log.Info("a deleted recording is not handed over")
		return r.removePart(part)
	case !wantsPart(rec, part):
		return nil
	}
	in := meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: rec, Part: meeting.RecordingPart{ID: part}}
	over, err := r.keep(ctx, part, &in)
	if err != nil {
		return err
	}
	if len(in.Files) == 0 {
		in.Kind = meeting.RecordingPartMissing
	}
	if err := r.report(ctx, rec.MeetingID, in); err != nil {
		if errors.Is(err, meeting.ErrNotWanted) { // deleted just now
			return errors.Join(r.takeBack(ctx, in.Files), r.removePart(part))
		}
		return err
	}
	log.Info("what was recorded is handed over", "files", len(in.Files), "detail", in.Detail)
	if over {
		return r.removePart(part)
	}
	return nil
}

// wantsPart reports whether the files of a part are awaited, or may come late.
func wantsPart(rec meeting.Recording, part string) bool {
	return slices.ContainsFunc(rec.Parts, func(p meeting.RecordingPart) bool {
		return p.ID == part && p.State != meeting.PartStored
	})
}

func (r *Recorder) removePart(part string) error { return os.RemoveAll(filepath.Join(r.cfg.Dir, part)) }

// takeBack removes files that were stored.
func (r *Recorder) takeBack(ctx context.Context, files []meeting.RecordingFile) (err error) {
	if r.cfg.Results.Store == nil {
		return nil // they are where they were recorded
	}
	for _, f := range files {
		err = errors.Join(err, r.cfg.Results.Store.Remove(ctx, f))
	}
	return err
}

// keep stores the files of a part and reports where they are and who spoke; none, and
// why, when there are none to be had. over says that its folder is of no further use.
func (r *Recorder) keep(ctx context.Context, part string, in *meeting.RecordingInput) (over bool, err error) {
	dir := filepath.Join(r.cfg.Dir, part)
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		in.Detail = "its folder is gone from host " + r.cfg.Host
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer root.Close()
	m, err := readManifest(root)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && m.End == 0:
		in.Detail = "no bridge has sent anything"
	case err != nil:
		in.Detail = fmt.Sprintf("what was recorded is in %s on host %s, but its manifest cannot be read: %v", dir, r.cfg.Host, err)
		return false, nil
	default:
		in.Detail, in.Speakers = m.Problem, talkOf([]Manifest{m}, nil).speakers()
		if in.Files, err = r.keepFiles(ctx, root, part, m); err != nil {
			return false, err
		}
	}
	left, err := unlisted(root, in.Files)
	if left != "" {
		in.Detail = fmt.Sprintf("%s is in %s on host %s, but in no manifest", left, dir, r.cfg.Host)
	}
	return left == "" && (r.cfg.Results.Store != nil || len(in.Files) == 0), err
}

// keepFiles stores what a manifest lists, and the manifest last.
func (r *Recorder) keepFiles(ctx context.Context, root *os.Root, part string, m Manifest) (files []meeting.RecordingFile, err error) {
	for _, t := range m.Tracks {
		file, err := r.keepFile(ctx, root, part, t.File)
		if errors.Is(err, fs.ErrNotExist) || err == nil && file.Size == 0 {
			continue // the disk did not take any of it
		}
		if err != nil {
			return nil, err
		}
		file.Duration = time.Duration(t.Last) * time.Millisecond
		file.Track = t.track(part)
		files = append(files, file)
	}
	manifest, err := r.keepFile(ctx, root, part, manifestName)
	return append(files, manifest), err
}

// unlisted returns the name of a file with sound that is not among the given ones;
// empty: there is none.
func unlisted(root *os.Root, files []meeting.RecordingFile) (name string, err error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		listed := slices.ContainsFunc(files, func(f meeting.RecordingFile) bool { return f.Name == e.Name() })
		if info, err := e.Info(); !listed && path.Ext(e.Name()) == trackExt && (err != nil || info.Size() > 0) {
			return e.Name(), nil
		}
	}
	return "", err
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
