package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher/meeting"
	"usher/token"
)

// fakeFiles is a storage in memory.
type fakeFiles struct {
	content map[string]string
	err     error        // answers everything while set
	open    atomic.Int64 // files that were opened and not closed
}

// seeker is an open file, of which reading ends with ctx.
type seeker struct {
	io.ReadSeeker
	ctx context.Context
	of  *fakeFiles
}

func (s seeker) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.ReadSeeker.Read(p)
}

func (s seeker) Close() error {
	s.of.open.Add(-1)
	return nil
}

func (f *fakeFiles) Open(ctx context.Context, file meeting.RecordingFile) (io.ReadSeekCloser, error) {
	text, ok := f.content[file.Path]
	switch {
	case f.err != nil:
		return nil, f.err
	case !ok:
		return nil, fmt.Errorf("open /srv/secret: %w", fs.ErrNotExist)
	}
	f.open.Add(1)
	return seeker{strings.NewReader(text), ctx, f}, nil
}

func (f *fakeFiles) Link(_ context.Context, file meeting.RecordingFile, valid time.Duration) (string, error) {
	return "https://files.example.org/" + file.Path + "?a=1&b=<2>&valid=" + valid.String(), f.err
}

func (f *fakeFiles) Remove(_ context.Context, file meeting.RecordingFile) error {
	if f.err == nil {
		delete(f.content, file.Path)
	}
	return f.err
}

// noRecorders is a site without any.
type noRecorders struct{}

func (noRecorders) Recorders() []meeting.Recorder { return nil }
func (noRecorders) Watching() (bool, string)      { return false, "not configured" }
func (noRecorders) Queue() []meeting.Recording    { return nil }
func (noRecorders) Report(string, bool, bool)     {}

// fakeRecorders are two Jibris, and what they were told.
type fakeRecorders struct {
	queue    []meeting.Recording
	reported []string
}

func (*fakeRecorders) Recorders() []meeting.Recorder {
	return []meeting.Recorder{{Name: "j1", Status: meeting.RecorderIdle, Since: time.Unix(1, 0), Source: "brewery"}}
}
func (*fakeRecorders) Watching() (bool, string)     { return true, "" }
func (f *fakeRecorders) Queue() []meeting.Recording { return f.queue }
func (f *fakeRecorders) Report(name string, busy, healthy bool) {
	f.reported = append(f.reported, fmt.Sprint(name, busy, healthy))
}

const (
	recorderSecret = "secret-of-recorder-j1"
	hookSecret     = "hook-0123456789abcdef"
)

// studio is a site that records.
type studio struct {
	*site
	files     *fakeFiles
	recorders *fakeRecorders
	id        string // of its meeting, somebody in it
}

func newStudio(t testing.TB) *studio {
	s := &studio{site: newSite(t), files: &fakeFiles{content: map[string]string{}}, recorders: &fakeRecorders{}}
	s.serve(func(c *testConfig) {
		c.Files, c.Recorders, c.JibriHookSecret = s.files, s.recorders, hookSecret
		c.RecorderKeys = map[string]string{"j1": recorderSecret}
	})
	s.id = s.create(`{"room":"standup"}`)["id"].(string)
	s.observe("standup", meeting.Seen{Occupant: human("ann")})
	return s
}

// call is a signed call of the recorder j1.
func (s *studio) call(body any) response {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.signed(data, "j1", recorderSecret, time.Now())
}

func (s *studio) signed(data []byte, recorder, secret string, at time.Time) response {
	s.t.Helper()
	timestamp, signature := token.SignCallback(secret, recorder, at, data)
	r := httptest.NewRequest("POST", "/internal/jibri/recordings", bytes.NewReader(data))
	r.Header.Set(token.CallbackRecorder, recorder)
	r.Header.Set(token.CallbackTimestamp, timestamp)
	r.Header.Set(token.CallbackSignature, signature)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
}

// get sends a request without a key.
func (s *studio) get(method, url, ranges string) response {
	s.t.Helper()
	r := httptest.NewRequest(method, strings.TrimPrefix(url, "https://usher.example.org"), nil)
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return response{w, s.t}
}

// must applies an input that the focus's side would tell.
func (s *site) must(meetingID string, f meeting.Input) {
	s.t.Helper()
	if _, err := s.tracker.Do(s.t.Context(), meetingID, f); err != nil {
		s.t.Fatalf("%#v: %v", f, err)
	}
}

var testFile = meeting.RecordingFile{
	Name: "standup_x.mp4", Dir: "session-1", Storage: meeting.StorageFile, Path: "standup-2026.mp4", Size: 10,
	SHA256: strings.Repeat("a", 64), Duration: 1500 * time.Millisecond,
}
