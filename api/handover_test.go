package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/internal/apitest"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/storage"
)

// TestHandOverCheck: a recorder's host can tell usher from others, and what is
// wrong between the two.
func TestHandOverCheck(t *testing.T) {
	s := newStudio(t)
	s.serve(func(c *testConfig) {
		c.RecorderKeys, c.Version = map[string]string{"j1": recorderSecret}, "v1.2.3"
	})
	res := s.call(storage.Report{Phase: storage.PhaseCheck})
	body := res.Body.Bytes()
	var said storage.Answer
	if err := json.Unmarshal(body, &said); err != nil || res.Code != http.StatusOK || said.Usher != "v1.2.3" {
		t.Errorf("check: %d %s, %v, want 200 and the version", res.Code, body, err)
	}
	data, err := json.Marshal(storage.Report{Phase: storage.PhaseCheck})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		recorder, secret string
		at               time.Time
		code             string
	}{
		{"j1", recorderSecret + "x", time.Now(), "recorder_signature"},
		{"j2", recorderSecret, time.Now(), "recorder_signature"},
		{"j1", recorderSecret, time.Now().Add(-time.Hour), "recorder_clock"},
		{"j1", recorderSecret, time.Now().Add(time.Hour), "recorder_clock"},
	} {
		s.signed(data, tt.recorder, tt.secret, tt.at).problemCode(http.StatusUnauthorized, tt.code)
	}
}

// TestLostByTheFirstOfTwoRecorders: one dies and cannot hand over what it had,
// while another goes on with the recording.
func TestLostByTheFirstOfTwoRecorders(t *testing.T) {
	s := newStudio(t)
	var rec meeting.RecordingInfo
	s.do("POST", "/v1/meetings/"+s.id+"/recordings", "").into(http.StatusAccepted, &rec)
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}})
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}, JibriSession: "s1"})
	say := func(status string) {
		s.observe("standup", meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: "s1", Status: status}})
	}
	lost := storage.Report{Phase: storage.PhaseLost, JibriSession: "s1", Detail: "its disk is gone"}
	say("on")
	for _, want := range []meeting.RecordingState{meeting.RecordingOn, meeting.RecordingFailed} {
		s.call(storage.Report{Phase: storage.PhaseClosed, JibriSession: "s1"}).into(http.StatusOK, &anyMap{})
		if res := s.call(lost); res.Code != http.StatusNoContent {
			t.Errorf("lost: %d %s, want 204", res.Code, res.Body)
		}
		if now := s.stored(rec.ID); now.State != want {
			t.Errorf("recording is %s after its part was lost, want %s", now.State, want)
		}
		if want == meeting.RecordingOn {
			say("off")
		}
	}
	if now := s.stored(rec.ID); now.Failure != meeting.FailHandOver || now.Detail != lost.Detail {
		t.Errorf("recording = %+v, want it to say what became of its file", now)
	}
}

// TestHandOverOfADeletedRecording: an app was told that it is gone, so it does
// not become available.
func TestHandOverOfADeletedRecording(t *testing.T) {
	s := newStudio(t)
	rec := s.recorded("s1", testFile)
	if res := s.do("DELETE", "/v1/recordings/"+rec.ID, ""); res.Code != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", res.Code, res.Body)
	}
	late := testFile
	late.Name, late.Path = "late.mp4", "late.mp4"
	for _, what := range []storage.Report{
		{Phase: storage.PhaseClosed, JibriSession: "s1"}, {Phase: storage.PhaseStored, JibriSession: "s1", Files: []meeting.RecordingFile{late}},
		{Phase: storage.PhaseLost, JibriSession: "s1", Detail: "x"},
	} {
		s.call(what).problemCode(http.StatusGone, "deleted")
	}
	if now := s.stored(rec.ID); len(now.Files) != 1 {
		t.Errorf("recording = %+v, want no further file", now)
	}
	if !strings.Contains(s.log.String(), "file=late.mp4") {
		t.Error("the log does not name the file that came too late")
	}
}

