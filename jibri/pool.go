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

	mu       sync.Mutex
	inside   map[string]meeting.Recorder // who is in the brewery, or was a moment ago
	turned   []time.Time                 // when idle ones became busy, for settleTime
	reported map[string]meeting.Recorder // over HTTP
	heard    map[string]time.Time        // when that was
}

// NewPool returns a Pool that does nothing until Run.
func NewPool(cfg PoolConfig) *Pool {
	p := &Pool{
		wake:   func() {},
		inside: map[string]meeting.Recorder{}, reported: map[string]meeting.Recorder{}, heard: map[string]time.Time{},
	}
	p.Watcher = brewery.New(brewery.Config[announcement]{
		Stream: cfg.Stream, Room: cfg.Brewery, Log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		Occupant: p.occupant, Unseen: p.unseen,
	})
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(p)
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
	p.mu.Lock()
	was, known := p.inside[nick]
	is := meeting.Recorder{Name: nick, Since: time.Now(), Source: fromBrewery, Status: meeting.RecorderGone}
	if a != nil {
		is.Status = status(a.Busy.Status == "idle", a.Health.Status == "healthy")
	}
	if (a != nil || known && !here) && was.Status != is.Status {
		p.inside[nick] = is
	}
	if was.Status == meeting.RecorderIdle && is.Status == meeting.RecorderBusy {
		p.turned = append(p.turned, is.Since)
	}
	p.mu.Unlock()
	if is.Status == meeting.RecorderIdle && was.Status != is.Status {
		p.wake()
	}
}

func (p *Pool) unseen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.inside)
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

// Report takes what a Jibri says of itself over HTTP.
func (p *Pool) Report(name string, busy, healthy bool) {
	p.mu.Lock()
	was := p.reported[name]
	is := meeting.Recorder{Name: name, Status: status(!busy, healthy), Since: time.Now(), Source: fromWebhook}
	p.heard[name] = is.Since
	if was.Status != is.Status {
		p.reported[name] = is
	}
	p.forget(is.Since)
	freed := is.Status == meeting.RecorderIdle && was.Status != is.Status
	p.mu.Unlock()
	if freed {
		p.wake()
	}
}

// forget drops what is too old to count. p.mu is held.
func (p *Pool) forget(now time.Time) {
	maps.DeleteFunc(p.heard, func(_ string, at time.Time) bool { return now.Sub(at) > reportRetention })
	maps.DeleteFunc(p.reported, func(name string, _ meeting.Recorder) bool { return p.heard[name].IsZero() })
	maps.DeleteFunc(p.inside, func(_ string, r meeting.Recorder) bool {
		return r.Status == meeting.RecorderGone && now.Sub(r.Since) > goneRetention
	})
}

// Recorders returns every recorder that is known, by name. What the brewery
// says counts more than a report.
func (p *Pool) Recorders() []meeting.Recorder {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(time.Now())
	all := maps.Clone(p.reported)
	maps.Copy(all, p.inside)
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
	for _, r := range p.inside {
		switch r.Status {
		case meeting.RecorderIdle:
			c.idle++
			c.visible = true
		case meeting.RecorderBusy, meeting.RecorderUnhealthy:
			c.visible = true
		}
	}
	c.turnedBusy = len(p.turned)
	return c
}

var instancesDesc = prometheus.NewDesc("usher_jibri_instances", "Recorders that usher knows of, by state.", []string{"state"}, nil)

// Describe implements prometheus.Collector.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) { ch <- instancesDesc }

// Collect implements prometheus.Collector.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	count := map[meeting.RecorderStatus]int{}
	for _, r := range p.Recorders() {
		count[r.Status]++
	}
	for _, s := range []meeting.RecorderStatus{meeting.RecorderIdle, meeting.RecorderBusy, meeting.RecorderUnhealthy, meeting.RecorderGone} {
		ch <- prometheus.MustNewConstMetric(instancesDesc, prometheus.GaugeValue, float64(count[s]), string(s))
	}
}
