package handover

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
)

const name = "standup-2026-01-02T03:04:05Z" // in UTC, without fractions

func TestSharedFilesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		dir := s.record("abc", "standup_2026.mp4", pictures, "notes.txt", "x", "empty.mp4", "",
			"metadata.json", `{"usher":{"meeting_id":"mtg_1","recording_id":"rec_1"}}`)
		s.hook(dir)
		s.work()
		s.told("abc closed, abc stored")
		for _, c := range s.calls {
			if c.MeetingID != "mtg_1" || c.RecordingID != "rec_1" {
				t.Errorf("%s has ids %q and %q", c.Phase, c.MeetingID, c.RecordingID)
			}
		}
		got := s.last().Files
		want := meeting.RecordingFile{
			Name: "standup_2026.mp4", Dir: "abc", Storage: meeting.StorageFile, Path: "abc/standup_2026.mp4", Size: int64(len(pictures)),
			Recorder: recorder,
		}
		if len(got) != 1 || got[0].StoredAt.IsZero() || len(got[0].SHA256) != 64 {
			t.Fatalf("files = %+v", got)
		}
		want.SHA256, want.StoredAt, want.Duration = got[0].SHA256, got[0].StoredAt, got[0].Duration
		if got[0] != want {
			t.Errorf("file = %+v, want %+v", got[0], want)
		}
		has(t, dir, "empty.mp4", "metadata.json", "notes.txt", "standup_2026.mp4")
		s.entries(done, 1)
		s.entries(work, 0)
		s.entries(inbox, 0)

		s.hook(dir, dir) // again
		s.work()
		s.told("abc closed, abc stored, abc closed, abc stored")
		if again := s.last().Files; len(again) != 1 || again[0] != got[0] {
			t.Errorf("files = %+v, want the same as before", again)
		}
		s.entries(done, 1)
	})
}

func TestMovedFilesGetTheirNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		one := s.record("one", "a.mp4", pictures, "b.MP4", "more "+pictures, "metadata.json", "{}")
		two := s.record("two", "a.mp4", "the other recorder's "+pictures, "events.jsonl", "{}")
		s.hook(one)
		s.work()
		s.hook(two)
		s.work()
		s.told("one closed, one stored, two closed, two stored")
		has(t, s.target, name+"-2.mp4", name+"-3.mp4", name+".mp4")
		if text, err := os.ReadFile(filepath.Join(s.target, name+".mp4")); err != nil || string(text) != pictures {
			t.Errorf("content = %q, %v", text, err)
		}
		if f := s.last().Files; len(f) != 1 || f[0].Path != name+"-3.mp4" || f[0].Name != "a.mp4" || f[0].Dir != "two" {
			t.Errorf("files = %+v", f)
		}
		has(t, s.recordings, "two") // and one is gone with its metadata
		has(t, two, "events.jsonl")

		// A hook that is called again has nothing to move, and knows where it is.
		s.hook(one)
		s.work()
		s.told("one closed, one stored, two closed, two stored, one closed, one stored")
		if f := s.last().Files; len(f) != 2 || f[0].Path != name+".mp4" || f[1].Path != name+"-2.mp4" {
			t.Errorf("files = %+v", f)
		}

		// Jibri was started again for the session.
		s.record("one", "c.mp4", "later "+pictures)
		s.hook(one)
		s.work()
		if f := s.last().Files; len(f) != 3 || f[2].Path != name+"-4.mp4" {
			t.Errorf("files = %+v", f)
		}
	})
}

// TestMovedAlready is what a worker finds that took over from one that was
// killed before it could note what it had done.
func TestMovedAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		must(t, os.WriteFile(filepath.Join(s.target, name+".mp4"), []byte(pictures), 0o600))
		s.hook(s.record("abc", "a.mp4", pictures))
		s.work()
		s.told("abc closed, abc stored")
		has(t, s.target, name+".mp4")
		has(t, s.recordings)
	})
}

func TestRoomThatUsherDoesNotName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		s.status = func(h meeting.HandOver) int {
			if h.Phase == meeting.HandOverClosed {
				return http.StatusNoContent
			}
			return http.StatusOK
		}
		s.hook(s.record("abc", "standup_2026-01-02.MKV", pictures))
		s.work()
		s.told("abc stored")
		has(t, s.target, "standup_2026-01-02.mkv")
	})
}

