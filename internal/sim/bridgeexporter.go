package sim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// exporter is one socket of a bridge (Exporter.kt, MediaJsonSerializer.kt).
type exporter struct {
	bridge *Bridge
	conn   *websocket.Conn
	opened time.Time
	queue  chan []byte
	ended  chan struct{} // closed by end
	once   sync.Once

	mu       sync.Mutex
	streams  map[uint32]*exportStream // by SSRC
	sequence int
	expected int // id of the ping whose answer is awaited
	answered int // and of the last that was answered right
}

type exportStream struct {
	tag    string
	offset int64 // from RTP timestamps to those of the socket
	silent int   // packets of silence in a row
}

// exported is a packet as the bridge has it: RTP, with what it knows of the
// sender.
type exported struct {
	endpoint  string
	source    int // of the endpoint: 0 is the microphone
	ssrc      uint32
	sequence  int
	timestamp int64 // unwrapped
	opus      []byte
	before    []byte // the packet before, for RED
	level     uint8
}

func dialExporter(ctx context.Context, b *Bridge) (*exporter, error) {
	transport := &http.Transport{DialContext: b.cfg.Dial, DisableKeepAlives: true}
	conn, resp, err := websocket.Dial(ctx, b.cfg.URL, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: b.cfg.Header,
	})
	if resp != nil && resp.Body != nil {
		resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	return &exporter{
		bridge: b, conn: conn, opened: time.Now(), queue: make(chan []byte, bridgeQueue),
		ended: make(chan struct{}), streams: map[uint32]*exportStream{},
	}, nil
}

// run blocks until the socket has ended, and reports whether a ping was not
// answered in time.
func (e *exporter) run(ctx context.Context) (timedOut bool) {
	defer func() { _ = e.conn.CloseNow() }()
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { defer cancel(); e.read(ctx) })
	done.Go(func() { defer cancel(); timedOut = e.ping(ctx) })
	e.send([]byte(`{"event":"info","application":"jitsi-videobridge","version":"2.3.SNAPSHOT"}`))
	e.write(ctx)
	cancel()
	done.Wait()
	return timedOut
}

// send queues a message; when the queue is full it is lost.
func (e *exporter) send(text []byte) {
	select {
	case e.queue <- text:
	default:
	}
}

func (e *exporter) write(ctx context.Context) {
	for {
		select {
		case text := <-e.queue:
			if e.conn.Write(ctx, websocket.MessageText, text) != nil {
				return
			}
		case <-e.ended:
			e.writeEnd(ctx)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (e *exporter) writeEnd(ctx context.Context) {
	for len(e.queue) > 0 {
		_ = e.conn.Write(ctx, websocket.MessageText, <-e.queue)
	}
	_ = e.conn.Write(ctx, websocket.MessageText, []byte(`{"event":"SessionEndEvent","event":"session-end"}`))
	_ = e.conn.Close(websocket.StatusGoingAway, "closing")
}

// end sends what is queued and session-end, and closes.
func (e *exporter) end() { e.once.Do(func() { close(e.ended) }) }

// read takes in answers to pings.
func (e *exporter) read(ctx context.Context) {
	for {
		_, text, err := e.conn.Read(ctx)
		if err != nil {
			return
		}
		var m struct {
			Event string `json:"event"`
			ID    int    `json:"id"`
		}
		if json.Unmarshal(text, &m) != nil || m.Event != "pong" {
			e.bridge.log.Warn("the service sent what it must not", "text", string(text))
			continue
		}
		e.mu.Lock()
		if m.ID == e.expected {
			e.answered = m.ID
		}
		e.mu.Unlock()
	}
}

// ping asks every ten seconds whether the service lives, and reports whether it
// did not answer.
func (e *exporter) ping(ctx context.Context) (timedOut bool) {
	for id := 1; ; id++ {
		if !pause(ctx, bridgePingInterval) {
			return false
		}
		e.send(fmt.Appendf(nil, `{"event":"ping","id":%d,"event":"ping"}`, id))
		if !pause(ctx, bridgeNoteDelay) {
			return false
		}
		e.mu.Lock()
		e.expected = id
		e.mu.Unlock()
		if !pause(ctx, bridgePingTimeout) {
			return false
		}
		e.mu.Lock()
		answered := e.answered
		e.mu.Unlock()
		if answered != id {
			_ = e.conn.Close(websocket.StatusNormalClosure, "Ping timeout")
			return true
		}
	}
}

// media sends a packet, and before the first one of an SSRC its start.
func (e *exporter) media(p exported) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.streams[p.ssrc]
	if s == nil {
		// The first packet gets the time at which it is handled, the others what RTP
		// says.
		s = &exportStream{tag: e.tag(p), offset: time.Since(e.opened).Microseconds()*48/1000 - p.timestamp}
		e.streams[p.ssrc] = s
		e.start(p, s)
	}
	if p.level == silentLevel {
		if s.silent++; s.silent > silentInARow {
			return
		}
	} else {
		s.silent = 0
	}
	e.sequence++
	level := ""
	if !e.bridge.cfg.NoLevels {
		level = fmt.Sprintf(`,"audioLevel":%d,"vad":true`, p.level)
	}
	payload := p.opus
	if e.bridge.cfg.RED {
		payload = redBlocks(p)
	}
	e.send(fmt.Appendf(nil, `{"event":"media","sequenceNumber":"%d","media":{"tag":%q,"chunk":"%d","timestamp":"%d","payload":"%s"%s},"event":"media"}`,
		e.sequence, s.tag, p.sequence, p.timestamp+s.offset, base64.StdEncoding.EncodeToString(payload), level))
}

func (e *exporter) start(p exported, s *exportStream) {
	e.sequence++
	encoding := "opus"
	if e.bridge.cfg.RED {
		encoding = "red"
	}
	e.send(fmt.Appendf(nil, `{"event":"start","sequenceNumber":"%d","start":{"tag":%q,"mediaFormat":{"encoding":%q,"sampleRate":48000,"channels":2,`+
		`"parameters":{"useinbandfec":"1","minptime":"10"}},"customParameters":{"endpointId":%q}},"event":"start"}`,
		e.sequence, s.tag, encoding, p.endpoint))
}

// tag names a stream: by its source, before July 2026 by its SSRC.
func (e *exporter) tag(p exported) string {
	if e.bridge.cfg.OldTags {
		return fmt.Sprintf("%s-%d", p.endpoint, p.ssrc)
	}
	return fmt.Sprintf("%s-a%d", p.endpoint, p.source)
}

// redBlocks puts a packet and the one before into RED (RFC 2198), of payload type
// 111 and 20 ms older.
func redBlocks(p exported) []byte {
	var b []byte
	if p.before != nil {
		const offset = 960
		b = append(b, 0x80|111, offset>>6, byte(offset&0x3f<<2|len(p.before)>>8), byte(len(p.before)))
	}
	b = append(b, 111)
	b = append(b, p.before...)
	return append(b, p.opus...)
}
