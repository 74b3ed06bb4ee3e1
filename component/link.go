// Package component keeps usher's XMPP streams alive: the external component
// (XEP-0114) and the occupant's ordinary client login (RFC 6120).
//
// It knows nothing of rooms or meetings. Both kinds of stream share one run
// loop, [Link.Run]; what a stream says is handed to a [Handler] on the reading
// goroutine, and everything usher says leaves through one writer.
//
// mellium.im/xmpp dials nothing and serves nothing here: it only negotiates.
// Reading is our own, because addresses and nicks from the wire are not always
// what mellium's parsers accept, and no well-formed stanza may end a stream
// that carries every meeting of a site.
package component

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// loginTimeout bounds dialling and the whole login. A login over TLS with
	// SCRAM takes about 0.15 s on a healthy server.
	loginTimeout = 15 * time.Second

	// Waits between two tries are drawn evenly (full jitter) from retryMin to a
	// ceiling that doubles up to retryMax, so that many clients of a restarted
	// server do not come back in step.
	retryMin = 250 * time.Millisecond
	retryMax = 15 * time.Second

	// A refused secret or a wrong port needs a person to change something, so
	// those tries are spread between retryMax and retryRefused.
	retryRefused = time.Minute

	// A stream that stayed up this long was a success: the next loss starts
	// again with the shortest wait.
	stableAfter = 30 * time.Second
)

// Handler receives what a stream says. Every function may be nil.
//
// The functions run on the reading goroutine: they decode, hand over and
// return. They must not wait for anything that this stream has yet to say.
// An element that a function leaves half read is skipped by the link, and an
// error while decoding one is the function's own business: it never ends the
// stream.
type Handler struct {
	// Presence gets each presence, its start element already read and rid of
	// attributes with a prefix, which nobody vouches for: a server says who sent a
	// stanza in from, and passes a sender's own x:from on. The decoder ends with
	// the stanza.
	Presence func(d *xml.Decoder, start xml.StartElement)
	// Message is the same for messages. Text of one beyond maxMessageIn is left out:
	// a component of the server that says much must not end the stream.
	Message func(d *xml.Decoder, start xml.StartElement)
	// IQ answers get and set requests by the name of their payload. What is
	// not listed is answered service-unavailable (RFC 6120 §8.4); disco#info,
	// ping and version are answered by the link itself.
	IQ map[xml.Name]func(Request)
	// Up fires when a stream is ready for stanzas, with the full JID it speaks as;
	// Down when that stream has ended, with the reason.
	Up   func(jid string)
	Down func(cause error)
}

// Options are what both kinds of link have in common. The zero value is usable.
type Options struct {
	// Name is the label of metrics and log lines; default "component" or "client".
	// Links of one registry need different ones.
	Name    string
	Handler Handler
	// Explain puts a failed login in the terms of whoever has to mend it, for
	// [Link.Status] and the log. It wraps the error. nil leaves it as it is.
	Explain func(error) error
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	LogXML  bool                  // log every stanza at debug level
}

// Link is one XMPP stream that is redialled for as long as [Link.Run] runs.
// Its methods are safe for concurrent use.
type Link struct {
	kind     string // component or client
	ns       string // namespace of its stanzas
	domain   string // the component's domain, or the domain of the login
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	login    func(ctx context.Context) (*conn, string, error) // returns our address as well
	announce string                                           // last failure that was logged

	mu    sync.Mutex
	cur   *stream // nil while down
	since time.Time
	err   error
}

func newLink(kind, ns, domain string, opts Options) *Link {
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	name := cmp.Or(opts.Name, kind)
	return &Link{
		kind:    kind,
		ns:      ns,
		domain:  domain,
		opts:    opts,
		log:     log.With("link", name),
		metrics: newMetrics(opts.Metrics, name),
		dial:    (&net.Dialer{}).DialContext,
		since:   time.Now(),
	}
}

