package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher/bridge"
	"usher/internal/sim"
)

// service is a Server whose listener is in memory, so that it works in virtual
// time.
type service struct {
	*bridge.Server
	conns  chan net.Conn
	closed chan struct{}
	back   atomic.Int64 // until when nobody can connect, in Unix nanoseconds
}

// outage lets nobody connect for a while.
func (s *service) outage(d time.Duration) { s.back.Store(time.Now().Add(d).UnixNano()) }

func newService(t *testing.T) *service {
	s := &service{Server: bridge.NewServer(bridge.Config{}), conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("Serve:", err)
		}
	})
	return s
}

func (s *service) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *service) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func (*service) Addr() net.Addr { return &net.TCPAddr{} }

func (s *service) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if time.Now().UnixNano() < s.back.Load() {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case s.conns <- theirs:
		return ours, nil
	case <-s.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open opens a part with a folder.
func (s *service) open(t *testing.T, cfg bridge.PartConfig) *bridge.Part {
	t.Helper()
	cfg.Meeting, cfg.ID = "61b39dea-0000", "prt1"
	p, err := s.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// connect has a bridge connect to the part.
func (s *service) connect(t *testing.T, p *bridge.Part, cfg sim.BridgeConfig) *sim.Bridge {
	t.Helper()
	cfg.URL, cfg.Dial = "ws://usher"+p.Path(), s.dial
	b := sim.StartBridge(cfg)
	if err := b.AwaitConnected(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return b
}

// finish ends the meeting and the part.
func finish(t *testing.T, b *sim.Bridge, p *bridge.Part) bridge.Manifest {
	t.Helper()
	b.Expire()
	m, err := p.Close(t.Context())
	if err != nil {
		t.Error("Close:", err)
	}
	return m
}

// readManifest reads the manifest of a part's folder.
func readManifest(t *testing.T, dir string) (m bridge.Manifest) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// byName knows people whose endpoint is their name and perhaps -2, -3 for
// further connections.
func byName(endpoint string) bridge.Person {
	name, _, _ := strings.Cut(endpoint, "-")
	return bridge.Person{ID: "prt_" + name, UserID: name + "@example.org", Name: name}
}
