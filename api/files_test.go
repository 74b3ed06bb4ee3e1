package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/storage"
	"usher/token"
)

// recorded has the studio record, and returns the recording with these files of
// it stored; each has ten bytes.
func (s *studio) recorded(session string, files ...meeting.RecordingFile) meeting.Recording {
	s.t.Helper()
	var rec meeting.RecordingInfo
	s.do("POST", "/v1/meetings/"+s.id+"/recordings", "").into(http.StatusAccepted, &rec)
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingTried, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}})
	s.must(s.id, meeting.RecordingInput{Kind: meeting.RecordingAccepted, Recording: meeting.Recording{RecordingStatus: rec.RecordingStatus}, JibriSession: session})
	for _, f := range files {
		s.files.content[f.Path] = "0123456789"
	}
	if res := s.call(storage.Report{Phase: storage.PhaseStored, JibriSession: session, Files: files}); res.Code != http.StatusNoContent {
		s.t.Fatalf("stored: %d %s", res.Code, res.Body)
	}
	return s.stored(rec.ID)
}

// stored reads a recording from the store.
func (s *studio) stored(id string) meeting.Recording {
	s.t.Helper()
	rec, err := s.store.Recording(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

// link asks for a link to a file and returns its path.
func (s *studio) link(rec meeting.Recording, query string) string {
	s.t.Helper()
	var link FileLink
	s.do("GET", "/v1/recordings/"+rec.ID+"/download"+query, "").into(http.StatusOK, &link)
	return strings.TrimPrefix(link.URL, "https://usher.example.org")
}

// follow opens a link as a browser does, without a key.
func (s *studio) follow(method, path string, headers http.Header) response {
	s.t.Helper()
	all := http.Header{"Authorization": {""}, "Content-Type": {""}}
	for name, values := range headers {
		all[name] = values
	}
	return s.sendWith(method, path, "", all)
}

func TestDownloadInParts(t *testing.T) {
	s := newStudio(t)
	odd, webm := testFile, testFile
	odd.Path = "José \"1\"%.MP4"
	webm.Name, webm.Path, webm.SHA256 = "two.webm", "two.webm", strings.Repeat("b", 64)
	rec := s.recorded("s1", odd, webm)
	s.files.content["two.webm"] = "the second"
	path, etag := s.link(rec, ""), `"`+odd.SHA256+`"`
	for name, tt := range map[string]struct {
		method        string
		headers       http.Header
		status        int
		body, ranging string
	}{
		"all":                      {"GET", nil, 200, "0123456789", ""},
		"its size":                 {"HEAD", nil, 200, "", ""},
		"a part":                   {"GET", http.Header{"Range": {"bytes=3-5"}}, 206, "345", "bytes 3-5/10"},
		"the rest":                 {"GET", http.Header{"Range": {"bytes=7-"}}, 206, "789", "bytes 7-9/10"},
		"the end":                  {"GET", http.Header{"Range": {"bytes=-2"}}, 206, "89", "bytes 8-9/10"},
		"beyond":                   {"GET", http.Header{"Range": {"bytes=10-"}}, 416, "invalid range: failed to overlap\n", "bytes */10"},
		"going on with the same":   {"GET", http.Header{"Range": {"bytes=3-5"}, "If-Range": {etag}}, 206, "345", "bytes 3-5/10"},
		"going on with another":    {"GET", http.Header{"Range": {"bytes=3-5"}, "If-Range": {`"other"`}}, 200, "0123456789", ""},
		"what is there already":    {"GET", http.Header{"If-None-Match": {etag}}, 304, "", ""},
		"more than there is of it": {"GET", http.Header{"Range": {"bytes=0-99"}}, 206, "0123456789", "bytes 0-9/10"},
	} {
		res := s.follow(tt.method, path, tt.headers)
		if res.Code != tt.status || res.Header().Get("Content-Range") != tt.ranging || res.Body.String() != tt.body {
			t.Errorf("%s: %d, range %q, %q, want %d, %q, %q", name, res.Code, res.Header().Get("Content-Range"), res.Body, tt.status, tt.ranging, tt.body)
		}
	}
	head := s.follow("HEAD", path, nil)
	for name, want := range map[string]string{
		"Content-Type": "video/mp4", "Content-Length": "10", "Accept-Ranges": "bytes", "Etag": etag, "Cache-Control": "no-store",
		"Content-Disposition":    `attachment; filename="Jos_ _1__.MP4"; filename*=UTF-8''Jos%C3%A9%20%221%22%25.MP4`,
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex",
		"Content-Security-Policy": "default-src 'none'; sandbox",
	} {
		if got := head.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if res := s.follow("GET", s.link(rec, "?file=1"), nil); res.Body.String() != "the second" || res.Header().Get("Content-Type") != "video/webm" {
		t.Errorf("second file = %q as %s", res.Body, res.Header().Get("Content-Type"))
	}
	if open := s.files.open.Load(); open != 0 {
		t.Errorf("%d files were left open", open)
	}
}

func TestDownloadRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t)
		rec := s.recorded("s1", testFile)
		s.serve(func(c *testConfig) { c.Files, c.SealSecret = s.files, "a-secret-of-some-length" })
		path := s.link(rec, "?ttl_s=60")
		forge := func(secret, ticket string) string {
			return "/d/" + token.Seal(secret, "link to a file", []byte(ticket))
		}
		for name, bad := range map[string]string{
			"changed":         path[:len(path)-2] + "!!",
			"empty":           "/d/",
			"another secret":  forge("another-secret-of-length", `{"r":"`+rec.ID+`","f":0,"e":"2001-01-01T00:00:00Z"}`),
			"another purpose": "/d/" + token.Seal("a-secret-of-some-length", "destination", []byte(`{"r":"`+rec.ID+`","f":0,"e":"2001-01-01T00:00:00Z"}`)),
			"no such file":    forge("a-secret-of-some-length", `{"r":"`+rec.ID+`","f":1,"e":"2001-01-01T00:00:00Z"}`),
			"file below 0":    forge("a-secret-of-some-length", `{"r":"`+rec.ID+`","f":-1,"e":"2001-01-01T00:00:00Z"}`),
			"no recording":    forge("a-secret-of-some-length", `{"r":"rec_x","f":0,"e":"2001-01-01T00:00:00Z"}`),
		} {
			if res := s.follow("GET", bad, nil); res.Code != http.StatusNotFound {
				t.Errorf("%s: %d %s, want 404", name, res.Code, res.Body)
			}
		}
		s.store.Fail(meeting.ErrUnavailable)
		s.follow("GET", path, nil).problemCode(http.StatusServiceUnavailable, "unavailable")
		s.store.Fail(nil)
		for _, tt := range []struct {
			err    error
			status int
			code   string
		}{
			{fmt.Errorf("/srv/secret: %w", fs.ErrNotExist), http.StatusGone, "file_missing"},
			{fmt.Errorf("/srv/secret: %w", errors.ErrUnsupported), http.StatusNotImplemented, "not_configured"},
			{errors.New("/srv/secret: a fault"), http.StatusServiceUnavailable, "unavailable"},
		} {
			s.files.err = tt.err
			for _, res := range []response{s.follow("GET", path, nil), s.do("GET", "/v1/recordings/"+rec.ID+"/download", "")} {
				if body := res.Body.String(); strings.Contains(body, "secret") {
					t.Errorf("%v: %s tells where files are", tt.err, body)
				}
				res.problemCode(tt.status, tt.code)
			}
		}
		s.files.err = nil
		if res := s.follow("GET", path, nil); res.Code != http.StatusOK { // still, after all of that
			t.Errorf("status = %d, want 200", res.Code)
		}
		time.Sleep(time.Minute)
		s.follow("GET", path, nil).problemCode(http.StatusGone, "expired")
		s.serve(func(*testConfig) {})
		s.do("GET", "/v1/recordings/"+rec.ID+"/download", "").problemCode(http.StatusNotImplemented, "not_configured")

		s.serve(func(c *testConfig) { c.Files = s.files })
		for range AddressBurst {
			s.follow("GET", "/d/x", nil).problem(http.StatusNotFound)
		}
		s.follow("GET", "/d/x", nil).problemCode(http.StatusTooManyRequests, "rate_limited")
	})
}

