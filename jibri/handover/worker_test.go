package handover

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
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
		s.jobs(done, 1)
		s.jobs(pending, 0)

		s.hook(dir, dir) // again
		s.work()
		s.told("abc closed, abc stored, abc closed, abc stored")
		if again := s.last().Files; len(again) != 1 || again[0] != got[0] {
			t.Errorf("files = %+v, want the same as before", again)
		}
		s.jobs(done, 1)
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
		s.answer.Room = ""
		s.hook(s.record("abc", "standup_2026-01-02.MKV", pictures))
		s.work()
		s.told("abc closed, abc stored")
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
		s.status = func(storage.Report) int {
			if time.Since(start) < away {
				return 0
			}
			return http.StatusOK
		}
		s.hook(s.record("abc", "a.mp4", pictures))
		s.work()
		s.told("abc closed, abc stored")
		if late := time.Since(start) - away; late > maxWait*11/10+growInterval {
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
		for _, phase := range []storage.Phase{storage.PhaseClosed, storage.PhaseStored} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, Shared)
				s.status = func(h storage.Report) int {
					if h.Phase == phase {
						return status
					}
					return http.StatusOK
				}
				dir := s.record("abc", "a.mp4", pictures, "metadata.json", "{}")
				s.hook(dir)
				s.work()
				has(t, dir, "a.mp4", "metadata.json")
				s.jobs(refused, 1)
				s.jobs(pending, 0)
				if e, err := s.spool.read(key(dir)); err != nil || !strings.Contains(e.Detail, "status 4") {
					t.Errorf("entry = %+v, %v", e, err)
				}
				if s.tries > 2 {
					t.Errorf("%d and %s: %d tries", status, phase, s.tries)
				}
				s.status = nil // a person has put it right
				s.hook(dir)
				s.work()
				if s.last().Phase != storage.PhaseStored {
					t.Errorf("told %s last", s.last().Phase)
				}
				s.jobs(refused, 0)
				s.jobs(done, 1)
			})
		}
	}
}

func TestAnswersThatMayChange(t *testing.T) {
	for _, status := range []int{401, 403, 400, 429, 302, 307, 500, 502, 503, 0} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Shared)
			s.status = func(storage.Report) int {
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
			if waited := time.Since(start); waited < missingTimeout || waited > storeTimeout+time.Hour {
				t.Errorf("%s: lost after %v", what, waited)
			}
			s.jobs(lost, 1)
		})
	}
}

// TestShareThatIsMountedLate proves that a missing directory is looked for.
func TestShareThatIsMountedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.hook(filepath.Join(s.recordings, "abc"))
		time.AfterFunc(missingTimeout/2, func() { s.record("abc", "a.mp4", pictures) })
		s.work()
		s.told("abc closed, abc stored")
	})
}

// fullUntil is a target on which there is no space until freed.
type fullUntil struct {
	storage.Folder
	freed time.Time
}

func (f fullUntil) Put(ctx context.Context, file *storage.File, stem string) (meeting.RecordingFile, error) {
	if time.Now().Before(f.freed) {
		return meeting.RecordingFile{}, syscall.ENOSPC
	}
	return f.Folder.Put(ctx, file, stem)
}

func TestFullDisk(t *testing.T) {
	for _, freed := range []time.Duration{storeTimeout - time.Hour, storeTimeout + 2*time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Move)
			start := time.Now()
			dir := s.record("abc", "a.mp4", pictures)
			s.hook(dir)
			w := s.worker()
			w.storage = func(Settings, *meeting.Destination) (storage.Storage, error) {
				return fullUntil{storage.Folder(s.target), start.Add(freed)}, nil
			}
			must(t, w.Run(t.Context()))
			if freed < storeTimeout {
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
			if took := time.Since(start); took < storeTimeout || took > storeTimeout+2*maxWait {
				t.Errorf("given up after %v", took)
			}
		})
	}
}

// picky is a target that never takes one of the files.
type picky struct{ storage.Folder }

func (p picky) Put(ctx context.Context, file *storage.File, stem string) (meeting.RecordingFile, error) {
	if file.Name == "b.mp4" {
		p.Folder = "/nowhere"
	}
	return p.Folder.Put(ctx, file, stem)
}

// TestOneOfTwoFiles proves that usher hears of what could be stored, and that
// the rest stays.
func TestOneOfTwoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Move)
		dir := s.record("abc", "a.mp4", pictures, "b.mp4", "more "+pictures)
		s.hook(dir)
		w := s.worker()
		w.storage = func(Settings, *meeting.Destination) (storage.Storage, error) {
			return picky{storage.Folder(s.target)}, nil
		}
		must(t, w.Run(t.Context()))
		s.told("abc closed, abc stored")
		if f := s.last().Files; len(f) != 1 || f[0].Name != "a.mp4" {
			t.Errorf("files = %+v", f)
		}
		has(t, dir, "b.mp4")
		s.jobs(lost, 1)
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
	for _, lasts := range []time.Duration{growTimeout / 2, 2 * growTimeout} {
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
					time.Sleep(growInterval / 2)
				}
				grown <- size
			}()
			s.work()
			stop()
			size := <-grown
			if lasts > growTimeout {
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

func TestAnswersOfSomebodyElse(t *testing.T) {
	for what, strange := range map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"a page":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>Welcome</html>") },
		"other JSON":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) },
		"204":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"a proxy's 404":  http.NotFound,
		"a proxy's 410":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) },
		"a server's 422": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnprocessableEntity) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, Shared)
			s.hook(s.record("abc", "a.mp4", pictures))
			start := time.Now()
			w := s.worker()
			w.transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if time.Since(start) > time.Hour {
					return s.RoundTrip(r)
				}
				answer := httptest.NewRecorder()
				strange(answer, r)
				return answer.Result(), nil
			})
			must(t, w.Run(t.Context()))
			s.told("abc closed, abc stored")
			if !strings.Contains(s.log.String(), "is not usher") {
				t.Errorf("%s: the log does not say that it is not usher\n%s", what, s.log.String())
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWorkerToldToStop proves that nothing is settled then and the next one
// goes on.
func TestWorkerToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Shared)
		s.status = func(storage.Report) int { return 503 }
		s.hook(s.record("abc", "a.mp4", pictures))
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		must(t, s.worker().Run(ctx))
		s.jobs(pending, 1)
		s.status = nil
		s.work()
		s.told("abc closed, abc stored")
	})
}
