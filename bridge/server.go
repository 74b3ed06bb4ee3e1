package bridge

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// headerTimeout bounds the wait for a request, also for one that follows another
	// on the same connection, and maxHeader its size in bytes: strangers can reach the
	// listener.
	headerTimeout = 5 * time.Second
	maxHeader     = 8 << 10
	// shutdownTimeout bounds the wait for those who have connected and not asked
	// for anything yet.
	shutdownTimeout = time.Second
)

// Config configures a Server.
type Config struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Server is the WebSocket service for bridges. Its methods are safe for
// concurrent use.
type Server struct {
	log     *slog.Logger
	metrics *metrics

	mu    sync.Mutex
	parts map[partName]*Part
}

type partName struct{ meeting, part string }

// NewServer returns a Server without parts.
func NewServer(cfg Config) *Server {
	return &Server{
		log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)), metrics: newMetrics(cfg.Metrics),
		parts: map[partName]*Part{},
	}
}

// Open begins a part, which the caller closes. Bridges reach it at its Path
// until then.
func (s *Server) Open(cfg PartConfig) (*Part, error) {
	name := partName{cfg.Meeting, cfg.ID}
	if name.meeting == "" || name.part == "" {
		return nil, errors.New("bridge: a part needs a meeting and an id")
	}
	p := newPart(cfg, rand.Text(), s.log, s.metrics)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts[name] != nil {
		return nil, fmt.Errorf("bridge: part %s of meeting %s is open already", name.part, name.meeting)
	}
	s.parts[name] = p
	go func() { // until Close, which waits for it
		defer close(p.done)
		p.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.parts, name)
	}()
	return p, nil
}

// Serve accepts bridges on ln until ctx ends, then ends their sockets. It blocks
// until all of them have ended, and closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var sockets sync.WaitGroup
	mux := http.NewServeMux()
	mux.HandleFunc("GET /record/{meeting}/{part}/{token}", func(w http.ResponseWriter, r *http.Request) {
		sockets.Add(1)
		defer sockets.Done()
		s.record(ctx, w, r)
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: headerTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln); cancel() }()
	<-ctx.Done()
	// Requests first: each that is let in is a socket by then.
	closing, closed := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer closed()
	if server.Shutdown(closing) != nil {
		_ = server.Close()
	}
	sockets.Wait()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// record is the life of a socket. Whoever does not know the part and its token
// learns nothing, not even whether there is such a part.
func (s *Server) record(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.parts[partName{r.PathValue("meeting"), r.PathValue("part")}]
	s.mu.Unlock()
	if p == nil || subtle.ConstantTimeCompare([]byte(r.PathValue("token")), []byte(p.token)) != 1 {
		s.metrics.refused.Inc()
		http.NotFound(w, r)
		return
	}
	if !p.enter() {
		s.metrics.refused.Inc()
		http.Error(w, "the part is closed or has too many sockets", http.StatusServiceUnavailable)
		return
	}
	defer p.leave()
	s.metrics.sockets.Inc()
	defer s.metrics.sockets.Dec()
	serveSocket(ctx, p, w, r)
}