// TestUsherAwayForDays proves that a call is never given up, and comes soon
// after usher is back.
func TestUsherAwayForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		start := time.Now()
		const away = 3 * 24 * time.Hour
		s.status = func(meeting.HandOver) int {
			if time.Since(start) < away {
				return 0
			}
			return http.StatusOK
		}
		s.hook(s.record("abc", "a.mp4", pictures))
		s.work()
		s.told("abc closed, abc stored")
		if late := time.Since(start) - away; late > maxWait*11/10+growPace+lookPace {
			t.Errorf("told %v after usher came back", late)
		}
		if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one while nothing changes", n)
		}
		if most := int(away/maxWait) * 12 / 10; s.tries < 100 || s.tries > most {
			t.Errorf("%d tries, want up to %d", s.tries, most)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, status := range []int{404, 409, 410, 422} {
		for _, phase := range []meeting.HandOverPhase{meeting.HandOverClosed, meeting.HandOverStored} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, Shared)
				s.status = func(h meeting.HandOver) int {
					if h.Phase == phase {
						return status
					}
					return http.StatusOK
				}
				dir := s.record("abc", "a.mp4", pictures, "metadata.json", "{}")
				s.hook(dir)
				s.work()
				has(t, dir, "a.mp4", "metadata.json")
				s.entries(refused, 1)
				s.entries(work, 0)
				if e, err := s.spool.read(refused, key(dir)); err != nil || !strings.Contains(e.Detail, "status 4") {
					t.Errorf("entry = %+v, %v", e, err)
				}
				if s.tries > 2 {
					t.Errorf("%d and %s: %d tries", status, phase, s.tries)
				}
				s.status = nil // a person has put it right
				s.hook(dir)
				s.work()
				if s.last().Phase != meeting.HandOverStored {
					t.Errorf("told %s last", s.last().Phase)
				}
				s.entries(refused, 0)
				s.entries(done, 1)
			})
		}
	}
}

func TestAnswersThatMayChange(t *testing.T) {
	for _, status := range []int{401, 403, 400, 429, 302, 307, 500, 502, 503, 0} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Shared)
			s.status = func(meeting.HandOver) int {
				if s.tries%3 != 0 {
					return status
				}
				return http.StatusOK
			}
			s.hook(s.record("abc", "a.mp4", pictures))
			s.work()
			s.told("abc closed, abc stored")
			if s.tries != 6 {
				t.Errorf("status %d: %d tries, want 6", status, s.tries)
			}
		})
	}
}

func TestNothingToHandOver(t *testing.T) {
	for what, prepare := range map[string]func(*site) string{
		"no directory": func(s *site) string { return filepath.Join(s.recordings, "abc") },
		"no file":      func(s *site) string { return s.record("abc", "metadata.json", "{}") },
		"empty file":   func(s *site) string { return s.record("abc", "a.mp4", "") },
		"a file": func(s *site) string {
			must(s.t, os.WriteFile(filepath.Join(s.recordings, "abc"), []byte(pictures), 0o600))
			return filepath.Join(s.recordings, "abc")
		},
		"link to elsewhere": func(s *site) string {
			must(s.t, os.Symlink(s.target, filepath.Join(s.recordings, "abc")))
			must(s.t, os.WriteFile(filepath.Join(s.target, "a.mp4"), []byte(pictures), 0o600))
			return filepath.Join(s.recordings, "abc")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Shared)
			dir := prepare(s)
			start := time.Now()
			s.hook(dir)
			s.work()
			s.told("abc closed, abc lost")
			if s.last().Detail == "" || len(s.last().Files) != 0 {
				t.Errorf("%s: told %+v", what, s.last())
			}
			if waited := time.Since(start); waited < missingPatience || waited > storePatience+time.Hour {
				t.Errorf("%s: lost after %v", what, waited)
			}
			s.entries(lost, 1)
		})
	}
}

// TestShareThatIsMountedLate proves that a missing directory is looked for.
func TestShareThatIsMountedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.hook(filepath.Join(s.recordings, "abc"))
		time.AfterFunc(missingPatience/2, func() { s.record("abc", "a.mp4", pictures) })
		s.work()
		s.told("abc closed, abc stored")
	})
}

// full is a disk without space: the kernel's own, as far as writing goes.
func full(*os.Root, string, fs.FileMode) (*os.File, error) {
	return os.OpenFile("/dev/full", os.O_RDWR, 0)
}

// unlinkable is a target on another file system, on which there is no space
// until freed.
type unlinkable struct {
	moved
	freed time.Time
}

func (u unlinkable) place(ctx context.Context, file *mediaFile, stem string) (meeting.RecordingFile, error) {
	if time.Now().Before(u.freed) {
		u.create = full
	}
	root, err := os.OpenRoot(u.dir)
	if err != nil {
		return meeting.RecordingFile{}, err
	}
	defer root.Close()
	at := meeting.RecordingFile{Storage: meeting.StorageFile, Path: numbered(stem, file.name, 1)}
	return at, u.copy(ctx, file, root, at.Path)
}

