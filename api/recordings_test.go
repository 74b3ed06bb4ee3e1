package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/meeting"
	"usher/storage"
)

func TestRecordingFromStartToFile(t *testing.T) {
	s := newStudio(t)
	path := "/v1/meetings/" + s.id + "/recordings"
	var rec meeting.RecordingInfo
	s.do("POST", path, `{"priority":3,"max_length_s":60}`).into(http.StatusAccepted, &rec)
	if rec.State != meeting.RecordingRequested || rec.Priority != 3 || rec.RequestedBy.Type != meeting.ByApp || rec.RequestedBy.Name != configuredKey {
		t.Errorf("recording = %+v", rec)
	}
	time.Sleep(2 * time.Millisecond) // the second request is made later
	var again meeting.RecordingInfo
	s.do("POST", path, "").into(http.StatusOK, &again)
	if again.ID != rec.ID {
		t.Errorf("a second request gives %s, want %s", again.ID, rec.ID)
	}
	s.do("DELETE", "/v1/recordings/"+rec.ID, "").problemCode(http.StatusConflict, "not_settled")
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}})
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}, JibriSession: "session-1"})
	s.observe("standup", meeting.FocusSaid{Focus: meeting.FocusSays{Here: true, Session: "session-1", Status: "on"}})
	s.do("POST", "/v1/recordings/"+rec.ID+"/stop", "").into(http.StatusOK, &again)
	if again.State != meeting.RecordingStopping {
		t.Errorf("stopped, it is %s", again.State)
	}

	var answer storage.Answer
	s.call(storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-1", RecordingID: rec.ID, MeetingID: s.id}).into(http.StatusOK, &answer)
	if answer.RecordingID != rec.ID || answer.MeetingID != s.id || answer.Room != "standup" || answer.StartedAt.IsZero() || answer.Destination != nil {
		t.Errorf("answer = %+v", answer)
	}
	for range 2 { // a repeated call changes nothing
		if res := s.call(storage.Report{Phase: storage.PhaseStored, JibriSession: "session-1", Files: []meeting.RecordingFile{testFile}}); res.Code != http.StatusNoContent {
			t.Fatalf("stored: %d %s", res.Code, res.Body)
		}
	}
	var list struct{ Data []meeting.RecordingInfo }
	for _, path := range []string{path, "/v1/recordings", "/v1/recordings?state=available&meeting_id=" + s.id} {
		s.do("GET", path, "").into(http.StatusOK, &list)
		if len(list.Data) != 1 || list.Data[0].State != meeting.RecordingAvailable || len(list.Data[0].Files) != 1 || list.Data[0].Recorder != "j1" {
			t.Errorf("%s = %+v, want it available with one file", path, list.Data)
		}
	}
	s.do("GET", "/v1/recordings?state=failed", "").into(http.StatusOK, &list)
	if len(list.Data) != 0 {
		t.Errorf("failed recordings: %+v", list.Data)
	}

	s.do("GET", "/v1/recordings/"+rec.ID+"/download", "").problemCode(http.StatusGone, "file_missing")
	s.files.content[testFile.Path] = "0123456789"
	var link FileLink
	s.do("GET", "/v1/recordings/"+rec.ID+"/download?ttl_s=60", "").into(http.StatusOK, &link)
	res := s.get("GET", link.URL, "")
	if res.Code != http.StatusOK || res.Body.String() != "0123456789" || res.Header().Get("Content-Type") != "video/mp4" ||
		res.Header().Get("Content-Disposition") != `attachment; filename="standup-2026.mp4"; filename*=UTF-8''standup-2026.mp4` {
		t.Errorf("download: %d %v %s", res.Code, res.Header(), res.Body)
	}
	if res := s.get("GET", link.URL, "bytes=2-4"); res.Code != http.StatusPartialContent || res.Body.String() != "234" {
		t.Errorf("range: %d %s", res.Code, res.Body)
	}
	if res := s.get("HEAD", link.URL, ""); res.Code != http.StatusOK || res.Header().Get("Content-Length") != "10" || res.Body.Len() > 0 {
		t.Errorf("HEAD: %d %v", res.Code, res.Header())
	}
	s.do("GET", "/v1/recordings/"+rec.ID+"/download?file=1", "").problem(http.StatusNotFound)
	for _, wrong := range []string{link.URL + "x", link.URL[:len(link.URL)-2], "/d/x", "/d/..%2f..%2fetc"} {
		if res := s.get("GET", wrong, ""); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", wrong, res.Code)
		}
	}
	if strings.Contains(s.log.String(), strings.TrimPrefix(link.URL, "https://usher.example.org/d/")) {
		t.Error("a link is in the log")
	}

	s.files.err = errors.New("disk")
	s.do("DELETE", "/v1/recordings/"+rec.ID, "").problem(http.StatusServiceUnavailable)
	s.files.err = nil
	for range 2 {
		if res := s.do("DELETE", "/v1/recordings/"+rec.ID, ""); res.Code != http.StatusNoContent {
			t.Errorf("delete: %d %s", res.Code, res.Body)
		}
	}
	if len(s.files.content) != 0 {
		t.Error("the file is still there")
	}
	s.get("GET", link.URL, "").problem(http.StatusNotFound)
	s.do("GET", "/v1/recordings/"+rec.ID+"/download", "").problem(http.StatusNotFound)
	s.do("GET", "/v1/recordings/"+rec.ID, "").into(http.StatusOK, &again)
	if again.DeletedAt == nil {
		t.Error("it does not say that it is deleted")
	}
	s.do("POST", "/v1/recordings/"+rec.ID+"/stop", "").into(http.StatusOK, &again) // over: given as it is
}

