package bridge_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
)

// TestRecorderRecordsEachPerson: the bridge that has the conference is found among
// two, people speak, one leaves, and the files are theirs.
func TestRecorderRecordsEachPerson(t *testing.T) {
	onSite(t, []string{"jvb1", "jvb2"}, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.want(id, meeting.RecordingRequested)
		if asked := append(s.asked("jvb1"), s.asked("jvb2")...); len(asked) > 0 {
			t.Errorf("bridges were asked %q before there was a conference", asked)
		}
		s.conference("jvb2", jitsiID)
		s.want(id, meeting.RecordingOn)
		s.enter("bb", "Bob")
		s.speak("jvb2", jitsiID, "aa", 1, 2*time.Second)
		s.speak("jvb2", jitsiID, "bb", 1000, 2*time.Second)
		s.apply(meeting.Gone{Nick: "bb", Reason: meeting.LeftByChoice})
		s.speak("jvb2", jitsiID, "cc", 2000, time.Second) // heard before seen
		s.end(id)
		s.want(id, meeting.RecordingAvailable)
		r := s.recording(id)
		m := s.manifest(r.Parts[0].ID)
		if len(r.Parts) != 1 || len(r.Files) != 4 || !m.Complete || len(m.Tracks) != 3 {
			t.Fatalf("parts %+v, files %s, manifest %+v", r.Parts, describeFiles(r.Files), m)
		}
		for i, want := range []string{"Ada", "Bob", ""} {
			f := r.Files[i]
			if f.Track == nil || f.Track.Name != want || (want == "") != (f.Track.ParticipantID == "") || f.Size == 0 || f.SHA256 == "" {
				t.Errorf("file %d is %+v of %+v, want %s's", i, f, f.Track, want)
			}
			if _, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(f.Path))); err != nil {
				t.Error(err)
			}
		}
		if got, want := strings.Join(s.asked("jvb1"), " "), "create"; got != want {
			t.Errorf("the bridge without the conference was asked to %q, want %q", got, want)
		}
		if got, want := strings.Join(s.asked("jvb2"), " "), "create expire"; got != want {
			t.Errorf("the bridge was asked to %q, want %q", got, want)
		}
		if got, want := s.noted(), "requested starting started stopping stopped speaker.stats available"; got != want {
			t.Errorf("apps are told %q, want %q", got, want)
		}
		wantAt(t, filepath.Join(s.dir, r.Parts[0].ID), "002.ogg", map[int]time.Duration{1001: 2*time.Second + 20*time.Millisecond})
	})
}

// TestRecorderFollowsTheConference: a bridge that dies, another that gets the
// conference, and the room that Jitsi makes anew.
func TestRecorderFollowsTheConference(t *testing.T) {
	onSite(t, []string{"jvb1", "jvb2"}, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		s.speak("jvb1", jitsiID, "aa", 1, time.Second)
		s.jvbs["jvb1"].Die()
		time.Sleep(30 * time.Second)
		if r := s.want(id, meeting.RecordingOn); !r.InterruptedSince.IsZero() {
			t.Errorf("interrupted since %v after 30 s", r.InterruptedSince)
		}
		time.Sleep(20 * time.Second)
		if r := s.want(id, meeting.RecordingOn); time.Since(r.InterruptedSince.Time).Round(time.Second) != 50*time.Second {
			t.Errorf("interrupted since %v, want 50 s ago", r.InterruptedSince)
		}
		s.jvbs["jvb2"].Begin(jitsiID)
		time.Sleep(3 * time.Second)
		if r := s.want(id, meeting.RecordingOn); !r.InterruptedSince.IsZero() {
			t.Error("interrupted although another bridge sends")
		}
		s.speak("jvb2", jitsiID, "aa", 1000, time.Second)
		s.jvbs["jvb2"].End(jitsiID)
		s.conference("jvb1", "61b39dea-0001")
		synctest.Wait()
		s.speak("jvb1", "61b39dea-0001", "aa", 2000, time.Second)
		s.end(id)
		time.Sleep(10 * time.Second)
		r := s.want(id, meeting.RecordingAvailable)
		if len(r.Parts) != 2 || r.Parts[0].State != meeting.PartStored || r.Parts[1].State != meeting.PartStored || len(r.Files) != 4 {
			t.Fatalf("parts %+v with files %s, want two, each with one of Ada's and a manifest", r.Parts, describeFiles(r.Files))
		}
		gaps := s.manifest(r.Parts[0].ID).Gaps
		if len(gaps) == 0 || gaps[0].End-gaps[0].Start < 50_000 {
			t.Errorf("gaps %+v, want one of 50 s", gaps)
		}
		if got, want := s.noted(), "requested starting started interrupted resumed speaker.stats stopping stopped speaker.stats available"; got != want {
			t.Errorf("apps are told %q, want %q", got, want)
		}
	})
}

