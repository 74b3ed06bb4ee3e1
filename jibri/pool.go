package jibri

import (
	"cmp"
	"encoding/xml"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/component/brewery"
	"usher/meeting"
)

const (
	// reportRetention is how long a report over HTTP counts: Jibri repeats it every
	// minute while it lives.
	reportRetention = 150 * time.Second
	// goneRetention is how long a recorder that left is shown as gone.
	goneRetention = 10 * time.Minute
)

// Sources of what is known of a recorder.
const (
	fromBrewery = "brewery"
	fromWebhook = "webhook"
)

// PoolConfig configures a Pool; Stream and Brewery are required.
type PoolConfig struct {
	Stream  Stream // of an address of usher's component
	Brewery string // bare address of the room in which the Jibris wait
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Pool knows the site's recorders: from the brewery, where the site lets usher
// in, and from what Jibris report over HTTP. Its methods are safe for
// concurrent use.
type Pool struct {
	*brewery.Watcher[announcement]
	wake func() // a recorder may have become free; never nil

	mu     sync.Mutex
	seen   map[sighting]recorder
	turned []time.Time // when idle ones of the brewery became busy, for settleTime
}

// sighting is one recorder as one source knows it.
type sighting struct{ source, name string }

type recorder struct {
	meeting.Recorder
	heard time.Time // when the source spoke of it last
}

// NewPool returns a Pool that does nothing until Run.
func NewPool(cfg PoolConfig) *Pool {
	p := &Pool{wake: func() {}, seen: map[sighting]recorder{}}
	p.Watcher = brewery.New(brewery.Config[announcement]{
		Stream: cfg.Stream, Room: cfg.Brewery, Log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		Occupant: p.occupant, Unseen: p.unseen,
	})
	for _, state := range []meeting.RecorderStatus{meeting.RecorderIdle, meeting.RecorderBusy, meeting.RecorderUnhealthy, meeting.RecorderGone} {
		promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
			Name: "usher_jibri_instances", Help: "Recorders that usher knows of, by state.",
			ConstLabels: prometheus.Labels{"state": string(state)},
		}, func() (n float64) {
			for _, r := range p.Recorders() {
				if r.Status == state {
					n++
				}
			}
			return n
		})
	}
	return p
}

// announcement is a Jibri's status in its presence (jitsi-xmpp-extensions,
// JibriStatus).
type announcement struct {
	XMLName xml.Name `xml:"http://jitsi.org/protocol/jibri jibri-status"`
	Busy    struct {
		Status string `xml:"status,attr"`
	} `xml:"http://jitsi.org/protocol/jibri busy-status"`
	Health struct {
		Status string `xml:"status,attr"`
	} `xml:"http://jitsi.org/protocol/health health-status"`
}

// occupant takes what the brewery says of somebody. Whoever announces nothing
// is no recorder.
func (p *Pool) occupant(nick string, here bool, a *announcement) {
	switch {
	case a != nil:
		p.note(sighting{fromBrewery, nick}, status(a.Busy.Status == "idle", a.Health.Status == "healthy"))
	case !here:
		p.note(sighting{fromBrewery, nick}, meeting.RecorderGone)
	}
}

// Report takes what a Jibri says of itself over HTTP.
func (p *Pool) Report(name string, busy, healthy bool) {
	p.note(sighting{fromWebhook, name}, status(!busy, healthy))
}

func status(idle, healthy bool) meeting.RecorderStatus {
	switch {
	case !healthy:
		return meeting.RecorderUnhealthy
	case idle:
		return meeting.RecorderIdle
	}
	return meeting.RecorderBusy
}

// note takes the status of a recorder. Somebody who left and was none stays none.
func (p *Pool) note(which sighting, is meeting.RecorderStatus) {
	p.mu.Lock()
	now, r := time.Now(), p.seen[which]
	was := r.Status
	if was != is {
		r.Recorder = meeting.Recorder{Name: which.name, Status: is, Since: now, Source: which.source}
	}
	if r.heard = now; was != "" || is != meeting.RecorderGone {
		p.seen[which] = r
	}
	if which.source == fromBrewery && was == meeting.RecorderIdle && is == meeting.RecorderBusy {
		p.turned = append(p.turned, now)
	}
	p.forget(now)
	p.mu.Unlock()
	if is == meeting.RecorderIdle && was != is {
		p.wake()
	}
}

// forget drops what is too old to count. p.mu is held.
func (p *Pool) forget(now time.Time) {
	maps.DeleteFunc(p.seen, func(which sighting, r recorder) bool {
		if which.source == fromWebhook {
			return now.Sub(r.heard) > reportRetention
		}
		return r.Status == meeting.RecorderGone && now.Sub(r.Since) > goneRetention
	})
}

func (p *Pool) unseen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.seen, func(which sighting, _ recorder) bool { return which.source == fromBrewery })
}

// Recorders returns every recorder that is known, by name. What the brewery
// says counts more than a report.
func (p *Pool) Recorders() []meeting.Recorder {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(time.Now())
	all := map[string]meeting.Recorder{}
	for which, r := range p.seen {
		if _, twice := all[which.name]; !twice || which.source == fromBrewery {
			all[which.name] = r.Recorder
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b meeting.Recorder) int { return cmp.Compare(a.Name, b.Name) })
}

// count returns what is known of the recorders in the brewery.
func (p *Pool) count(now time.Time) (c recorderCount) {
	in, _ := p.Watching()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turned = slices.DeleteFunc(p.turned, func(at time.Time) bool { return now.Sub(at) >= settleTime })
	if !in {
		return c
	}
	for which, r := range p.seen {
		if which.source != fromBrewery || r.Status == meeting.RecorderGone {
			continue
		}
		c.visible = true
		if r.Status == meeting.RecorderIdle {
			c.idle++
		}
	}
	c.turnedBusy = len(p.turned)
	return c
}