// TestDeleteTellsWhatIsLeft: 204 says that every file is gone.
func TestDeleteTellsWhatIsLeft(t *testing.T) {
	s := newStudio(t)
	object := testFile
	object.Name, object.Storage, object.Bucket, object.Path = "object.mp4", meeting.StorageS3, "b", "object.mp4"
	rec := s.recorded("s1", testFile, object)
	path := "/v1/recordings/" + rec.ID
	s.serve(func(*testConfig) {})
	s.do("DELETE", path, "").problemCode(http.StatusNotImplemented, "not_configured")
	s.serve(func(c *testConfig) { c.Files = s.files })
	for status, err := range map[int]error{
		http.StatusServiceUnavailable: errors.New("/srv/secret: the disk is away"),
		http.StatusNotImplemented:     fmt.Errorf("no bucket: %w", errors.ErrUnsupported),
	} {
		s.files.err = err
		if p := s.do("DELETE", path, "").problem(status); strings.Contains(p.Detail, "secret") {
			t.Errorf("detail %q tells where files are", p.Detail)
		}
	}
	if now := s.stored(rec.ID); now.Deleted.IsZero() || len(s.files.content) != 2 {
		t.Errorf("recording = %+v, want it marked, and its files there", now)
	}
	s.files.err = fs.ErrNotExist // is as good as deleted
	if res := s.do("DELETE", path, ""); res.Code != http.StatusNoContent {
		t.Errorf("DELETE of files that are gone: %d %s, want 204", res.Code, res.Body)
	}
	s.files.err = nil
	if res := s.do("DELETE", path, ""); res.Code != http.StatusNoContent || len(s.files.content) != 0 {
		t.Errorf("DELETE: %d %s, %d files left", res.Code, res.Body, len(s.files.content))
	}
	told, err := s.store.Events(t.Context(), "", 100)
	deleted := 0
	for _, e := range told {
		deleted += strings.Count(string(e.Event), `"recording.deleted"`)
	}
	if deleted != 1 || err != nil {
		t.Errorf("recording.deleted was told %d times, %v, want once", deleted, err)
	}
}