func TestRecordingIsRefused(t *testing.T) {
	s := newStudio(t)
	empty := "/v1/meetings/" + s.create(`{"room":"empty"}`)["id"].(string)
	s.do("POST", empty+"/recordings", "").problemCode(http.StatusConflict, "not_live")
	s.do("POST", empty+"/end", "").into(http.StatusOK, &anyMap{})
	s.do("POST", empty+"/recordings", "").problemCode(http.StatusConflict, "ended")
	s.do("POST", "/v1/meetings/mtg_none/recordings", "").problemCode(http.StatusNotFound, "not_found")
	for _, path := range []string{"/v1/recordings/rec_none", "/v1/recordings/rec_none/download", "/v1/meetings/mtg_none/recordings"} {
		s.do("GET", path, "").problemCode(http.StatusNotFound, "not_found")
	}
	s.do("POST", "/v1/recordings/rec_none/stop", "").problemCode(http.StatusNotFound, "not_found")
	s.do("DELETE", "/v1/recordings/rec_none", "").problemCode(http.StatusNotFound, "not_found")
	for _, body := range []string{`{"priority":1000}`, `{"queue_timeout_s":0}`, `{"max_length_s":-1}`, `{"quality":"4k"}`, `{"no_queue":"yes"}`} {
		s.do("POST", "/v1/meetings/"+s.id+"/recordings", body).problem(http.StatusUnprocessableEntity)
	}
	for _, body := range []string{`{"recording":{"trigger":"always"}}`, `{"recording":{"queue_timeout_s":0}}`, `{"recording":{"tirgger":"none"}}`, `{"recording":7}`} {
		s.do("POST", "/v1/meetings", body).problem(http.StatusUnprocessableEntity)
		s.do("PATCH", "/v1/meetings/"+s.id, body).problem(http.StatusUnprocessableEntity)
	}
	s.serve(func(*testConfig) {}) // no files, no recorders, no secrets
	s.do("GET", "/v1/recorders", "").into(http.StatusOK, &anyMap{})
	if res := s.call(storage.Report{Phase: storage.PhaseClosed, JibriSession: "x"}); res.Code != http.StatusUnauthorized {
		t.Errorf("a hand-over without any recorder's key: %d, want 401, after which it is tried again", res.Code)
	}
}

