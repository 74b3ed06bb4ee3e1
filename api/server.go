package api

import (
	"log/slog"
	"net/http"
	"time"
)

// Limits of a listener. They bound what somebody without a key can hold on to.
const (
	// ReadHeaderTimeout bounds a client that sends its header byte by byte.
	ReadHeaderTimeout = 5 * time.Second
	// ReadTimeout bounds header and body: MaxBody over a poor mobile link.
	ReadTimeout = 15 * time.Second
	// WriteTimeout bounds the whole exchange: the body, RequestTimeout, and
	// some seconds to send the answer.
	WriteTimeout = 30 * time.Second
	// IdleTimeout is longer than the pools of common HTTP clients keep a
	// connection unused between the calls of a busy app.
	IdleTimeout = 60 * time.Second
	// MaxHeaderBytes is four times the largest honest header, one with a token.
	MaxHeaderBytes = 16 << 10
)

// NewServer returns a server with these limits for a handler of this package.
// Its Addr is empty: use Serve with a listener, one of [LimitConnections] where
// strangers may connect. log gets what net/http
// reports of bad connections.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           closeDoubtful(h),
		ReadHeaderTimeout: ReadHeaderTimeout,
		ReadTimeout:       ReadTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	sayWork(s)
	return s
}

// closeDoubtful closes a connection after a request about whose end somebody on
// the way may be of another mind, and take the next request of somebody else for
// a part of it (RFC 9112 section 6.1). net/http hides that there was a
// Content-Length besides Transfer-Encoding, and Transfer-Encoding in HTTP/1.0, so
// all with the one or in the other are meant.
func closeDoubtful(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