// TestHandOverOfAnyObject: what S3 takes as a name need not be a tidy path, and
// a refusal would leave the object behind for good.
func TestHandOverOfAnyObject(t *testing.T) {
	s := newStudio(t)
	object := testFile
	object.Storage, object.Bucket, object.Path = meeting.StorageS3, "recordings", "/2026//x.mp4"
	if rec := s.recorded("s1", object); len(rec.Files) != 1 || rec.Files[0].Path != object.Path {
		t.Errorf("files = %+v, want the object", rec.Files)
	}
}

func TestHandOverWhileUsherIsAway(t *testing.T) {
	s := newStudio(t)
	rec := s.recorded("s1", testFile)
	closed := storage.Report{Phase: storage.PhaseClosed, JibriSession: rec.JibriSession}
	s.store.Fail(meeting.ErrUnavailable)
	s.call(closed).problem(http.StatusServiceUnavailable)
	s.store.Fail(nil)
	// A process that does not lead has a tracker that does not run.
	s.serve(func(c *testConfig) {
		c.Leader = leader{tracker.New(s.site.store, apitest.NoRooms{}, tracker.Options{}), s.site}
		c.RecorderKeys, c.Recorders = map[string]string{"j1": recorderSecret}, s.recorders
	})
	s.call(closed).problem(http.StatusServiceUnavailable)
	s.do("GET", "/v1/recording-queue", "").problemCode(http.StatusServiceUnavailable, "unavailable")
}

func TestRecordingOfAForgottenMeeting(t *testing.T) {
	s := newStudio(t)
	rec := s.recorded("s1", testFile)
	if res := s.do("DELETE", "/v1/meetings/"+s.id, ""); res.Code != http.StatusAccepted {
		t.Fatalf("DELETE of the meeting: %d %s, want 202: its room is still to close", res.Code, res.Body)
	}
	for _, request := range []string{
		"GET /v1/recordings/" + rec.ID, "GET /v1/recordings/" + rec.ID + "/download", "POST /v1/recordings/" + rec.ID + "/stop",
		"DELETE /v1/recordings/" + rec.ID, "GET /v1/meetings/" + s.id + "/recordings",
	} {
		method, path, _ := strings.Cut(request, " ")
		s.do(method, path, "").problemCode(http.StatusNotFound, "not_found")
	}
}

// TestHandOverOfWhoWasThere: a recorder's host that asks for it is answered who was in
// the session, and what it puts beside a file goes with it.
func TestHandOverOfWhoWasThere(t *testing.T) {
	s := newStudio(t)
	file := testFile
	file.Attendance = "standup-2026.participants.json"
	rec := s.recorded("s1", file)
	for _, asks := range []bool{false, true} {
		var answer storage.Answer
		s.call(storage.Report{Phase: storage.PhaseClosed, JibriSession: "s1", Attendance: asks}).into(http.StatusOK, &answer)
		var a meeting.Attendance
		if err := json.Unmarshal(answer.Attendance, &a); (err == nil) != asks || asks && (a.Session.ID != rec.SessionID || len(a.Attendees) != 1) {
			t.Errorf("asked %v: %s, want who was in session %s if asked", asks, answer.Attendance, rec.SessionID)
		}
	}
	wrong := file
	wrong.Attendance = "../precious"
	s.call(storage.Report{Phase: storage.PhaseStored, JibriSession: "s1", Files: []meeting.RecordingFile{wrong}}).problem(http.StatusUnprocessableEntity)

	s.files.content[file.Attendance], s.files.content["other"] = "{}", "0123456789"
	if res := s.do("DELETE", "/v1/recordings/"+rec.ID, ""); res.Code != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", res.Code, res.Body)
	}
	if _, left := s.files.content[file.Attendance]; left || len(s.files.content) != 1 {
		t.Errorf("files %v are left, want only the other one", s.files.content)
	}
}
