package handover

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/storage"
	"usher/token"
)

// usherServer answers checks as usher does.
func usherServer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = token.VerifyCallback(secret, r.Header.Get(token.CallbackRecorder), r.Header.Get(token.CallbackTimestamp), r.Header.Get(token.CallbackSignature), body, time.Now())
	}
	switch {
	case r.URL.Path != callbackPath || r.Method != http.MethodPost:
		http.NotFound(w, r)
	case err != nil || r.Header.Get(token.CallbackRecorder) != recorder:
		fail(w, http.StatusUnauthorized, "recorder_signature")
	case string(body) != `{"phase":"check","jibri_session_id":""}`:
		fail(w, http.StatusUnprocessableEntity, "invalid")
	default:
		_ = json.NewEncoder(w).Encode(storage.Answer{Usher: "v1"})
	}
}

// fail answers with an error of usher's.
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"code":"`+code+`"}`)
}

// onServer has the site speak to a server over the network.
func onServer(t *testing.T, how string, usher http.HandlerFunc) *site {
	server := httptest.NewServer(usher)
	t.Cleanup(server.Close)
	s := newSite(t, how)
	s.cfg.URL = server.URL
	return s
}

// mustCheck checks the settings and what the check says, which is nothing for "".
// It must leave all directories as they were.
func (s *site) mustCheck(what string, want ...string) {
	s.t.Helper()
	base := filepath.Dir(s.recordings)
	before, beforeTarget := files(s.t, base), files(s.t, s.target)
	_, err := Check(s.t.Context(), s.cfg)
	got := ""
	if err != nil {
		got = err.Error()
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			s.t.Errorf("%s: %q, want %q", what, got, w)
		}
	}
	if len(want) == 0 && err != nil {
		s.t.Errorf("%s: %v, want nothing", what, err)
	}
	if strings.Contains(got, string(s.cfg.RecorderSecret)) {
		s.t.Errorf("%s: the secret shows in %q", what, got)
	}
	if after := files(s.t, base); !slices.Equal(after, before) {
		s.t.Errorf("%s: %q are left, want %q", what, after, before)
	}
	has(s.t, s.recordings)
	has(s.t, s.target, beforeTarget...)
}

// TestCheckUsher: the check approves usher alone, and names the setting that is
// wrong where something else answers.
func TestCheckUsher(t *testing.T) {
	for what, tt := range map[string]struct {
		usher http.HandlerFunc
		want  []string
	}{
		"usher":            {usherServer, nil},
		"a web page":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, []string{"url: ", "is not usher"}},
		"an API":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":true}`) }, []string{"url: ", "is not usher"}},
		"204":              {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, []string{"url: ", "is not usher"}},
		"another's 400":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, []string{"url: ", "is not usher"}},
		"another's 422":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) }, []string{"url: ", "is not usher"}},
		"another's 401":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, []string{"url: ", "is not usher"}},
		"another's 404":    {http.NotFound, []string{"url: ", "is not usher"}},
		"a proxy's 502":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, []string{"url: ", "is not usher"}},
		"a redirect":       {http.RedirectHandler("https://elsewhere.test", http.StatusFound).ServeHTTP, []string{"url: ", "https://elsewhere.test"}},
		"usher of before":  {func(w http.ResponseWriter, _ *http.Request) { fail(w, 422, "invalid") }, []string{"url: ", "too old"}},
		"usher, no Redis":  {func(w http.ResponseWriter, _ *http.Request) { fail(w, 503, "unavailable") }, []string{"cannot say now"}},
		"a clock":          {func(w http.ResponseWriter, _ *http.Request) { fail(w, 401, "recorder_clock") }, []string{"clocks"}},
		"usher's metrics":  {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "404", 404) }, []string{"url: "}},
		"a hanging server": {func(_ http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, []string{"url: "}},
	} {
		onServer(t, Shared, tt.usher).mustCheck(what, tt.want...)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(usherServer))
	t.Cleanup(secure.Close)
	for what, tt := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"another secret":            {func(s *Settings) { s.RecorderSecret += "x" }, "recorder-secret: "},
		"another recorder":          {func(s *Settings) { s.Recorder = "jibri-2" }, "recorder or recorder-secret: "},
		"another path":              {func(s *Settings) { s.URL += "/usher" }, "url: "},
		"nobody there":              {func(s *Settings) { s.URL = "http://127.0.0.1:1" }, "url: "},
		"no such host":              {func(s *Settings) { s.URL = "http://nobody.invalid" }, "url: "},
		"TLS where there is none":   {func(s *Settings) { s.URL = "https" + strings.TrimPrefix(s.URL, "http") }, "url: "},
		"no TLS where there is":     {func(s *Settings) { s.URL = "http" + strings.TrimPrefix(secure.URL, "https") }, "url: "},
		"an authority of one's own": {func(s *Settings) { s.URL = secure.URL }, "SSL_CERT_FILE"},
	} {
		s := onServer(t, Shared, usherServer)
		tt.change(&s.cfg)
		s.mustCheck(what, tt.want)
	}
}