// pipes is a listener of connections that know no kernel, so that time can be
// made up.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestDownloadOutlastsDeadlines reads a file for longer than any other answer
// may take, and then stops reading.
func TestDownloadOutlastsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t)
		const size = 1 << 20
		rec := s.recorded("s1", testFile)
		s.files.content[testFile.Path] = strings.Repeat("x", size)
		path := s.link(rec, "")
		listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		srv := NewServer(s.handler, slog.New(slog.DiscardHandler))
		served := make(chan error, 1)
		go func() { served <- srv.Serve(listener) }()
		get := func() (*http.Response, func()) {
			ours, theirs := net.Pipe()
			listener.conns <- theirs
			client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}}
			res, err := client.Get("http://usher" + path)
			if err != nil {
				t.Fatal(err)
			}
			return res, func() { _ = res.Body.Close(); client.CloseIdleConnections() }
		}
		res, finish := get()
		begin, part, read := time.Now(), make([]byte, size/16), 0
		for {
			time.Sleep(downloadTimeout - time.Second)
			n, err := io.ReadFull(res.Body, part)
			if read += n; err != nil || read == size {
				break
			}
		}
		if took := time.Since(begin); read != size || took < 2*WriteTimeout+RequestTimeout+ReadTimeout {
			t.Errorf("%d of %d bytes came in %v", read, size, took)
		}
		finish()

		res, finish = get()
		time.Sleep(2 * downloadTimeout)
		synctest.Wait()
		if open := s.files.open.Load(); open != 0 {
			t.Error("the answer goes on although its client has stopped reading")
		}
		if n, err := io.Copy(io.Discard, res.Body); err == nil || n == size {
			t.Errorf("%d bytes came, %v, want the answer broken off", n, err)
		}
		finish()
		close(listener.done)
		_ = srv.Close()
		<-served
	})
}

// TestDeleteTakesAFileThatCameMeanwhile: the recording that was read may have
// one less than the recording that is deleted.
func TestDeleteTakesAFileThatCameMeanwhile(t *testing.T) {
	s := newStudio(t)
	before := s.recorded("s1", testFile)
	late := testFile
	late.Name, late.Path = "late.mp4", "late.mp4"
	s.files.content[late.Path] = "0123456789"
	s.call(storage.Report{Phase: storage.PhaseStored, JibriSession: "s1", Files: []meeting.RecordingFile{late}})
	if err := s.svc.RemoveRecording(t.Context(), before); err != nil || len(s.files.content) != 0 {
		t.Errorf("%v, %d files left, want none", err, len(s.files.content))
	}
}