func TestRecordingPolicy(t *testing.T) {
	s := newStudio(t)
	m := s.create(`{"recording":{"trigger":"automatic","queue_timeout_s":60,"max_length_s":120,"priority":-5}}`)
	want := meeting.PolicyInfo{Trigger: meeting.TriggerAutomatic, QueueTimeoutS: 60, MaxLengthS: 120, Priority: -5}
	var got meeting.MeetingInfo
	path := "/v1/meetings/" + m["id"].(string)
	s.do("GET", path, "").into(http.StatusOK, &got)
	if !reflect.DeepEqual(got.Recording, want) {
		t.Errorf("policy = %+v, want %+v", got.Recording, want)
	}
	s.do("PATCH", path, `{"recording":{"trigger":"prompt"}}`).into(http.StatusOK, &got)
	if want := (meeting.PolicyInfo{Trigger: meeting.TriggerPrompt, QueueTimeoutS: 1800}); !reflect.DeepEqual(got.Recording, want) {
		t.Errorf("patched policy = %+v, want %+v", got.Recording, want)
	}
	s.do("PATCH", path, `{"recording":null}`).into(http.StatusOK, &got)
	if got.Recording.Trigger != meeting.TriggerNone {
		t.Errorf("policy taken away = %+v", got.Recording)
	}
}

// TestRecordingLimitsAreThoseOfTheTags compares what the schemas say with the
// constants.
func TestRecordingLimitsAreThoseOfTheTags(t *testing.T) {
	operation := loadDocument(t).Paths.Value("/v1/recordings/{id}/download").Get
	ttl := operation.Parameters.GetByInAndName("query", "ttl_s").Schema.Value
	if *ttl.Max != MaxFileLinkTTL.Seconds() || ttl.Default != FileLinkTTL.Seconds() {
		t.Errorf("a link lives up to %v s, %v by default, want %v and %v", *ttl.Max, ttl.Default, MaxFileLinkTTL, FileLinkTTL)
	}
	if timeout := newStudio(t).create(`{"recording":{}}`)["recording"].(anyMap)["queue_timeout_s"]; timeout != meeting.QueueTimeout.Seconds() {
		t.Errorf("a recording waits for %v s by default, want %v", timeout, meeting.QueueTimeout)
	}
}

func TestRecordersAndQueue(t *testing.T) {
	s := newStudio(t)
	var list RecorderList
	s.do("GET", "/v1/recorders", "").into(http.StatusOK, &list)
	if !list.Watching || len(list.Data) != 1 || list.Data[0].Name != "j1" || list.Data[0].Status != "idle" {
		t.Errorf("recorders = %+v", list)
	}
	s.recorders.queue = []meeting.Recording{{RecordingStatus: meeting.RecordingStatus{ID: "rec_1", State: meeting.RecordingQueued}}, {RecordingStatus: meeting.RecordingStatus{ID: "rec_2", State: meeting.RecordingQueued}}}
	var queue struct{ Data []Queued }
	s.do("GET", "/v1/recording-queue", "").into(http.StatusOK, &queue)
	if len(queue.Data) != 2 || queue.Data[1].Position != 2 || queue.Data[1].Recording.ID != "rec_2" {
		t.Errorf("queue = %+v", queue.Data)
	}
	post := func(path, body string) int {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		return w.Code
	}
	const good = "/internal/jibri/" + hookSecret + "/v1/status"
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{good, `{"jibriId":"j1","status":{"busyStatus":"BUSY","health":{"healthStatus":"HEALTHY","details":{}}}}`, 200},
		{good, `{"jibriId":"j1","status":{"busyStatus":"IDLE","health":{"healthStatus":"UNHEALTHY"}}}`, 200},
		{good, `{"jibriId":"j1","status":{"busyStatus":"EXPIRED","health":{"healthStatus":"HEALTHY"}}}`, 200},
		{"/internal/jibri/" + hookSecret + "/v1/session/status", `{"jibriId":"j1","session":{"sessionId":"x","status":"ON"}}`, 200},
		{"/internal/jibri/wrong/v1/status", `{"jibriId":"j1"}`, 404},
		{good, `{"jibriId":""}`, 400}, {good, `[]`, 400}, {good, ``, 400},
		{good, `{"jibriId":"` + strings.Repeat("x", 1000) + `"}`, 400},
		{good, strings.Repeat(" ", maxReport+1), 400},
	} {
		if got := post(c.path, c.body); got != c.want {
			t.Errorf("%s %.60s: %d, want %d", c.path, c.body, got, c.want)
		}
	}
	if want := []SitePart{PartJibriHook}; !slices.Equal(s.refused, want) {
		t.Errorf("refused for a wrong secret: %q, want %q", s.refused, want)
	}
	if got := fmt.Sprint(s.recorders.reported); got != "[j1true true j1false false j1true true]" {
		t.Errorf("reported %s", got)
	}
	if strings.Contains(s.log.String(), hookSecret) {
		t.Error("the secret is in the log")
	}
}

