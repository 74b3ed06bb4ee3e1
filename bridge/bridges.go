package bridge

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/component/brewery"
)

// answerTimeout bounds the wait for a bridge's answer, which comes at once. Jicofo
// waits for 15 s; here another bridge may be the one that has the conference.
const answerTimeout = 5 * time.Second

// BridgesConfig configures Bridges; Stream and Brewery are required.
type BridgesConfig struct {
	Stream  brewery.Stream
	Brewery string // bare address of the room in which the bridges announce themselves
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Bridges are the site's video bridges, as their brewery shows them. They are sent
// what startRequest and stopRequest return, and nothing else. Its methods are safe
// for concurrent use.
type Bridges struct {
	*brewery.Watcher[stats]
	cfg      BridgesConfig
	requests *prometheus.CounterVec
	appeared func() // a bridge did; never nil

	mu   sync.Mutex
	seen map[string]bool // nicks of those in sight
}

// stats is what a bridge announces, and what Jicofo knows one by: jitsi-xmpp-extensions'
// ColibriStatsExtension, which jitsi-videobridge's MucPublisher puts into its presence
// and jicofo's BridgeMucDetector, a BaseBrewery, looks for.
type stats struct {
	XMLName xml.Name `xml:"http://jitsi.org/protocol/colibri stats"`
}

// NewBridges returns Bridges that see nothing until Run.
func NewBridges(cfg BridgesConfig) *Bridges {
	b := &Bridges{cfg: cfg, seen: map[string]bool{}, appeared: func() {}}
	b.Watcher = brewery.New(brewery.Config[stats]{
		Stream: cfg.Stream, Room: cfg.Brewery, Log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		Occupant: b.occupant, Unseen: b.unseen,
	})
	b.requests = promauto.With(cfg.Metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "usher_bridge_requests_total", Help: "Requests to video bridges, by what came of them.",
	}, []string{"verb", "result"})
	for _, verb := range []string{"start", "stop"} {
		for _, result := range []string{"ok", "not_here", "running", "refused", "failed"} {
			b.requests.WithLabelValues(verb, result)
		}
	}
	promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_bridge_instances", Help: "Video bridges that usher sees in their brewery.",
	}, func() float64 { return float64(len(b.InSight())) })
	return b
}

// occupant takes what the brewery says of somebody. Whoever announces no statistics,
// such as Jicofo, is no bridge.
func (b *Bridges) occupant(nick string, here bool, s *stats) {
	b.mu.Lock()
	fresh := s != nil && !b.seen[nick]
	if fresh {
		b.seen[nick] = true
	}
	if !here {
		delete(b.seen, nick)
	}
	b.mu.Unlock()
	if fresh {
		b.appeared()
	}
}

func (b *Bridges) unseen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.seen)
}

// InSight returns the nicks of the bridges in sight, sorted.
func (b *Bridges) InSight() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.seen))
}

// start asks one bridge after the other, the named one first, to send a meeting's
// sound to url, until one does, and returns which. errRunning: that one sends it
// already, perhaps elsewhere.
func (b *Bridges) start(ctx context.Context, first, meeting, connect, url string) (bridge string, err error) {
	all := b.InSight()
	if len(all) == 0 {
		_, problem := b.Watching()
		return "", fmt.Errorf("%w: %s", errUnseen, cmp.Or(problem, "the room "+b.cfg.Brewery+" has none"))
	}
	if i := slices.Index(all, first); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	err = errNotHere
	for _, bridge := range all {
		switch e := b.ask(ctx, "start", bridge, startRequest(meeting, connect, url)); {
		case e == nil, errors.Is(e, errRunning):
			return bridge, e
		case !errors.Is(e, errNotHere):
			err = fmt.Errorf("%s: %w", bridge, e)
		}
	}
	return "", err
}

// stop asks a bridge to stop, or all of them if it is not known which one sends.
func (b *Bridges) stop(ctx context.Context, bridge, meeting, connect string) {
	asked := []string{bridge}
	if bridge == "" {
		asked = b.InSight()
	}
	for _, bridge := range asked {
		_ = b.ask(ctx, "stop", bridge, stopRequest(meeting, connect)) // one that has no such conference has nothing to stop
	}
}

// ask sends a request and blocks for the answer, at most answerTimeout.
func (b *Bridges) ask(ctx context.Context, verb, bridge string, request conferenceModify) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errors.New("bridge: no answer"))
	defer cancel()
	err := answered(b.cfg.Stream.IQ(ctx, b.cfg.Brewery+"/"+bridge, "get", request, nil))
	result := "failed"
	switch {
	case err == nil:
		result = "ok"
	case errors.Is(err, errNotHere):
		result = "not_here"
	case errors.Is(err, errRunning):
		result = "running"
	case errors.Is(err, errOld), errors.Is(err, errOutside):
		result = "refused"
	}
	b.requests.WithLabelValues(verb, result).Inc()
	return err
}
