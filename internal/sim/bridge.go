package sim

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// JVB's own limits and intervals (package export, reference.conf), and those that
// Jicofo asks for in a connect.
const (
	bridgePingInterval = 10 * time.Second
	bridgePingTimeout  = 3 * time.Second
	bridgeQueue        = 1024 // messages of an exporter; what is more is dropped
	maxBridgeBackoff   = 30 * time.Second
	// bridgeNoteDelay is the time from a ping until JVB has noted which id it
	// expects: an answer that comes sooner is wrong to it.
	bridgeNoteDelay = 5 * time.Millisecond
	// silentLevel packets are passed on only while they are few in a row
	// (jmt.audio.level.discard-silence).
	silentLevel  = 127
	silentInARow = 3
)

// BridgeConfig configures a [Bridge]. URL is required.
type BridgeConfig struct {
	URL    string // of the connect
	Header http.Header
	// Dial opens connections; nil is a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// OldTags, NoLevels: as before 6 and 14 July 2026.
	OldTags, NoLevels bool
	RED               bool // packets in RED, with the one before in each
	Log               *slog.Logger
}

// Bridge plays the part of a JVB that sends everybody's packets to one
// WebSocket service. It follows jitsi-videobridge's package export (a29d97d13),
// with the faults that were seen there: keys that come twice, an instant answer
// to a ping taken for a wrong one, two new sockets after a ping without an answer,
// and all media on the newer of the two. It is safe for concurrent use.
type Bridge struct {
	cfg    BridgeConfig
	log    *slog.Logger
	ctx    context.Context // ends with Expire or Die
	cancel context.CancelFunc
	done   sync.WaitGroup

	changed bell
	mu      sync.Mutex
	current *exporter // gets the media; nil without a connection
	open    []*exporter
	timeout int // pings that were not answered right
	failed  int // tries to connect in a row
	expired bool
}

// StartBridge makes a bridge that connects, and connects again when the socket
// ends, until Expire or Die.
func StartBridge(cfg BridgeConfig) *Bridge {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bridge{cfg: cfg, log: cfg.Log}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.connectAgain()
	return b
}

// AwaitConnected blocks until n sockets are open, or ctx ends.
func (b *Bridge) AwaitConnected(ctx context.Context, n int) error {
	return b.changed.await(ctx, func() bool { return b.Sockets() >= n })
}

// Sockets is the number of open ones.
func (b *Bridge) Sockets() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

// PingTimeouts is how many pings were answered too late, too soon or not at all.
func (b *Bridge) PingTimeouts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.timeout
}

// Drop cuts the connections, as a network does; the bridge connects again.
func (b *Bridge) Drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.open {
		_ = e.conn.CloseNow()
	}
}

// Expire ends the sockets in order, as the end of the conference or of the
// connect does, and waits for it.
func (b *Bridge) Expire() {
	b.mu.Lock()
	b.expired = true
	open := b.open
	b.mu.Unlock()
	for _, e := range open {
		e.end()
	}
	_ = b.changed.await(b.ctx, func() bool { return b.Sockets() == 0 })
	b.Die()
}

// Die ends the bridge like kill -9 and waits for it.
func (b *Bridge) Die() {
	b.cancel()
	b.Drop()
	b.done.Wait()
}

// ConnectAgain opens one more socket, as JVB does after a ping without an answer,
// and sends all media on it. The one before stays open.
func (b *Bridge) ConnectAgain() { b.connectAgain() }

// connectAgain tries once to connect, after a wait that doubles with each
// failure: 0, 1, 2, 4, 8, 16, 30, 30 … seconds.
func (b *Bridge) connectAgain() {
	b.mu.Lock()
	var wait time.Duration
	if b.failed > 0 {
		wait = min(time.Second<<min(b.failed-1, 10), maxBridgeBackoff)
	}
	b.failed++
	b.mu.Unlock()
	b.done.Go(func() {
		select {
		case <-time.After(wait):
			b.connect()
		case <-b.ctx.Done():
		}
	})
}

func (b *Bridge) connect() {
	e, err := dialExporter(b.ctx, b)
	if err != nil {
		b.log.Debug("cannot connect", "err", err)
		b.connectAgain()
		return
	}
	b.mu.Lock()
	b.current = e // also if an older one is open: that one stays open, and silent
	b.open = append(b.open, e)
	b.failed = 0
	b.mu.Unlock()
	b.changed.ring()
	timedOut := e.run(b.ctx)
	b.mu.Lock()
	for i, other := range b.open {
		if other == e {
			b.open = append(b.open[:i:i], b.open[i+1:]...)
			break
		}
	}
	b.current = nil // also if it is the other one's: JVB forgets it
	if timedOut {
		b.timeout++
	}
	expired := b.expired
	b.mu.Unlock()
	b.changed.ring()
	if expired || b.ctx.Err() != nil {
		return
	}
	b.connectAgain()
	if timedOut {
		b.connectAgain()
	}
}

// forward sends a packet of a microphone to the newest socket; without one it
// is lost.
func (b *Bridge) forward(p exported) {
	b.mu.Lock()
	e := b.current
	b.mu.Unlock()
	if e != nil {
		e.media(p)
	}
}
