package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

const (
	// MaxBody is the largest request body in bytes; the largest honest one, a
	// meeting with its metadata, stays under a fiftieth of it.
	MaxBody = 1 << 20
	// RequestTimeout is how long a request may take once its header is read. A
	// command waits for a store that is away; an app is better off with a 503
	// that it can repeat. The test of a webhook endpoint waits 10 s for it.
	RequestTimeout = 12 * time.Second
)

// entrance is the outermost middleware. It does for every request what no route
// should have to think of: id, limits, path, panics, metrics and the access log.
func (s *server) entrance(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.enter(w, r, next) })
}

func (s *server) enter(w http.ResponseWriter, r *http.Request, next http.Handler) {
	start := time.Now()
	info := &requestInfo{id: r.Header.Get("X-Request-Id")}
	if !requestIDForm.MatchString(info.id) {
		info.id = meeting.NewID("req_", start, meeting.NewSeed(), 0)
	}
	ctx := context.WithValue(r.Context(), requestInfoKey{}, info)
	// The mux would answer // and /./ with a redirect, which some clients do not
	// follow and which turns others' POST into a GET.
	clean := path.Clean("/" + r.URL.Path)
	limit := int64(MaxBody)
	for i := range s.Platforms {
		if p := &s.Platforms[i]; p.owns(clean) {
			info.platform, clean, limit = p, p.tidy(clean), p.MaxBody
		}
	}
	if clean != streamPath && !strings.HasPrefix(clean, service.FilePath) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, RequestTimeout, errTimeout)
		defer cancel()
	}
	logged := r.URL.Path
	if i := strings.IndexAny(logged, "?&"); i >= 0 {
		logged = logged[:i] // a query that somebody has percent-encoded
	}
	for _, secret := range []string{service.JoinPath, service.FilePath, "/internal/jibri/"} {
		if strings.HasPrefix(clean, secret) {
			logged = secret // the rest opens something
		}
	}
	r = r.Clone(ctx)
	if given := r.Header.Get("Content-Type"); given != "" { // in any case (RFC 9110 section 8.3.1)
		kind, _, _ := strings.Cut(given, ";")
		r.Header.Set("Content-Type", strings.ToLower(strings.TrimSpace(kind))+given[len(kind):])
	}
	r.URL.Path, r.URL.RawPath = clean, ""
	sw := &statusWriter{ResponseWriter: w}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	sw.Header().Set("X-Request-Id", info.id)
	sw.Header().Set("X-Content-Type-Options", "nosniff")
	sw.Header().Set("Cache-Control", "no-store")
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
			s.Log.Error("panic while answering a request", "request_id", info.id, "route", r.Pattern,
				"panic", p, "stack", string(debug.Stack()))
			if sw.status == 0 {
				writeProblem(sw, r, NewProblem(http.StatusInternalServerError, ""))
				p = nil
			}
		}
		took := time.Since(start)
		s.observe(r.Pattern, r.Method, sw.status, took)
		// No header and no query: they hold secrets.
		s.Log.Debug("http request", "request_id", info.id, "method", r.Method, "route", r.Pattern,
			"path", logged, "status", sw.status, "duration", took, "remote", r.RemoteAddr, "key_id", info.caller.id)
		if p != nil {
			// Half an answer is out: the client must see that it is broken off.
			panic(http.ErrAbortHandler)
		}
	}()
	next.ServeHTTP(sw, r)
}

var errTimeout = errors.New("api: request took too long")

// requestIDForm is what is taken over as a request id: nothing that could forge a
// log line or fill one.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestInfo is what becomes known of a request on its way in. It is shared, and
// not a value of each handler's own context, because the mux sets the route in
// the request that [server.enter] made.
type requestInfo struct {
	id       string
	caller   caller    // once an API key has let it in
	platform *Platform // whose path it is; nil: the native API's
}

type requestInfoKey struct{}

// infoOf returns what is known of a request that came through [server.enter].
func infoOf(ctx context.Context) *requestInfo {
	if info, ok := ctx.Value(requestInfoKey{}).(*requestInfo); ok {
		return info
	}
	return new(requestInfo)
}

// KeyID returns the id of the API key of a request; see [Me].
func KeyID(ctx context.Context) string { return infoOf(ctx).caller.id }

func requestID(ctx context.Context) string { return infoOf(ctx).id }

// RequestLog returns a log that adds the request's id to what is logged in its
// context.
func RequestLog(log *slog.Logger) *slog.Logger { return slog.New(requestLog{log.Handler()}) }

type requestLog struct{ slog.Handler }

func (h requestLog) Handle(ctx context.Context, r slog.Record) error {
	if id := requestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController and huma reach the deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