// Run dials, negotiates and serves the stream, again and again with full
// jitter between tries. It returns nil once ctx has ended and everything that
// it started has ended too; what was queued by then is still written.
// It returns early only with [ErrConflict], which redialling would answer by
// throwing the other instance out in turn. Call it once at a time.
func (l *Link) Run(ctx context.Context) error {
	for tries := 1; ; tries++ {
		up, err := l.once(ctx)
		if ctx.Err() != nil {
			l.setDown(nil)
			return nil
		}
		if up >= stableAfter {
			tries = 1
		}
		l.setDown(err)
		if errors.Is(err, ErrConflict) {
			return err
		}
		wait := retryWait(tries, err)
		l.announceFailure(err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once logs in and serves one stream to its end; up is how long it was up.
func (l *Link) once(ctx context.Context) (up time.Duration, err error) {
	c, jid, err := l.connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.metrics.connects.WithLabelValues(reason(err)).Inc()
		}
		return 0, err
	}
	l.metrics.connects.WithLabelValues("ok").Inc()

	start := time.Now()
	s := newStream(l, c, jid)
	l.setUp(s)
	err = s.serve(ctx)
	l.setDown(err)
	l.metrics.disconnects.WithLabelValues(reason(err)).Inc()
	if l.opts.Handler.Down != nil {
		l.opts.Handler.Down(err)
	}
	return time.Since(start), err
}

// connect runs the login bounded by loginTimeout.
func (l *Link) connect(ctx context.Context) (*conn, string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginTimeout, errLoginTimeout)
	defer cancel()
	c, jid, err := l.login(ctx)
	if err != nil && ctx.Err() != nil {
		// The connection was closed under the login; that says less than why.
		err = context.Cause(ctx)
	}
	if err != nil && l.opts.Explain != nil {
		err = l.opts.Explain(err)
	}
	return c, jid, err
}

// negotiate dials addr and runs a login on the connection, which is closed when
// ctx ends meanwhile. login returns the connection to go on with, and our address.
//
// The login itself runs without ctx's end: mellium answers that with a deadline
// in the past, set by a goroutine that may still do so on the stream of a login
// that has just succeeded.
func (l *Link) negotiate(ctx context.Context, addr string,
	login func(context.Context, *conn) (*conn, string, error)) (*conn, string, error) {
	nc, err := l.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, "", err
	}
	release := context.AfterFunc(ctx, func() { nc.Close() })
	c, jid, err := login(context.WithoutCancel(ctx), newConn(nc))
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, "", loginError(err)
	}
	return c, jid, nil
}

func (l *Link) setUp(s *stream) {
	l.mu.Lock()
	l.cur, l.since, l.err = s, time.Now(), nil
	l.mu.Unlock()
	l.announce = ""
	l.metrics.up.Set(1)
	l.log.Info("stream is up", "jid", s.jid)
}

// setDown takes the stream away from senders, who then see [ErrDown]. It is also
// called for each failed try: the link went down only once, but the latest error
// is the one to show.
func (l *Link) setDown(err error) {
	l.mu.Lock()
	if l.cur != nil {
		l.cur, l.since = nil, time.Now()
	}
	l.err = err
	l.mu.Unlock()
	l.metrics.up.Set(0)
}

// announceFailure logs a failure when it differs in kind from the last one.
// Error texts do not do for that: they carry port numbers that change.
func (l *Link) announceFailure(err error, wait time.Duration) {
	r := reason(err)
	if r == l.announce {
		return
	}
	l.announce = r
	level := slog.LevelWarn
	if refused(err) || errors.Is(err, ErrHostUnknown) || errors.Is(err, ErrTLS) {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "no stream, trying again", "reason", r, "err", err, "wait", wait.Round(time.Millisecond))
}

// Status returns whether a stream is up, since when that has been so, and while
// it is down, the error of the last try (nil before the first one has failed).
func (l *Link) Status() (up bool, since time.Time, lastErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur != nil, l.since, l.err
}

// retryWait draws the wait after the given number of tries in a row.
func retryWait(tries int, err error) time.Duration {
	low, high := retryMin, retryMax
	if refused(err) {
		low, high = retryMax, retryRefused
	} else if tries < 6 { // 0.5, 1, 2, 4, 8 s
		high = retryMin << tries
	}
	return low + rand.N(high-low+1)
}

// refused reports whether err is one that only a person can mend. A server that
// is just starting says of a domain that it has not loaded yet, too, that it
// does not know it.
func refused(err error) bool {
	return errors.Is(err, ErrNotAuthorized) || errors.Is(err, ErrWrongPort)
}