// TestRecorderTakesOver: a process that goes on with what another one has begun,
// whose connect the bridge still has.
func TestRecorderTakesOver(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
		s.stop()
		s.begin()
		time.Sleep(5 * time.Second)
		s.want(id, meeting.RecordingOn)
		s.speak("jvb1", jitsiID, "aa", 1000, 2*time.Second)
		if got, want := strings.Join(s.asked("jvb1"), " "), "create create expire create"; got != want {
			t.Errorf("the bridge was asked to %q, want %q", got, want)
		}
		// What the first left is handed over while the second records.
		r := s.recording(id)
		if len(r.Parts) != 2 || r.Parts[0].State != meeting.PartStored || r.Parts[1].State != meeting.PartOpen || len(r.Files) != 2 {
			t.Errorf("parts %+v with files %s, want the first stored", r.Parts, describeFiles(r.Files))
		}
		s.end(id)
		time.Sleep(10 * time.Second)
		if r := s.want(id, meeting.RecordingAvailable); len(r.Files) != 4 {
			t.Errorf("files %s, want two of each part", describeFiles(r.Files))
		}
	})
}

// TestRecorderSaysThatItCannotGoOn while the next part cannot be opened, and goes on
// once it can.
func TestRecorderSaysThatItCannotGoOn(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		s.want(id, meeting.RecordingOn)
		s.stop()
		file := filepath.Join(s.dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.cfg.Dir = filepath.Join(file, "tracks")
		s.begin()
		if r := s.want(id, meeting.RecordingOn); !r.InterruptedSince.Equal(time.Now()) {
			t.Errorf("interrupted since %v, want now", r.InterruptedSince)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if r := s.want(id, meeting.RecordingOn); !r.InterruptedSince.IsZero() || len(r.Parts) != 2 {
			t.Errorf("interrupted since %v with parts %+v, want it to go on in a second one", r.InterruptedSince, r.Parts)
		}
		if got, want := s.noted(), "requested starting started interrupted resumed"; got != want {
			t.Errorf("apps are told %q, want %q", got, want)
		}
	})
}

// TestRecorderAsksWhoAppears at once, and not only when it is time to ask again.
func TestRecorderAsksWhoAppears(t *testing.T) {
	onSite(t, nil, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.jvbs["jvb1"] = s.newBridge()
		s.conference("jvb1", jitsiID)
		s.want(id, meeting.RecordingStarting)
		s.appear("jvb1")
		s.want(id, meeting.RecordingOn)
	})
}

// TestRecorderWithoutAConference that it could go on with after a restart says so.
func TestRecorderWithoutAConference(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		s.want(id, meeting.RecordingOn)
		s.stop()
		s.apply(meeting.ConferenceChanged{Conference: meeting.Conference{}})
		s.begin()
		began := time.Now()
		time.Sleep(50 * time.Second)
		if r := s.want(id, meeting.RecordingOn); !r.InterruptedSince.Equal(began) {
			t.Errorf("interrupted since %v, want since %v", r.InterruptedSince, began)
		}
	})
}

// TestRecorderPassesOverFolders that a process killed at once has left: it was not in
// the meeting's state yet, or a later one already is.
func TestRecorderPassesOverFolders(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeLevels)
		if err := os.Mkdir(filepath.Join(s.dir, id+"-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		s.conference("jvb1", jitsiID)
		s.want(id, meeting.RecordingOn)
		s.stop()
		s.cfg.Dir, s.cfg.Results.Root = s.t.TempDir(), s.t.TempDir() // which lacks the folder of the part that is known
		s.begin()
		time.Sleep(5 * time.Second)
		r := s.want(id, meeting.RecordingOn)
		if len(r.Parts) != 2 || r.Parts[0].ID != id+"-2" || r.Parts[1].ID != id+"-3" {
			t.Errorf("parts %+v, want 2 and 3", r.Parts)
		}
	})
}

// TestRecorderOfAnotherHost: what the one before has recorded is on its own disk; it
// hands that over at its next start.
func TestRecorderOfAnotherHost(t *testing.T) {
	other := t.TempDir()
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
		s.stop()
		s.cfg.Dir, s.cfg.Results.Root, s.cfg.Host = other, other, "host2"
		s.begin()
		s.apply(meeting.Ended{Reason: meeting.EndRequested})
		time.Sleep(10 * time.Second)
		r := s.want(id, meeting.RecordingProcessing)
		if got := r.Parts[0]; got.Host != "host1" || got.State != meeting.PartClosed {
			t.Errorf("part %+v, want it closed, on host1", got)
		}
		time.Sleep(time.Hour)
		s.stop()
		s.cfg.Dir, s.cfg.Results.Root, s.cfg.Host = s.dir, s.dir, "host1"
		s.begin()
		r = s.want(id, meeting.RecordingAvailable)
		m := s.manifest(r.Parts[0].ID)
		if len(r.Files) < 1 || len(m.Speech) == 0 || len(m.Tracks) != 0 {
			t.Errorf("files %s and manifest %+v, want who spoke when and no sound", describeFiles(r.Files), m)
		}
	})
}