// TestCheckDirectories: so does it for directories. Nobody, not even root, may
// write to /proc/self, as to one that is read-only.
func TestCheckDirectories(t *testing.T) {
	for what, tt := range map[string]struct {
		how    string
		change func(*site)
		want   []string
	}{
		"move":                       {Move, func(*site) {}, nil},
		"no recordings-dir":          {Move, func(s *site) { s.cfg.RecordingsDir = "" }, nil},
		"spool to be made":           {Shared, func(s *site) { s.cfg.SpoolDir += "/further/down" }, nil},
		"spool on a full disk":       {Shared, func(s *site) { s.cfg.SpoolDir = "/dev/full/spool" }, []string{"spool-dir: "}},
		"spool is a file":            {Shared, func(s *site) { s.cfg.SpoolDir = file(s.t) }, []string{"spool-dir: "}},
		"spool read-only":            {Shared, func(s *site) { s.cfg.SpoolDir = "/proc/self" }, []string{"spool-dir: "}},
		"no place for a spool":       {Shared, func(s *site) { s.cfg.SpoolDir = "/proc/self/spool" }, []string{"spool-dir: "}},
		"a broken job":               {Shared, breakJob, []string{"spool-dir: ", "job abc.0"}},
		"spool elsewhere":            {Move, func(s *site) { s.cfg.SpoolDir = otherFileSystem(s.t) }, nil},
		"target elsewhere":           {Move, func(s *site) { s.cfg.TargetDir = otherFileSystem(s.t) }, nil},
		"recordings missing":         {Shared, func(s *site) { s.cfg.RecordingsDir += "x" }, []string{"recordings-dir: "}},
		"recordings are a file":      {Shared, func(s *site) { s.cfg.RecordingsDir = file(s.t) }, []string{"recordings-dir: "}},
		"recordings read-only":       {Shared, func(s *site) { s.cfg.RecordingsDir = "/proc/self" }, nil},
		"recordings not taken away":  {Move, func(s *site) { s.cfg.RecordingsDir = "/proc/self" }, []string{"recordings-dir: "}},
		"target missing":             {Move, func(s *site) { s.cfg.TargetDir += "x" }, []string{"target-dir: "}},
		"target is a file":           {Move, func(s *site) { s.cfg.TargetDir = file(s.t) }, []string{"target-dir: "}},
		"target read-only":           {Move, func(s *site) { s.cfg.TargetDir = "/proc/self" }, []string{"target-dir: "}},
		"target that is not used":    {Shared, func(s *site) { s.cfg.TargetDir += "x" }, nil},
		"a setting that cannot work": {Shared, func(s *site) { s.cfg.HandOver = "ftp" }, []string{"handover must be"}},
		"all at once": {Move, func(s *site) {
			s.cfg.URL, s.cfg.SpoolDir, s.cfg.RecordingsDir, s.cfg.TargetDir = "http://127.0.0.1:1", "/proc/self", "/nowhere", "/nowhere"
		}, []string{"url: ", "\nspool-dir: ", "\nrecordings-dir: ", "\ntarget-dir: "}},
	} {
		s := onServer(t, tt.how, usherServer)
		tt.change(s)
		s.mustCheck(what, tt.want...)
	}
}

