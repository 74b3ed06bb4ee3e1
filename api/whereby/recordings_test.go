package whereby_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"usher/api/whereby"
	"usher/meeting"
	"usher/meeting/service"
	"usher/storage"
	"usher/token"
)

const wherebySecret = "a-secret-that-stays"

// record gives the meeting, in which somebody is, a recording with its files.
func (s *wherebySite) record(id string, files ...meeting.RecordingFile) meeting.Recording {
	s.t.Helper()
	do := func(f meeting.Input) meeting.Meeting {
		s.t.Helper()
		m, err := s.tracker.Do(s.t.Context(), id, f)
		if err != nil {
			s.t.Fatalf("%#v: %v", f, err)
		}
		return m
	}
	m := do(meeting.RecordingWanted{By: meeting.Requester{Type: meeting.ByApp}})
	rec, _ := m.ActiveRecording(meeting.ModeFile)
	s.nextMillisecond()
	m = do(meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: rec, JibriSession: "jibri-" + rec.ID, Recorder: "jibri1", Files: files})
	if rec, _ = m.AtHand(rec.ID); len(files) > 0 && rec.State != meeting.RecordingAvailable {
		s.t.Fatalf("recording = %+v, want it available", rec)
	}
	return rec
}

func TestWherebyRecordings(t *testing.T) {
	s := newWherebySite(t, nil)
	a, b := s.createMeeting(""), s.createMeeting("")
	s.person(a, meeting.Seen{Occupant: human("ann")})
	s.person(b, meeting.Seen{Occupant: human("bob")})
	small := meeting.RecordingFile{Name: "1.mp4", Dir: "d1", Path: "José <b>&😀-1.mp4", Size: 100, Storage: meeting.StorageFile}
	large := meeting.RecordingFile{Name: "2.mp4", Dir: "d2", Path: a.Room + "-2026-11-22T10:00:00Z.mp4", Size: 2_000_001, Storage: meeting.StorageFile}
	first, second := s.record(a.ID, small, large), s.record(b.ID, small)
	pending := s.record(b.ID) // its file is awaited

	ids := func(query string) string {
		t.Helper()
		var list struct {
			Results []struct{ RecordingID string }
		}
		s.get("/recordings"+query, &list)
		var ids []string
		for _, r := range list.Results {
			ids = append(ids, r.RecordingID)
		}
		return fmt.Sprint(ids)
	}
	for query, want := range map[string]string{
		"":                                 fmt.Sprint([]string{second.ID, first.ID}),
		"?sortBy=startDate:asc":            fmt.Sprint([]string{first.ID, second.ID}),
		"?roomName=/" + a.Room:             fmt.Sprint([]string{first.ID}),
		"?roomName=" + b.Room + "&sortBy=": fmt.Sprint([]string{second.ID}),
		"?roomName=/none":                  "[]",
	} {
		if got := ids(query); got != want {
			t.Errorf("recordings%s = %s, want %s", query, got, want)
		}
	}
	status, _, body := s.call("GET", s.base+"/recordings/"+first.ID, "", nil)
	stored, _ := s.store.Recording(t.Context(), first.ID)
	at := func(when time.Time) string { return when.UTC().Format("2006-01-02T15:04:05.000Z") }
	want := fmt.Sprintf(`{"recordingId":"%s","roomSessionId":"%s","roomName":"/%s","filename":"%s","startDate":"%s","endDate":"%s","sizeInMegaBytes":3}`+"\n",
		first.ID, first.SessionID, a.Room, large.Path, at(stored.StartedAt.Time), at(stored.StoppedAt.Time))
	if status != 200 || body != want {
		t.Errorf("recording: %d %s, want %s", status, body, want)
	}
	if _, _, body = s.call("GET", s.base+"/recordings/"+second.ID, "", nil); !strings.Contains(body, `"filename":"José <b>&😀-1.mp4"`) {
		t.Errorf("the file's name is written as %s", body)
	}
	s.refused("GET", "/recordings/"+pending.ID, "", "", 404)
	s.refused("GET", "/recordings/"+pending.ID+"/access-link", "", "", 404)

	if status, _, _ := s.call("DELETE", s.base+"/recordings/"+pending.ID, "", nil); status != 204 {
		t.Errorf("deleting one that is not there yet: %d", status)
	}
	if now, _ := s.store.Recording(t.Context(), pending.ID); !now.Deleted.IsZero() {
		t.Error("a recording whose file is awaited was deleted")
	}
	for range 2 {
		if status, _, body := s.call("DELETE", s.base+"/recordings/"+first.ID, "", nil); status != 204 || body != "" {
			t.Errorf("delete: %d %s", status, body)
		}
	}
	s.refused("GET", "/recordings/"+first.ID, "", "", 404)
	if got := ids(""); got != fmt.Sprint([]string{second.ID}) {
		t.Errorf("recordings = %s after one was deleted", got)
	}
	status, _, _ = s.call("POST", s.base+"/recordings/bulk-delete", "application/json", []byte(`{"recordingIds":["none","`+second.ID+`","`+first.ID+`"]}`))
	if got := ids(""); status != 204 || got != "[]" {
		t.Errorf("bulk-delete: %d, left %s", status, got)
	}
	for _, path := range []string{"/transcriptions", "/summaries?limit=100"} {
		if status, _, body := s.call("GET", s.base+path, "", nil); status != 200 || body != `{"cursor":null,"results":[]}`+"\n" {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/transcriptions/1", "/summaries/1"} {
		if status, _, _ := s.call("DELETE", s.base+path, "", nil); status != 204 {
			t.Errorf("DELETE %s: %d", path, status)
		}
	}
}

// TestWherebyAccessLink looks at what is asked of the storage.
func TestWherebyAccessLink(t *testing.T) {
	bucket := &fakeFiles{}
	s := newWherebySite(t, func(c *testConfig) { c.Files = bucket })
	m := s.createMeeting("")
	s.person(m, meeting.Seen{Occupant: human("ann")})
	rec := s.record(m.ID,
		meeting.RecordingFile{Name: "1.mp4", Path: "1.mp4", Size: 1, Storage: meeting.StorageS3},
		meeting.RecordingFile{Name: "2.mp4", Path: "2.mp4", Size: 9, Storage: meeting.StorageS3})
	for query, valid := range map[string]time.Duration{"": time.Hour, "?validForSeconds=43200": 12 * time.Hour} {
		var link struct {
			AccessLink string
			Expires    int64
		}
		s.get("/recordings/"+rec.ID+"/access-link"+query, &link)
		if want := "https://files.example.org/2.mp4?a=1&b=<2>&valid=" + valid.String(); link.AccessLink != want {
			t.Errorf("access link %s, want %s", link.AccessLink, want)
		}
		if off := time.Until(time.UnixMilli(link.Expires)) - valid; off.Abs() > time.Minute {
			t.Errorf("it expires %v off", off)
		}
	}
}

// TestWherebyDestination proves that credentials which an app brings along are
// used where the site allows it, and seen nowhere.
func TestWherebyDestination(t *testing.T) {
	const keys = `"bucket":"B/folder","accessKeyId":"AKIA-VISIBLE","accessKeySecret":"SK-VISIBLE/+="`
	cloud := func(destination string) string {
		return `,"recording":{"type":"cloud","startTrigger":"automatic","destination":` + destination + `}`
	}
	s := newWherebySite(t, func(c *testConfig) { c.SealSecret, c.Destinations = wherebySecret, true })
	m := s.createMeeting(cloud(`{"provider":"s3","region":"eu-north-1",` + keys + `}`))
	if got := m.header.Get(whereby.Ignored); got != "" {
		t.Errorf("%s = %q", whereby.Ignored, got)
	}
	s.person(m, meeting.Seen{Occupant: human("ann")}) // starts a recording
	stored, err := s.store.Load(t.Context(), m.ID)
	if err != nil || len(stored.Recordings) != 1 {
		t.Fatalf("recordings = %+v, %v, want one", stored.Recordings, err)
	}
	sealed := stored.Recordings[0].Destination
	opened := func(secret, sealed string) (*meeting.Destination, error) {
		return service.New(service.Config{SealSecret: secret}).Destination(sealed)
	}
	got, err := opened(wherebySecret, sealed)
	want := meeting.Destination{Region: "eu-north-1", Bucket: "B/folder", AccessKey: "AKIA-VISIBLE", SecretKey: "SK-VISIBLE/+="}
	if err != nil || got == nil || *got != want {
		t.Errorf("opened %v, %v, want what the app said", got, err)
	}
	if _, err := opened("another-secret", sealed); !errors.Is(err, token.ErrSealed) {
		t.Errorf("another secret: %v, want ErrSealed", err)
	}
	if got, err := opened(wherebySecret, ""); got != nil || err != nil {
		t.Errorf("no destination: %v, %v, want none", got, err)
	}
	// An app that changes what it can see keeps what it cannot.
	policy := stored.Policy
	policy.Destination, policy.Trigger = "", meeting.TriggerSecond
	changed, err := s.tracker.Do(t.Context(), m.ID, meeting.Patched{Policy: &policy})
	if err != nil || changed.Policy.Destination != sealed || changed.Policy.Trigger != meeting.TriggerSecond {
		t.Errorf("policy = %+v, %v after a change", changed.Policy, err)
	}

	var shown strings.Builder
	for _, path := range []string{"/v1/meetings/" + m.ID, "/v1/meetings", "/v1/rooms", "/v1/events?limit=100", "/v1/insights/sessions", "/whereby/v1/meetings/" + m.ID, "/whereby/v1/recordings"} {
		shown.WriteString(s.do("GET", path, "").Body.String())
	}
	kept, _ := json.Marshal(stored)
	for what, text := range map[string]string{
		"answers": shown.String(), "log": s.log.String(), "store": string(kept),
	} {
		if strings.Contains(text, "VISIBLE") || what != "store" && strings.Contains(text, sealed) || text == "" {
			t.Errorf("%s show the destination: %s", what, text)
		}
	}

	for destination, says := range map[string]string{
		`{"provider":"s3","authenticationType":"roleBased","bucket":"B","oidcRoleArn":"arn"}`: "recording.destination",
		`{"provider":"s3"}`:      "recording.destination",
		`{"provider":"whereby"}`: "",
		`null`:                   "",
	} {
		m := s.createMeeting(cloud(destination))
		stored, _ := s.store.Load(t.Context(), m.ID)
		if got := m.header.Get(whereby.Ignored); got != says || !reflect.DeepEqual(stored.Policy, meeting.RecordingPolicy{Trigger: meeting.TriggerAutomatic}) {
			t.Errorf("%s: ignored %q, policy %+v, want %q and the trigger alone", destination, got, stored.Policy, says)
		}
	}
	for _, bad := range []string{
		`{"provider":"s3","bucket":"a b","accessKeyId":"a","accessKeySecret":"b"}`,
		`{"provider":"s3","bucket":"a","accessKeyId":"a\n","accessKeySecret":"b"}`,
		`{"provider":"s3","bucket":"a","accessKeyId":"a","accessKeySecret":"` + strings.Repeat("VISIBLE", 100) + `"}`,
		`{"provider":"s3","bucket":"a","region":"x/../y","accessKeyId":"a","accessKeySecret":"b"}`,
	} {
		message := s.refused("POST", "/meetings", "application/json", `{"endDate":"2099-01-01T00:00:00Z"`+cloud(bad)+`}`, 400)
		if strings.Contains(message, "VISIBLE") || !strings.Contains(message, "recording.destination") {
			t.Errorf("%s: %s", bad, message)
		}
	}
}

func TestWherebyRecordingPolicies(t *testing.T) {
	s := newWherebySite(t, nil)
	for asked, want := range map[string]meeting.Trigger{
		`{"type":"none","startTrigger":"automatic"}`:                  "",
		`{"type":"local","startTrigger":"automatic"}`:                 "",
		`{"type":"cloud"}`:                                            "",
		`{"type":"cloud","startTrigger":"none"}`:                      meeting.TriggerNone,
		`{"type":"cloud","startTrigger":"prompt"}`:                    meeting.TriggerPrompt,
		`{"type":"cloud","startTrigger":"automatic"}`:                 meeting.TriggerAutomatic,
		`{"type":"cloud","startTrigger":"automatic-2nd-participant"}`: meeting.TriggerSecond,
	} {
		m := s.createMeeting(`,"recording":` + asked)
		stored, err := s.store.Load(t.Context(), m.ID)
		if err != nil || !reflect.DeepEqual(stored.Policy, meeting.RecordingPolicy{Trigger: want}) {
			t.Errorf("%s: policy %+v, %v, want %q", asked, stored.Policy, err, want)
		}
		for url, prompted := range map[string]bool{m.HostURL: want == meeting.TriggerPrompt, m.URL: false} {
			res := s.send("GET", strings.TrimPrefix(url, "https://usher.example.org"), "", "", "")
			to := res.Header().Get("Location")
			if res.Code != 302 || !strings.HasPrefix(to, "https://meet.example.org/"+m.Room+"#jwt=") ||
				strings.HasSuffix(to, "&config.recordings.suggestRecording=true") != prompted {
				t.Errorf("%s: %d to %s, want it to suggest recording: %v", asked, res.Code, to, prompted)
			}
		}
	}
	m := s.createMeeting(`,"recording":{"type":"cloud","startTrigger":"prompt"}`)
	var l Link
	s.do("POST", "/v1/meetings/"+m.ID+"/links", `{"role":"host","jwt_in":"query"}`).into(201, &l)
	to := s.send("GET", strings.TrimPrefix(l.URL, "https://usher.example.org"), "", "", "").Header().Get("Location")
	if !strings.Contains(to, m.Room+"?jwt=") || !strings.HasSuffix(to, "#config.recordings.suggestRecording=true") {
		t.Errorf("a link with the token in the query leads to %s", to)
	}
}

// ownBucket has a meeting recorded into a bucket of the app's.
const ownBucket = `,"recording":{"type":"cloud","startTrigger":"automatic","destination":{"provider":"s3","bucket":"b/folder","accessKeyId":"AK","accessKeySecret":"SK"}}`

// handedOver has a recorder hand over the file of the meeting's recording, and
// checks that it was given the keys if the file is in the app's bucket.
func (s *wherebySite) handedOver(id, bucket string) meeting.Recording {
	s.t.Helper()
	stored, err := s.store.Load(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	rec, _ := stored.ActiveRecording(meeting.ModeFile)
	var answer storage.Answer
	s.handOver(storage.Report{Phase: storage.PhaseClosed, JibriSession: "s1", RecordingID: rec.ID, MeetingID: id}).into(200, &answer)
	if d := answer.Destination; bucket == "b" && (d == nil || d.Bucket != "b/folder" || d.AccessKey != "AK" || d.SecretKey != "SK") {
		s.t.Error("the recorder's host is not given the destination")
	}
	file := testFile
	file.Storage, file.Bucket, file.Owner = meeting.StorageS3, bucket, "whoever"
	if res := s.handOver(storage.Report{Phase: storage.PhaseStored, JibriSession: "s1", Files: []meeting.RecordingFile{file}}); res.Code != 204 {
		s.t.Fatalf("stored: %d %s", res.Code, res.Body)
	}
	return rec
}

// TestDestinationReachesTheRecorder follows credentials that an app brought
// along to the only place where they are used.
func TestDestinationReachesTheRecorder(t *testing.T) {
	files := &fakeFiles{err: errors.New("asked for a file that is not usher's")}
	s := newWherebySite(t, func(c *testConfig) {
		c.SealSecret, c.Destinations = wherebySecret, true
		c.RecorderKeys, c.Files = map[string]string{"j1": recorderSecret}, files
	})
	m := s.createMeeting(ownBucket)
	s.person(m, meeting.Seen{Occupant: human("ann")}) // starts a recording
	rec := s.handedOver(m.ID, "b")
	// usher has keys of its own, not those of the app's bucket, whatever has become
	// of the secret that opens these.
	for _, secret := range []string{wherebySecret, "another-secret-later"} {
		s.serve(func(c *testConfig) { c.SealSecret, c.Files = secret, files })
		s.refused("GET", "/recordings/"+rec.ID+"/access-link", "", "", 501)
	}
	if status, _, body := s.call("DELETE", s.base+"/recordings/"+rec.ID, "", nil); status != 204 {
		t.Errorf("delete: %d %s", status, body)
	}
}

// TestSiteTakesOverForAnUnreadableDestination: a file that went to the site's own
// bucket, because the secret had changed before, is the site's to link and delete.
func TestSiteTakesOverForAnUnreadableDestination(t *testing.T) {
	files := &fakeFiles{}
	later := func(c *testConfig) {
		c.SealSecret, c.Files, c.RecorderKeys = "another-secret-later", files, map[string]string{"j1": recorderSecret}
	}
	s := newWherebySite(t, func(c *testConfig) { c.SealSecret, c.Destinations = wherebySecret, true })
	m := s.createMeeting(ownBucket)
	s.person(m, meeting.Seen{Occupant: human("ann")}) // starts a recording
	s.serve(later)
	rec := s.handedOver(m.ID, "site-bucket")
	var link struct{ AccessLink string }
	if s.get("/recordings/"+rec.ID+"/access-link", &link); link.AccessLink == "" {
		t.Error("no link to a file in the site's own bucket")
	}
	files.err = errors.New("the storage is away")
	s.refused("DELETE", "/recordings/"+rec.ID, "", "", 503)
}

func TestDeleteIsTriedAgain(t *testing.T) {
	files := &fakeFiles{content: map[string]string{testFile.Path: "0123456789"}, err: errors.New("the disk is away")}
	s := newWherebySite(t, func(c *testConfig) { c.Files = files })
	m := s.createMeeting("")
	s.person(m, meeting.Seen{Occupant: human("ann")})
	path := "/whereby/v1/recordings/" + s.record(m.ID, testFile).ID
	if res := s.do("DELETE", path, ""); res.Code != http.StatusServiceUnavailable {
		t.Errorf("DELETE: %d %s, want 503", res.Code, res.Body)
	}
	files.err = nil
	if res := s.do("DELETE", path, ""); res.Code != http.StatusNoContent || len(files.content) != 0 {
		t.Errorf("DELETE again: %d %s, %d files left, want 204 and none", res.Code, res.Body, len(files.content))
	}
}
