package bridge

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// pongDelay is the time from a bridge's ping to the answer. JVB notes which id
	// it expects only after it has sent the ping: it takes an answer that is faster
	// for a wrong one, and closes the socket.
	pongDelay = 100 * time.Millisecond
	// maxPongs bounds the answers that wait; a bridge pings every 10 s.
	maxPongs = 8
	// keepAlive is the time between two pings of WebSocket: a socket that the bridge
	// has replaced by another must live on, because JVB forgets the other one when
	// it ends, and ends after 60 s of silence.
	keepAlive = 20 * time.Second
	// socketTimeout bounds a write, and the wait for the answer to a ping.
	socketTimeout = 10 * time.Second
	// deafTime is the silence after which nothing is expected of a socket any more,
	// although it is open: three pings of the bridge. JVB leaves such sockets when a
	// conference ends while it connects, and when it replaces one by another.
	deafTime = 3 * connectPing * millisecond
	// maxMessage bounds a message, in bytes; those of JVB have some 300.
	maxMessage = 64 << 10
	// maxSockets bounds those of a part. JVB opens further ones, and leaves the old
	// ones open, when it misses a pong.
	maxSockets = 64
)

// socket is one connection of a bridge.
type socket struct {
	conn  *websocket.Conn
	part  *Part
	pongs chan duePong

	// What follows belongs to the part's goroutine.
	sources map[string]*source // by tag
	begun   bool               // the bridge has said who it is, which is the first that it does
	zero    samples            // when it did: the timestamps of the socket began then at the latest
	heard   samples            // when anything came last
	counts  bool               // among those by which the bridge sends
}

type duePong struct {
	id integer
	at time.Time
}

// serveSocket takes in what a bridge sends until it ends the socket, or ctx or
// the part does. It blocks.
func serveSocket(ctx context.Context, p *Part, w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxMessage)
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(p.ctx, cancel)()
	s := &socket{conn: conn, part: p, pongs: make(chan duePong, maxPongs), sources: map[string]*source{}}
	p.send(input{socket: s, at: time.Now(), event: eventOpened})
	p.log.Info("a bridge has connected", "from", r.RemoteAddr)
	var writers sync.WaitGroup
	writers.Go(func() { defer cancel(); s.answerPings(ctx) })
	writers.Go(func() { defer cancel(); s.stayAlive(ctx) })
	err = s.read(ctx)
	cancel()
	writers.Wait()
	p.send(input{socket: s, at: time.Now(), event: eventEnded})
	p.log.Info("a bridge's socket has ended", "from", r.RemoteAddr, "reason", err)
}

// read takes in messages until the socket ends, and returns why it did.
func (s *socket) read(ctx context.Context) error {
	var text bytes.Buffer
	for {
		_, r, err := s.conn.Reader(ctx)
		if err != nil {
			return err
		}
		text.Reset()
		if _, err := text.ReadFrom(r); err != nil {
			return err
		}
		at := time.Now()
		m, err := decode(text.Bytes())
		if err != nil {
			s.part.metrics.count(packetMalformed)
			continue
		}
		switch m.Event {
		case eventPing:
			select {
			case s.pongs <- duePong{m.ID, at.Add(pongDelay)}:
			default: // more than any bridge sends
			}
			fallthrough
		case eventInfo, eventStart, eventMedia:
			s.part.send(input{socket: s, at: at, event: m.Event, message: m})
		}
	}
}

func (s *socket) answerPings(ctx context.Context) {
	for {
		select {
		case p := <-s.pongs:
			select {
			case <-time.After(time.Until(p.at)):
			case <-ctx.Done():
				return
			}
			if s.write(ctx, pong(p.id)) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *socket) write(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, text)
}

func (s *socket) stayAlive(ctx context.Context) {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if s.ping(ctx) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// ping reports an error when the bridge does not answer.
func (s *socket) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	return s.conn.Ping(ctx)
}
