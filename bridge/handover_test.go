package bridge_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
)

// keptPart has a part recorded, and the process end before it is handed over. It
// returns the recording's id.
func (s *recordedSite) keptPart(mode meeting.RecordingMode) string {
	s.t.Helper()
	id := s.record(mode)
	s.conference("jvb1", jitsiID)
	s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
	s.stop()
	return id
}

// TestPartThatCannotBeRead is reported missing, with its files where they are, and
// stands in no other's way.
func TestPartThatCannotBeRead(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		tracks, levels := s.record(meeting.ModeTracks), s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
		s.stop()
		first := min(tracks, levels) // of the folders
		write(t, filepath.Join(s.dir, first+"-1", "manifest.json"), "{")
		s.cfg.Results.Store = storage.Folder(s.t.TempDir())
		s.begin()
		s.end(tracks)
		s.end(levels)
		time.Sleep(time.Second)
		for _, id := range []string{tracks, levels} {
			r := s.recording(id)
			part := r.Parts[0]
			if id != first {
				if part.State != meeting.PartStored {
					t.Errorf("the other part is %+v, want it stored", part)
				}
				continue
			}
			if part.State != meeting.PartMissing || !strings.Contains(part.Detail, id+"-1 on host host1") {
				t.Errorf("part %+v, want it missing, and where it is", part)
			}
		}
		if _, err := os.Stat(filepath.Join(s.dir, first+"-1", "manifest.json")); err != nil {
			t.Error("of the part that cannot be read:", err)
		}
	})
}

// TestSoundThatNoManifestNames stays where it is.
func TestSoundThatNoManifestNames(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"no manifest":       func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) },
		"one more track":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "002.ogg"), []byte("OggS"), 0o600) },
		"an empty manifest": func(dir string) error { return os.Truncate(filepath.Join(dir, "manifest.json"), 0) },
	} {
		t.Run(what, func(t *testing.T) {
			onSite(t, []string{"jvb1"}, func(s *recordedSite) {
				id := s.keptPart(meeting.ModeTracks)
				folder := filepath.Join(s.dir, id+"-1")
				if err := spoil(folder); err != nil {
					t.Fatal(err)
				}
				before := names(t, folder)
				s.cfg.Results.Store = storage.Folder(s.t.TempDir())
				s.begin()
				time.Sleep(time.Second)
				if got := names(t, folder); !slices.Equal(got, before) {
					t.Errorf("the folder has %q, want %q", got, before)
				}
				if part := s.recording(id).Parts[0]; !strings.Contains(part.Detail, folder+" on host host1") {
					t.Errorf("part %+v, want where its sound is", part)
				}
			})
		})
	}
}

// recordWithoutStorage records the tracks of somebody, and ends that while the storage
// is away; it is back at that folder once store.failures is 0.
func (s *recordedSite) recordWithoutStorage(folder string) (id string, store *failing) {
	s.t.Helper()
	s.stop()
	store = &failing{Storage: storage.Folder(folder)}
	store.failures.Store(1 << 30)
	s.cfg.Results.Store = store
	s.begin()
	id = s.record(meeting.ModeTracks)
	s.conference("jvb1", jitsiID)
	synctest.Wait()
	s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
	s.end(id)
	synctest.Wait()
	return id, store
}

// TestDeletedRecordingIsNotHandedOver: its part waited for the storage for so long
// that it counted as missing, and an app deleted the recording.
func TestDeletedRecordingIsNotHandedOver(t *testing.T) {
	for what, during := range map[string]bool{"between two tries": false, "in the middle of one": true} {
		t.Run(what, func(t *testing.T) {
			folder := t.TempDir()
			onSite(t, []string{"jvb1"}, func(s *recordedSite) {
				id, store := s.recordWithoutStorage(folder)
				s.apply(meeting.RoomGone{Reason: meeting.LeftServerShutdown})
				time.Sleep(24 * time.Hour)
				s.apply(meeting.Tick{})
				s.want(id, meeting.RecordingFailed)
				remove := func() {
					s.apply(meeting.RecordingInput{Kind: meeting.RecordingDeleted, Recording: s.recording(id)})
				}
				if during {
					store.put = remove
				} else {
					remove()
				}
				store.failures.Store(0)
				time.Sleep(10 * time.Minute)
				if r := s.want(id, meeting.RecordingFailed); len(r.Files) != 0 {
					t.Errorf("files %s of a deleted recording, want none", describeFiles(r.Files))
				}
				if n := store.stored.Load(); !during && n > 0 {
					t.Errorf("%d files were stored after it was deleted, want none", n)
				}
				if got := append(s.folders(), names(t, folder)...); len(got) > 0 {
					t.Errorf("%q is left of it, want nothing", got)
				}
			})
		})
	}
}

// TestLateHandOver: the recording has been over for so long that the meeting has let
// go of it.
func TestLateHandOver(t *testing.T) {
	folder := t.TempDir()
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id, store := s.recordWithoutStorage(folder)
		time.Sleep(24 * time.Hour)
		s.apply(meeting.Tick{})
		s.want(id, meeting.RecordingFailed)
		time.Sleep(2 * time.Hour)
		s.apply(meeting.Tick{})
		store.failures.Store(0)
		time.Sleep(6 * time.Minute)
		if r := s.want(id, meeting.RecordingAvailable); len(r.Files) != 2 || r.Stop != meeting.StopRequested || r.StoppedAt.IsZero() {
			t.Errorf("recording %+v, want it as it was, with two files", r)
		}
	})
}

// TestPartOfAnEndedProcess: the process ends while it opens a part, which the store
// has or has not. The next one finds its folder, and nothing waits for it.
func TestPartOfAnEndedProcess(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.lose = func(f meeting.Input) bool {
			in, ok := f.(meeting.RecordingInput)
			return ok && in.Kind == meeting.RecordingPartOpens
		}
		s.conference("jvb1", jitsiID)
		synctest.Wait()
		s.stop()
		if got, want := s.folders(), []string{id + "-1"}; !slices.Equal(got, want) {
			t.Errorf("%q is left, want %q", got, want)
		}
		s.lose = nil
		s.begin()
		s.end(id)
		time.Sleep(10 * time.Second)
		r := s.recording(id)
		if len(r.Parts) == 0 || r.Parts[0].State != meeting.PartMissing || !r.State.Settled() {
			t.Errorf("the recording is %s with parts %+v, want it over, and the first part missing", r.State, r.Parts)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// names returns what is in a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// failing is storage that fails for a while.
type failing struct {
	storage.Storage
	failures atomic.Int64
	stored   atomic.Int64
	put      func() // called before each file is stored; may be nil
}

func (f *failing) Put(ctx context.Context, file *storage.File, stem string) (meeting.RecordingFile, error) {
	if f.failures.Add(-1) >= 0 {
		return meeting.RecordingFile{}, errors.New("slow down")
	}
	f.stored.Add(1)
	if f.put != nil {
		f.put()
	}
	return f.Storage.Put(ctx, file, stem)
}