// TestHostileHandOvers gets calls that must change nothing, and be counted.
func TestHostileHandOvers(t *testing.T) {
	s := newStudio(t)
	var rec meeting.RecordingInfo
	s.do("POST", "/v1/meetings/"+s.id+"/recordings", "").into(http.StatusAccepted, &rec)
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}})
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}, JibriSession: "session-1"})
	before := s.do("GET", "/v1/recordings/"+rec.ID, "").Body.String()
	stored := func(edit func(*meeting.RecordingFile)) storage.Report {
		f := testFile
		edit(&f)
		return storage.Report{Phase: storage.PhaseStored, JibriSession: "session-1", Files: []meeting.RecordingFile{f}}
	}
	for name, c := range map[string]struct {
		body any
		want int
	}{
		"unknown session":         {storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-2"}, 404},
		"unknown recording":       {storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-2", RecordingID: "rec_x", MeetingID: s.id}, 404},
		"another's recording":     {storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-2", RecordingID: rec.ID, MeetingID: s.id}, 404},
		"lies about the meeting":  {storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-2", RecordingID: rec.ID, MeetingID: "mtg_x"}, 404},
		"session climbs":          {storage.Report{Phase: storage.PhaseClosed, JibriSession: "../session-1"}, 422},
		"session with NUL":        {storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-1\x00"}, 422},
		"no session":              {storage.Report{Phase: storage.PhaseClosed}, 422},
		"no such phase":           {storage.Report{Phase: "begun", JibriSession: "session-1"}, 422},
		"no JSON":                 {"x", 422},
		"no files":                {storage.Report{Phase: storage.PhaseStored, JibriSession: "session-1"}, 422},
		"too many files":          {storage.Report{Phase: storage.PhaseStored, JibriSession: "session-1", Files: make([]meeting.RecordingFile, storage.MaxFiles+1)}, 422},
		"path climbs":             {stored(func(f *meeting.RecordingFile) { f.Path = "../../etc/shadow" }), 422},
		"absolute path":           {stored(func(f *meeting.RecordingFile) { f.Path = "/etc/shadow" }), 422},
		"empty file":              {stored(func(f *meeting.RecordingFile) { f.Size = 0 }), 422},
		"path with NUL":           {stored(func(f *meeting.RecordingFile) { f.Path = "a\x00b" }), 422},
		"name with a slash":       {stored(func(f *meeting.RecordingFile) { f.Name = "a/b" }), 422},
		"name with a line feed":   {stored(func(f *meeting.RecordingFile) { f.Name = "a\nb" }), 422},
		"directory above":         {stored(func(f *meeting.RecordingFile) { f.Dir = ".." }), 422},
		"no bucket":               {stored(func(f *meeting.RecordingFile) { f.Storage = meeting.StorageS3 }), 422},
		"bucket of a directory":   {stored(func(f *meeting.RecordingFile) { f.Bucket = "b" }), 422},
		"object climbs":           {stored(func(f *meeting.RecordingFile) { f.Storage, f.Bucket, f.Path = meeting.StorageS3, "b", "x/../../y" }), 422},
		"no hash":                 {stored(func(f *meeting.RecordingFile) { f.SHA256 = "" }), 422},
		"unknown storage":         {stored(func(f *meeting.RecordingFile) { f.Storage = "ftp" }), 422},
		"huge":                    {storage.Report{Phase: storage.PhaseLost, JibriSession: "session-1", Detail: strings.Repeat("x", maxHandOver)}, 413},
		"detail that is too long": {storage.Report{Phase: storage.PhaseLost, JibriSession: "session-1", Detail: strings.Repeat("x", storage.MaxDetail+1)}, 422},
	} {
		if res := s.call(c.body); res.Code != c.want {
			t.Errorf("%s: %d %s, want %d", name, res.Code, res.Body, c.want)
		}
	}
	good, _ := json.Marshal(storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-1"}) // strings
	for name, res := range map[string]response{
		"wrong secret":     s.signed(good, "j1", "another-secret-of-16", time.Now()),
		"unknown recorder": s.signed(good, "j2", recorderSecret, time.Now()),
		"no secret":        s.signed(good, "j2", "", time.Now()),
		"an hour old":      s.signed(good, "j1", recorderSecret, time.Now().Add(-time.Hour)),
	} {
		if res.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d, want 401", name, res.Code)
		}
	}
	if after := s.do("GET", "/v1/recordings/"+rec.ID, "").Body.String(); after != before {
		t.Errorf("the recording was %s, is %s", before, after)
	}
	counts := map[string]float64{}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "usher_recording_callbacks_total" {
			for _, m := range f.GetMetric() {
				counts[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if counts["none unsigned"] != 4 || counts["closed unknown"] != 4 || counts["closed invalid"] != 3 || counts["none invalid"] != 3 {
		t.Errorf("counted %v", counts)
	}
	// What the focus said counts more than what metadata.json claims.
	var answer storage.Answer
	s.call(storage.Report{Phase: storage.PhaseClosed, JibriSession: "session-1", RecordingID: "rec_of_somebody", MeetingID: "mtg_else"}).into(http.StatusOK, &answer)
	if answer.RecordingID != rec.ID {
		t.Errorf("the file goes to %s, want %s", answer.RecordingID, rec.ID)
	}
}

func FuzzHandOver(f *testing.F) {
	f.Add([]byte(`{"phase":"stored","jibri_session_id":"s","files":[{"path":"a","size":1}]}`))
	f.Add([]byte(`{"phase":"closed","jibri_session_id":"..","recording_id":"rec_x"}`))
	hash := strings.Repeat("a", 64)
	f.Add([]byte(`{"phase":"stored","jibri_session_id":"s","files":[{"name":"a","storage":"file","path":"b/../c","size":1,"sha256":"` + hash + `"}]}`))
	f.Add([]byte(`{"phase":"stored","jibri_session_id":"s","files":[{"name":"a","storage":"s3","bucket":"b","path":"b//c/..","size":1,"sha256":"` + hash + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var said storage.Report
		if json.Unmarshal(data, &said) != nil || wrongHandOver(said) != "" {
			return
		}
		if strings.ContainsAny(said.JibriSession, "/\\\x00") || strings.HasPrefix(said.JibriSession, ".") {
			t.Errorf("session %q was let through", said.JibriSession)
		}
		for _, file := range said.Files {
			if strings.Contains("/"+file.Path+"/", "/../") || file.Storage == meeting.StorageFile && !fs.ValidPath(file.Path) || file.Size <= 0 {
				t.Errorf("file %+v was let through", file)
			}
		}
	})
}
