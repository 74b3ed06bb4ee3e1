package webhook

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/idna"
)

const (
	// maxAnswer is how much of an answer's body is read, in bytes: enough for the
	// connection to be used again after any sensible one.
	maxAnswer = 64 << 10
	// maxHeader bounds the header of an answer, in bytes, likewise.
	maxHeader = 64 << 10
	// idleConnection is how long a connection is kept for the next event:
	// shorter than the 60 s and more after which common servers close it.
	idleConnection = 50 * time.Second
	// quietConnection is how long a connection is idle before it is looked at, for
	// lookTime, before it is used again: servers that close idle connections, none
	// of them sooner, may have said 408 on it.
	quietConnection = time.Second
	lookTime        = 100 * time.Microsecond
)

// transport makes requests over HTTP/1.1 (RFC 9112). A connection serves one
// request at a time and is kept for the next. That of package net/http takes twice
// the processor time, as it hands requests and answers from goroutine to goroutine.
type transport struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	port string // where the URL has none

	mu   sync.Mutex
	idle map[string][]*connection // by host and port; the one used last is at the end
}

// connection is a connection to a receiver.
type connection struct {
	net.Conn
	bound io.LimitedReader // how much more is read
	in    *bufio.Reader    // reads from bound
	used  time.Time        // since when it is idle; zero: it is new
}

// requests are buffers for what is sent.
var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// RoundTrip makes one request, and blocks until it is answered or its context
// ends. It makes it anew where the server has closed an idle connection just then.
// No more is to be read of the answer's body. Errors do not quote the URL.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	request := requests.Get().(*bytes.Buffer)
	defer requests.Put(request)
	request.Reset()
	if err := r.Write(request); err != nil {
		return nil, err
	}
	for {
		c, err := t.connect(ctx, r.URL)
		if err != nil {
			return nil, err
		}
		c.bound.N = maxHeader
		answer, keep, err := c.exchange(r, request.Bytes())
		stale := !c.used.IsZero() && c.bound.N == maxHeader // and not a byte came
		t.release(r.URL.Host, c, keep)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !stale:
			return nil, err
		}
	}
}

// connect returns an idle connection or makes one.
func (t *transport) connect(ctx context.Context, u *url.URL) (*connection, error) {
	for c := t.take(u.Host); c != nil; c = t.take(u.Host) {
		if c.ready() {
			return c, nil
		}
		_ = c.Close()
	}
	host := u.Hostname()
	if ascii, err := idna.Lookup.ToASCII(host); err == nil { // else it is an address, or has an underscore
		host = ascii
	}
	conn, err := t.dial(ctx, "tcp", net.JoinHostPort(host, cmp.Or(u.Port(), t.port)))
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, bound: io.LimitedReader{R: conn}}
	c.in = bufio.NewReader(&c.bound)
	return c, nil
}

// take returns the idle connection that was used last, or nil.
func (t *transport) take(host string) (c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if all := t.idle[host]; len(all) > 0 {
		last := len(all) - 1
		c, t.idle[host] = all[last], all[:last]
	}
	return c
}

// release takes a connection back.
func (t *transport) release(host string, c *connection, keep bool) {
	c.used = time.Now()
	t.mu.Lock()
	if keep = keep && len(t.idle[host]) < MaxPerEndpoint; keep {
		t.idle[host] = append(t.idle[host], c)
	}
	t.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// tidy closes connections that have been idle since the given time.
func (t *transport) tidy(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for host, all := range t.idle {
		kept := slices.DeleteFunc(all, func(c *connection) bool {
			old := !c.used.After(since)
			if old {
				_ = c.Close()
			}
			return old
		})
		if t.idle[host] = kept; len(kept) == 0 {
			delete(t.idle, host)
		}
	}
}

// ready reports whether an idle connection may be used again.
func (c *connection) ready() bool {
	switch idle := time.Since(c.used); {
	case idle < quietConnection:
		return true
	case idle > idleConnection:
		return false
	}
	c.bound.N = maxHeader
	_ = c.SetReadDeadline(time.Now().Add(lookTime))
	_, err := c.in.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// exchange sends a request and reads the answer, as far as its bounds allow. keep
// says that the connection can serve another request.
func (c *connection) exchange(r *http.Request, request []byte) (answer *http.Response, keep bool, err error) {
	stop := context.AfterFunc(r.Context(), func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() { keep = stop() && keep }()
	_, unsent := c.Write(request) // some answer before they have read everything, and close
	for answer == nil || answer.StatusCode/100 == 1 && answer.StatusCode != http.StatusSwitchingProtocols {
		if answer, err = http.ReadResponse(c.in, r); err != nil {
			return nil, false, cmp.Or(unsent, err)
		}
	}
	c.bound.N = maxAnswer
	_, unread := io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer, unsent == nil && unread == nil && !answer.Close && c.in.Buffered() == 0, nil
}
