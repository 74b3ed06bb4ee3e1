package api

import (
	"container/list"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// Connections bounds the connections of one listener. A connection is at work
// from when its request is read to the last byte until the answer is sent. When
// all places are taken, the next connection gets that of the one that has not
// been at work for longest, however short that is: whoever only connects, or
// sends a request byte by byte, costs nobody else anything. While all are at
// work, the next waits.
//
// Only a server of [NewServer] says which are at work.
type Connections struct {
	net.Listener
	most int

	mu     sync.Mutex
	news   *sync.Cond // a connection is idle or has ended, or the listener is closed
	open   int
	idle   *list.List // of *connection, the one that has been idle for longest first
	closed bool
}

// LimitConnections returns a TCP listener that has at most so many connections
// open.
func LimitConnections(ln net.Listener, most int) *Connections {
	l := &Connections{Listener: ln, most: most, idle: list.New()}
	l.news = sync.NewCond(&l.mu)
	return l
}

// connection is one of [Connections], and otherwise what net/http knows how to
// send files with.
type connection struct {
	*net.TCPConn
	of *Connections

	// Guarded by of.mu.
	idle   *list.Element // nil while it is at work or closed
	closed bool
}

// Accept implements net.Listener. It blocks until there is a connection and a
// place for it.
func (l *Connections) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{TCPConn: conn.(*net.TCPConn), of: l}
	if !l.place(c) {
		_ = c.TCPConn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// place blocks until there is a place for a connection, which it makes by closing
// another if need be. It reports false once the listener is closed.
func (l *Connections) place(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open >= l.most && !l.closed {
		if oldest := l.idle.Front(); oldest != nil {
			oldest := oldest.Value.(*connection)
			oldest.end()
			_ = oldest.TCPConn.Close() // does not wait for the other side
		} else {
			l.news.Wait()
		}
	}
	if l.closed {
		return false
	}
	l.open++
	c.idle = l.idle.PushBack(c)
	return true
}

// Close implements net.Listener.
func (l *Connections) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.news.Signal()
	return err
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	c.end()
	c.of.mu.Unlock()
	return c.TCPConn.Close()
}

// end gives the connection's place away, once. of.mu is held.
func (c *connection) end() {
	if c.closed {
		return
	}
	c.unlist()
	c.closed = true
	c.of.open--
	c.of.news.Signal()
}

// unlist takes the connection out of the idle ones. of.mu is held.
func (c *connection) unlist() {
	if c.idle != nil {
		c.of.idle.Remove(c.idle)
		c.idle = nil
	}
}

// work says that the connection's request has been read. Its error is
// [net.ErrClosed] when the connection had to make place.
func (c *connection) work() error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.unlist()
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// rest says that the answer has been sent.
func (c *connection) rest() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.unlist(); !c.closed {
		c.idle = c.of.idle.PushBack(c)
		c.of.news.Signal()
	}
}

type connectionKey struct{}

// sayWork has a server say which of its connections are at work, where its
// listener is one of [Connections].
func sayWork(s *http.Server) {
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		if c, ok := conn.(*connection); ok && state == http.StateIdle {
			c.rest()
		}
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connectionKey{}).(*connection)
		switch {
		case !ok:
		case r.ContentLength != 0: // -1 if it is not known
			// A copy: net/http looks at its own body for whether the connection can go on.
			r = r.WithContext(r.Context())
			r.Body = &requestBody{r.Body, c}
		case c.work() != nil:
			panic(http.ErrAbortHandler) // nobody would get the answer
		}
		next.ServeHTTP(w, r)
	})
}

// requestBody is the body of a request. Its end puts the connection to work.
type requestBody struct {
	io.ReadCloser
	conn *connection
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		if closed := b.conn.work(); closed != nil {
			return n, closed
		}
	}
	return n, err
}
