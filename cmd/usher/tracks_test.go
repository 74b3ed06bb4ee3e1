package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"usher/api"
	"usher/internal/localsite"
	"usher/internal/s3test"
	"usher/internal/stack"
	"usher/meeting"
)

// TestTracks has three people recorded by a bridge, each in a file of their own,
// from a request over the API to the download, with real servers in between: the
// files go into a bucket. Those of the demo go into a directory.
func TestTracks(t *testing.T) {
	listen, err := stack.FreeAddr()
	must(t, err)
	bucket := s3test.Start(t)
	s := &studio{scene: newSite(t, "--tracks-listen="+listen, "--tracks-url=ws://"+listen, "--tracks-notice=app",
		"--tracks-bucket="+bucket.Bucket+"/site", "--tracks-dir="+t.TempDir(),
		"--s3-endpoint="+bucket.Endpoint, "--s3-access-key="+bucket.AccessKey, "--s3-secret-key="+bucket.SecretKey)}
	jvb, err := s.site.StartJVB(within(t))
	must(t, err)
	t.Cleanup(jvb.Close)
	must(t, s.startUsher(t.Context(), newLog(s.log, 0)))
	s.waitReady("")
	s.meets("standup", "none")
	for _, name := range []string{"Ada", "Bob", "Cy"} {
		must(t, s.person(name, "user-"+name).Join(within(t)))
	}
	var people struct{ Data []meeting.ParticipantInfo }
	s.until("three people are in", func() bool {
		return s.call(t.Context(), "GET", "/v1/meetings/"+s.id+"/participants", nil, &people) == nil && len(people.Data) == 3
	})
	var asked meeting.RecordingInfo
	must(t, s.call(t.Context(), "POST", "/v1/meetings/"+s.id+"/recordings", map[string]any{"mode": "tracks"}, &asked))
	r := s.newest(meeting.RecordingOn)
	if r.ID != asked.ID || r.Mode != meeting.ModeTracks || len(r.Parts) != 1 {
		t.Fatalf("the recording is %+v, want the one that was asked for, with one part", r)
	}
	jitsiID := r.Parts[0].JitsiMeetingID
	must(t, jvb.AwaitConnected(within(t), jitsiID, "usher"))
	localsite.SpeakAll(t.Context(), jvb, jitsiID, people.Data)
	s.stopRecording(r.ID)
	r = s.newest(meeting.RecordingAvailable)
	if len(r.Files) != 4 {
		t.Fatalf("files %+v, want one of each person and the manifest", r.Files)
	}
	for _, p := range people.Data {
		s.wantTrack(r, p)
	}
	s.wantTold("requested starting started stopping stopped available")
	for _, q := range jvb.Asked() {
		if len(q.Connects) != 1 || q.Meeting != jitsiID || q.Connects[0].ID != "usher" {
			t.Errorf("the bridge was asked %+v, want nothing but to start and to stop", q)
		}
	}
	folder := "site/" + r.Parts[0].ID + "/"
	if got := objects(t, bucket, folder); len(got) != 4 || !slices.Contains(got, folder+"manifest.json") {
		t.Errorf("the bucket has %q in %s, want three tracks and the manifest", got, folder)
	}
	var said struct{ Data []meeting.SpeakerInfo }
	must(t, s.call(t.Context(), "GET", "/v1/sessions/"+r.SessionID+"/speakers", nil, &said))
	if len(said.Data) != 3 {
		t.Errorf("speakers %+v, want three", said.Data)
	}
	must(t, s.call(t.Context(), "DELETE", "/v1/recordings/"+r.ID, nil, nil))
	if got := objects(t, bucket, folder); len(got) > 0 {
		t.Errorf("the bucket has %q after the recording was deleted, want nothing", got)
	}
	// Whereby has no such recordings, and without consent there are none.
	var whereby struct{ Results []any }
	must(t, s.call(t.Context(), "GET", "/whereby/v1/recordings", nil, &whereby))
	if len(whereby.Results) > 0 {
		t.Errorf("Whereby's API shows %+v, want nothing", whereby.Results)
	}
	if told := s.log.String(); strings.Contains(told, "/record/") {
		t.Error("the log has the secret address of a part")
	}
}

// objects returns the names of what is in a folder of the bucket.
func objects(t *testing.T, server s3test.Server, folder string) (names []string) {
	t.Helper()
	for o := range server.Client(t).ListObjects(t.Context(), server.Bucket, minio.ListObjectsOptions{Prefix: folder}) {
		must(t, o.Err)
		names = append(names, o.Key)
	}
	return names
}

// wantTrack fails unless the recording has the person's file, whole, behind a link.
func (s *studio) wantTrack(r meeting.RecordingInfo, p meeting.ParticipantInfo) {
	s.t.Helper()
	for i, f := range r.Files {
		if f.Track == nil || f.Track.ParticipantID != p.ID {
			continue
		}
		if f.Track.Name != p.Name || f.Track.UserID != p.UserID || f.Track.LastMS-f.Track.FirstMS < 1400 || f.DurationS < 1.4 {
			s.t.Errorf("the file of %s is %+v of %+v", p.Name, f, f.Track)
		}
		var link api.FileLink
		must(s.t, s.call(s.t.Context(), "GET", "/v1/recordings/"+r.ID+"/download?file="+string(rune('0'+i)), nil, &link))
		resp, err := http.Get(link.URL)
		must(s.t, err)
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		must(s.t, err)
		if got := resp.Header.Get("Content-Type"); got != "audio/ogg" || int64(len(content)) != f.Size || !strings.HasPrefix(string(content), "OggS") || !strings.Contains(string(content), p.Name) {
			s.t.Errorf("the file of %s is %d bytes of %s, want %d of audio/ogg that name them", p.Name, len(content), got, f.Size)
		}
		return
	}
	s.t.Errorf("no file of %s among %+v", p.Name, r.Files)
}
