package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"usher/meeting"
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

// around does for every request what no route should have to think of: id,
// limits, path, panics, metrics and the access log.
func around(next http.Handler, m *metrics, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := r.Header.Get("X-Request-Id")
		if !saneID.MatchString(id) {
			id = newRequestID(start)
		}
		ex := &exchange{requestID: id}
		ctx := context.WithValue(r.Context(), exchangeKey{}, ex)
		asked := r.URL.Path
		if clean := path.Clean("/" + asked); clean != streamPath && !strings.HasPrefix(clean, filePath) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, RequestTimeout, errTimeout)
			defer cancel()
		}

		for _, secret := range []string{doorPath, filePath, "/internal/jibri/"} {
			if strings.HasPrefix(path.Clean("/"+asked), secret) {
				asked = secret // the rest opens something
			}
		}
		r = r.Clone(ctx)
		// The mux would answer // and /./ with a redirect, which some clients
		// do not follow and which turns others' POST into a GET.
		r.URL.Path, r.URL.RawPath = path.Clean("/"+r.URL.Path), ""
		rec := &recorder{ResponseWriter: w}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r.URL.Path))
		rec.Header().Set("X-Request-Id", id)
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		rec.Header().Set("Cache-Control", "no-store")

		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does

				log.Error("panic while answering a request", "request_id", id, "route", r.Pattern,
					"panic", p, "stack", string(debug.Stack()))
				switch {
				case rec.status != 0:
				case isWhereby(r.URL.Path):
					writeWhereby(rec, http.StatusInternalServerError, wherebyError{Error: "Internal error"})
					p = nil
				default:
					writeProblem(rec, r, newProblem(http.StatusInternalServerError, ""))
					p = nil
				}
			}
			took := time.Since(start)
			m.observe(r.Pattern, r.Method, rec.status, took)
			// No header and no query: they hold secrets.
			log.Debug("http request", "request_id", id, "method", r.Method, "route", r.Pattern,
				"path", asked, "status", rec.status, "duration", took, "remote", r.RemoteAddr, "key_id", ex.caller.id)
			if p != nil {
				// Half an answer is out: the client must see that it is broken off.
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

var errTimeout = errors.New("api: request took too long")

// saneID is what is taken over as a request id: nothing that could forge a log
// line or fill one.
var saneID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// exchange is what becomes known of a request on its way in. It is shared, and
// not a value of each handler's own context, because the mux tells around the
// route in the request that around made.
type exchange struct {
	requestID string
	caller    caller // under /v1, once the guard has let it in
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request that came through around.
func exchangeOf(ctx context.Context) *exchange {
	if ex, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return ex
	}
	return new(exchange)
}

func requestID(ctx context.Context) string { return exchangeOf(ctx).requestID }

func newRequestID(at time.Time) string {
	var seed meeting.Seed
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	return meeting.NewID("req_", at, seed, 0)
}

// knownOnly serves the routes of mux, and answers in the API's own form where
// the mux would say in plain text that there is none, or none for the method.
func knownOnly(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refusal := &refusal{header: w.Header()}
		h.ServeHTTP(refusal, r)
		writeProblem(w, r, newProblem(refusal.status, ""))
	})
}

// refusal takes the status and headers (Allow) of an answer and drops its body.
type refusal struct {
	header http.Header
	status int
}

func (w *refusal) Header() http.Header         { return w.header }
func (w *refusal) WriteHeader(status int)      { w.status = status }
func (w *refusal) Write(p []byte) (int, error) { return len(p), nil }

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController and huma reach the deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