func TestFullDisk(t *testing.T) {
	for _, freed := range []time.Duration{storePatience - time.Hour, storePatience + 2*time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Move)
			start := time.Now()
			dir := s.record("abc", "a.mp4", pictures)
			s.hook(dir)
			w := s.worker()
			w.shelf = func(*meeting.Destination) (shelf, error) {
				return unlinkable{moved{dir: s.target}, start.Add(freed)}, nil
			}
			must(t, w.Run(t.Context()))
			if freed < storePatience {
				s.told("abc closed, abc stored")
				has(t, s.target, name+".mp4")
				has(t, s.recordings)
				return
			}
			s.told("abc closed, abc lost")
			if !strings.Contains(s.last().Detail, "no space left on device") {
				t.Errorf("detail = %q", s.last().Detail)
			}
			has(t, s.target)
			has(t, dir, "a.mp4")
			if took := time.Since(start); took < storePatience || took > storePatience+2*maxWait {
				t.Errorf("given up after %v", took)
			}
		})
	}
}

// picky is a target that never takes one of the files.
type picky struct{ moved }

func (p picky) place(ctx context.Context, file *mediaFile, stem string) (meeting.RecordingFile, error) {
	if file.name == "b.mp4" {
		p.dir = "/nowhere"
	}
	return p.moved.place(ctx, file, stem)
}

// TestOneOfTwoFiles proves that usher hears of what could be stored, and that
// the rest stays.
func TestOneOfTwoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		dir := s.record("abc", "a.mp4", pictures, "b.mp4", "more "+pictures)
		s.hook(dir)
		w := s.worker()
		w.shelf = func(*meeting.Destination) (shelf, error) { return picky{moved{dir: s.target}}, nil }
		must(t, w.Run(t.Context()))
		s.told("abc closed, abc stored")
		if f := s.last().Files; len(f) != 1 || f[0].Name != "a.mp4" {
			t.Errorf("files = %+v", f)
		}
		has(t, dir, "b.mp4")
		s.entries(lost, 1)
	})
}

func TestTargetGoneThenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		must(t, os.Remove(s.target))
		s.hook(s.record("abc", "a.mp4", pictures))
		time.AfterFunc(time.Hour, func() { _ = os.Mkdir(s.target, 0o700) })
		s.work()
		s.told("abc closed, abc stored")
		has(t, s.target, name+".mp4")
	})
}

func TestGrowingFile(t *testing.T) {
	for _, lasts := range []time.Duration{growPatience / 2, 2 * growPatience} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Move)
			dir := s.record("abc", "a.mp4", pictures)
			s.hook(dir)
			ctx, stop := context.WithTimeout(t.Context(), lasts)
			grown := make(chan int, 1)
			go func() {
				size := len(pictures)
				for ctx.Err() == nil {
					f, err := os.OpenFile(filepath.Join(dir, "a.mp4"), os.O_APPEND|os.O_WRONLY, 0)
					must(t, err)
					_, err = f.WriteString("more")
					must(t, err)
					must(t, f.Close())
					size += len("more")
					time.Sleep(growPace / 2)
				}
				grown <- size
			}()
			s.work()
			stop()
			size := <-grown
			if lasts > growPatience {
				s.told("abc closed, abc lost")
				has(t, dir, "a.mp4")
				has(t, s.target)
				return
			}
			s.told("abc closed, abc stored")
			if got, want := s.last().Files[0].Size, int64(size); got != want {
				t.Errorf("%d bytes handed over of %d", got, want)
			}
		})
	}
}

// TestOneWorker proves that a second worker leaves the spool to the first, and
// that this one sees what comes meanwhile.
func TestOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		start := time.Now()
		s.status = func(h meeting.HandOver) int {
			if h.JibriSession == "one" && time.Since(start) < time.Hour {
				return 503
			}
			return http.StatusOK
		}
		s.hook(s.record("one", "a.mp4", pictures))
		ended := make(chan error)
		go func() { ended <- s.worker().Run(t.Context()) }()
		synctest.Wait()
		s.hook(s.record("two", "a.mp4", pictures))
		s.work() // returns at once
		if time.Since(start) != 0 {
			t.Errorf("the second worker took %v", time.Since(start))
		}
		time.Sleep(lookPace + growPace + time.Millisecond)
		synctest.Wait()
		s.told("two closed, two stored")
		must(t, <-ended)
		s.told("two closed, two stored, one closed, one stored")
	})
}

// TestWorkerToldToStop proves that nothing is settled then and the next one
// goes on.
func TestWorkerToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.status = func(meeting.HandOver) int { return 503 }
		s.hook(s.record("abc", "a.mp4", pictures))
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		must(t, s.worker().Run(ctx))
		s.entries(work, 1)
		s.status = nil
		s.work()
		s.told("abc closed, abc stored")
	})
}