// file returns the path of a file.
func file(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	return path
}

// breakJob puts what is no job into the spool.
func breakJob(s *site) {
	folder := filepath.Join(s.cfg.SpoolDir, "abc.0123456789ab")
	must(s.t, os.Mkdir(folder, 0o700))
	must(s.t, os.WriteFile(filepath.Join(folder, jobFile), []byte("{"), 0o600))
}

// otherFileSystem returns a directory in memory.
func otherFileSystem(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "usher")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// TestCheckBucket: so does it for S3.
func TestCheckBucket(t *testing.T) {
	s, server := onS3(t)
	usher := httptest.NewServer(http.HandlerFunc(usherServer))
	t.Cleanup(usher.Close)
	s.cfg.URL = usher.URL
	right := s.cfg.S3
	for what, tt := range map[string]struct {
		change func(*Bucket)
		want   []string
	}{
		"right":        {func(*Bucket) {}, nil},
		"no bucket":    {func(b *Bucket) { b.Bucket = "no-such-bucket" }, []string{"s3-bucket: "}},
		"no such name": {func(b *Bucket) { b.Bucket = "A" }, []string{"s3-bucket: "}},
		"access key":   {func(b *Bucket) { b.AccessKey = "another" }, []string{"s3-access-key: "}},
		"secret key":   {func(b *Bucket) { b.SecretKey = "another-secret" }, []string{"s3-secret-key: "}},
		"nobody there": {func(b *Bucket) { b.Endpoint = "http://127.0.0.1:1" }, []string{"s3-endpoint"}},
		"no S3":        {func(b *Bucket) { b.Endpoint = usher.URL }, []string{"s3-endpoint"}},
		"no URL":       {func(b *Bucket) { b.Endpoint = "http://a b" }, []string{"s3-endpoint"}},
		"TLS":          {func(b *Bucket) { b.Endpoint = strings.TrimPrefix(b.Endpoint, "http://") }, []string{"s3-endpoint"}},
	} {
		s.cfg.S3 = right
		tt.change(&s.cfg.S3)
		s.mustCheck(what, tt.want...)
	}
	if found := inBucket(t, server); len(found) != 0 {
		t.Errorf("left in the bucket: %v", found)
	}

	// A server in front that forbids something, or gives back something else.
	s.cfg.S3 = right
	forbidden, lie := "", false
	to, err := url.Parse(right.Endpoint)
	must(t, err)
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // is signed
		},
		ModifyResponse: func(r *http.Response) error {
			if lie && r.Request.Method == http.MethodGet {
				r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", int(r.ContentLength))))
			}
			return nil
		},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == forbidden {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.cfg.S3.Endpoint = front.URL
	s.mustCheck("nothing wrong")
	lie = true
	s.mustCheck("something else is read", "s3-endpoint", "was written and reads")
	lie, forbidden = false, http.MethodGet
	s.mustCheck("no right to read", "s3-access-key")
	forbidden = http.MethodDelete
	s.mustCheck("no right to delete")
	s.mustCheck("no right to delete, again")
	if found := inBucket(t, server); len(found) != 1 {
		t.Errorf("in the bucket: %v, want what could not be deleted, once", found)
	}
	for upload := range server.Client(t).ListIncompleteUploads(t.Context(), server.Bucket, "", true) {
		t.Errorf("left in the bucket: an upload of %q, %v", upload.Key, upload.Err)
	}
}
