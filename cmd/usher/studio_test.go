package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/api"
	"usher/internal/sim"
	"usher/meeting"
)

// studio is a scene with recorders.
type studio struct {
	*scene
	dirs map[string]string // of each recorder's host
}

func newStudio(t *testing.T, extra ...string) *studio {
	s := &studio{scene: newSite(t, extra...), dirs: map[string]string{}}
	must(t, s.startUsher(t.Context(), newLog(s.log, 0)))
	s.waitReady("")
	return s
}

// meets makes the scene's meeting.
func (s *studio) meets(room, trigger string) {
	s.t.Helper()
	var m meeting.MeetingInfo
	must(s.t, s.call(s.t.Context(), "POST", "/v1/meetings", map[string]any{"room": room, "recording": map[string]any{"trigger": trigger}}, &m))
	s.id, s.room = m.ID, m.Room
}

// jibri starts a recorder that is gone at the end of the test.
func (s *studio) jibri(name string, edit func(*sim.JibriConfig)) *sim.Jibri {
	s.t.Helper()
	if s.dirs[name] == "" {
		s.dirs[name] = s.t.TempDir()
		s.t.Cleanup(func() { endWorkers(s.t, filepath.Join(s.dirs[name], "spool")) })
	}
	all, _ := s.focus.Jibris()
	j, err := s.startJibri(within(s.t), s.dirs[name], name, edit)
	must(s.t, err)
	s.t.Cleanup(j.Die)
	s.until("the focus sees the recorder", func() bool { now, _ := s.focus.Jibris(); return now > all })
	return j
}

// endWorkers waits until nothing is left to hand over from a spool.
func endWorkers(t *testing.T, spool string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if pendingJobs(t, spool) == 0 {
			return
		}
	}
	t.Errorf("something is left in %s", spool)
}

// enters lets somebody into the scene's meeting and waits until usher knows.
func (s *studio) enters(name string) *sim.Person {
	s.t.Helper()
	p := s.person(name, "")
	must(s.t, p.Join(within(s.t)))
	s.until(name+" is seen", func() bool { m := s.meeting(); return m != nil && m.Occupancy.Humans > 0 })
	return p
}

// recordings returns those of the scene's meeting, the newest first.
func (s *studio) list() []meeting.RecordingInfo {
	var list struct{ Data []meeting.RecordingInfo }
	if s.call(s.t.Context(), "GET", "/v1/meetings/"+s.id+"/recordings", nil, &list) != nil {
		return nil
	}
	return list.Data
}

// newest waits until the meeting's newest recording is in the state.
func (s *studio) newest(want meeting.RecordingState) (r meeting.RecordingInfo) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if list := s.list(); len(list) > 0 {
			if r = list[0]; r.State == want {
				return r
			}
		}
	}
	s.t.Fatalf("the newest recording is %+v, want it %s; all: %+v", r, want, s.list())
	return r
}

func (s *studio) record() (r meeting.RecordingInfo) {
	s.t.Helper()
	must(s.t, s.call(s.t.Context(), "POST", "/v1/meetings/"+s.id+"/recordings", nil, &r))
	return r
}

func (s *studio) stopRecording(id string) {
	s.t.Helper()
	must(s.t, s.call(s.t.Context(), "POST", "/v1/recordings/"+id+"/stop", nil, nil))
}

// download checks that the file of a recording can be had, whole.
func (s *studio) download(r meeting.RecordingInfo, file string) {
	s.t.Helper()
	var link api.FileLink
	must(s.t, s.call(s.t.Context(), "GET", "/v1/recordings/"+r.ID+"/download?file="+file, nil, &link))
	resp, err := http.Get(link.URL)
	must(s.t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	must(s.t, err)
	hash := sha256.Sum256(content)
	if resp.StatusCode != http.StatusOK || hex.EncodeToString(hash[:]) != link.SHA256 || !strings.Contains(string(content), "simulated recording of "+s.room) {
		s.t.Errorf("download: %s, %d bytes %.80q", resp.Status, len(content), content)
	}
}

// told returns the types of the events about recordings.
func (s *studio) told() string {
	s.t.Helper()
	var types []string
	for _, n := range s.events() {
		if kind, ok := strings.CutPrefix(string(n.Type), "recording."); ok {
			types = append(types, kind)
		}
	}
	return strings.Join(types, " ")
}

func (s *studio) wantTold(want string) {
	s.t.Helper()
	s.until("told of "+want, func() bool { return s.told() == want })
}