// TestRecorderHandsOverOnceTheStorageTakesIt, in a place of its own.
func TestRecorderHandsOverOnceTheStorageTakesIt(t *testing.T) {
	folder := t.TempDir()
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		s.stop()
		store := &failing{Storage: storage.Folder(folder)}
		store.failures.Store(3)
		s.cfg.Results.Store = store
		s.begin()
		tracks, levels := s.record(meeting.ModeTracks), s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		synctest.Wait()
		s.speak("jvb1", jitsiID, "aa", 1, 2*time.Second)
		s.end(tracks)
		s.end(levels)
		s.want(tracks, meeting.RecordingProcessing)
		time.Sleep(time.Minute)
		a, b := s.want(tracks, meeting.RecordingAvailable), s.want(levels, meeting.RecordingAvailable)
		if got := describeFiles(a.Files); !strings.Contains(got, tracks+"-1/001.ogg") || len(a.Files) != 2 || len(b.Files) != 1 {
			t.Errorf("files %s and %s", got, describeFiles(b.Files))
		}
		for _, f := range append(slices.Clone(a.Files), b.Files...) {
			content, err := s.cfg.Results.Store.Open(t.Context(), f)
			if err != nil {
				t.Error(err)
				continue
			}
			if text, err := io.ReadAll(content); err != nil || int64(len(text)) != f.Size {
				t.Errorf("%s has %d bytes (%v), want %d", f.Path, len(text), err, f.Size)
			}
			_ = content.Close()
		}
		if got := s.folders(); len(got) > 0 {
			t.Errorf("%q is left where it was recorded, want nothing", got)
		}
	})
}

// TestRecorderSaysWhyItCannot record.
func TestRecorderSaysWhyItCannot(t *testing.T) {
	onSite(t, nil, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.apply(meeting.ConferenceChanged{Conference: meeting.Conference{JitsiMeetingID: jitsiID, Bridges: 1}})
		time.Sleep(58 * time.Second)
		r := s.want(id, meeting.RecordingFailed)
		if r.Failure != meeting.FailStartTimeout || !strings.Contains(r.Detail, breweryRoom) {
			t.Errorf("it failed with %q, %q, want start_timeout and the room that has no bridge", r.Failure, r.Detail)
		}
		if got := s.folders(); len(got) > 0 {
			t.Errorf("%q is left of it, want nothing", got)
		}
	})
	onSite(t, []string{"jvb1"}, func(s *recordedSite) { // that cannot reach usher
		s.service.outage(time.Hour)
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		time.Sleep(58 * time.Second)
		if r := s.want(id, meeting.RecordingFailed); !strings.Contains(r.Detail, "ws://usher") {
			t.Errorf("it failed with %q, want the address that the bridge did not reach", r.Detail)
		}
		got, n := s.asked("jvb1"), 0
		for _, word := range got {
			if word == "expire" {
				n++
			}
		}
		if n < 4 || n > 7 {
			t.Errorf("the bridge was asked to %q, want it to begin anew every ten seconds", got)
		}
	})
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		s.stop()
		file := filepath.Join(s.dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.cfg.Dir = filepath.Join(file, "tracks")
		s.begin()
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		if r := s.want(id, meeting.RecordingFailed); r.Failure != meeting.FailDisk || !strings.Contains(r.Detail, file) {
			t.Errorf("it failed with %q, %q, want disk and the folder", r.Failure, r.Detail)
		}
		if got := s.asked("jvb1"); len(got) > 0 {
			t.Errorf("the bridge was asked to %q, want nothing", got)
		}
	})
}

// TestRecorderSendsBridgesNothingElse compares every request of a meeting with what
// the golden test of their bytes knows.
func TestRecorderSendsBridgesNothingElse(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		synctest.Wait()
		s.end(id)
		time.Sleep(10 * time.Second)
		for _, q := range s.jvbs["jvb1"].Asked() {
			if len(q.Connects) != 1 || q.Meeting != jitsiID || q.Connects[0].ID != "usher" || strings.Count(q.Text, "<") != 4+2*strings.Count(q.Text, "<ping") {
				t.Errorf("the bridge got %+v", q)
			}
		}
	})
	onSite(t, []string{"jvb1"}, func(s *recordedSite) { // whose recording is forgotten while it is on
		id := s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		s.want(id, meeting.RecordingOn)
		s.m.Recordings = nil
		delete(s.stored, id)
		s.recorder.Work(s.m)
		time.Sleep(10 * time.Second)
		asked := s.jvbs["jvb1"].Asked()
		if last := asked[len(asked)-1].Connects[0]; !last.Expire || last.ID != "usher" {
			t.Errorf("the bridge got %+v last, want to be asked to stop", last)
		}
	})
}
