package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"time"
)

const (
	// inboxSize is how many messages wait for a part: a second of five microphones.
	// When they are more, its sockets wait, and the bridge drops what is too much.
	inboxSize = 256
	// tickInterval is the time between two looks at what waits.
	tickInterval = 200 * time.Millisecond
	// usualEnd is the time within which a part is closed after its last socket has
	// ended in order: nothing was lost in between.
	usualEnd = 5 * time.Second
	// troubleInterval is the time between two log lines about a part that cannot
	// be recorded: a full disk fails every write.
	troubleInterval = 60 * second
)

// PartConfig configures a Part. Meeting and ID are required.
type PartConfig struct {
	Meeting string // Jitsi's id of the meeting
	ID      string // of the part, unique
	// Dir is the part's folder, which must exist and be empty; without it neither
	// sound nor manifest is kept.
	Dir string
	// Levels says that no sound is kept, only who spoke when.
	Levels bool
	// Changed is called by one goroutine when the first bridge has connected, and
	// when the last one is gone. It must not block. Nil: nobody wants to know.
	Changed func()
	// Person says who an endpoint is, by its nick in the MUC. It is asked again and
	// again, by one goroutine, and must not block. Nil: nobody is known.
	Person func(endpoint string) Person

	create func(path string) (file, error) // for tests of a full disk
}

// Part records one part of a recording; [Server.Open] makes one. Its methods
// are safe for concurrent use.
type Part struct {
	cfg     PartConfig
	token   string
	log     *slog.Logger
	metrics *metrics
	inbox   chan input
	closing chan struct{} // closed when no socket is left and the part is to end
	done    chan struct{} // closed when the part's goroutine has ended

	ctx     context.Context // of the sockets
	cancel  context.CancelFunc
	mu      sync.Mutex
	sockets int           // that are open
	closed  bool          // no further ones
	left    chan struct{} // closed when it is closed and the last one has ended

	// What follows belongs to the part's goroutine.
	t0        time.Time        // zero before the first socket
	now       samples          // time of the last input or tick
	open      map[*socket]bool // sockets, as far as their inputs say
	connected int              // those by which a bridge sends
	gaps      []Gap
	version   string // of the bridge
	sources   map[sourceName]*source
	people    map[string]*speaker // by id, or by unknownPerson and endpoint
	speakers  []*speaker          // the same, in the order in which they were first heard
	tracks    []*track
	problem   error
	troubled  samples // when a problem was logged last
	changed   bool    // the manifest is to be written
	due       samples // but not before
}

type sourceName struct{ endpoint, tag string }

// input is what a socket hands to its part: that it has opened or ended, or a
// message.
type input struct {
	socket  *socket
	at      time.Time
	event   string
	message message
	ask     func() // instead of all else
}

// Events of a socket, beside those of the bridge.
const (
	eventOpened = "opened"
	eventEnded  = "ended"
)

func newPart(cfg PartConfig, token string, log *slog.Logger, m *metrics) *Part {
	if cfg.Person == nil {
		cfg.Person = func(string) Person { return Person{} }
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.create == nil {
		cfg.create = createFile
	}
	p := &Part{
		cfg: cfg, token: token, log: log.With("meeting", cfg.Meeting, "part", cfg.ID), metrics: m,
		inbox: make(chan input, inboxSize), closing: make(chan struct{}), done: make(chan struct{}), left: make(chan struct{}),
		open: map[*socket]bool{}, sources: map[sourceName]*source{}, people: map[string]*speaker{}, troubled: -troubleInterval,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Path is the path of the URL to which a bridge connects. It is a secret: who
// knows it can record into the part.
func (p *Part) Path() string {
	return "/record/" + url.PathEscape(p.cfg.Meeting) + "/" + url.PathEscape(p.cfg.ID) + "/" + p.token
}

// Status is how a part is doing.
type Status struct {
	Start   time.Time // when the first bridge connected; zero before
	Sockets int       // by which a bridge sends; without any nothing is recorded
	Bridge  string    // version of the bridge, once it has said so
	Streams int       // that the bridge announced; none while nobody's microphone was on
	Tracks  int       // files with sound
	Problem error     // the last reason why sound was lost; nil if none was
}

// Status returns how the part is doing.
func (p *Part) Status() (s Status) {
	p.ask(func() {
		s = Status{
			Start: p.t0, Sockets: p.connected, Bridge: p.version,
			Streams: len(p.sources), Tracks: len(p.tracks), Problem: p.problem,
		}
	})
	return s
}

// Close ends the part and returns its manifest. It waits for the bridge to end
// its sockets, as it does once the connect has expired, and ends them itself when
// ctx does. The error is why something is missing; what could be kept is kept.
func (p *Part) Close(ctx context.Context) (Manifest, error) {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	if first && p.sockets == 0 {
		close(p.left)
	}
	p.mu.Unlock()
	select {
	case <-p.left:
	case <-ctx.Done():
		p.cancel()
		<-p.left
	}
	if first {
		p.cancel()
		close(p.closing)
	}
	<-p.done
	return p.describe(true), p.problem
}

// enter admits one more socket, unless the part is closed or has too many.
func (p *Part) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.sockets == maxSockets {
		return false
	}
	p.sockets++
	return true
}

func (p *Part) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sockets--
	if p.closed && p.sockets == 0 {
		close(p.left)
	}
}

// run works until the part is closed.
func (p *Part) run() {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case in := <-p.inbox:
			p.handle(in)
		case <-ticker.C:
			p.tick(time.Now())
		case <-p.closing:
			for len(p.inbox) > 0 {
				p.handle(<-p.inbox)
			}
			p.finish(time.Now())
			return
		}
	}
}

// send hands an input of a socket to the part's goroutine, which ends after all
// sockets. It blocks while the inbox is full.
func (p *Part) send(in input) { p.inbox <- in }

// ask has the part's goroutine call f, which only looks, and waits for it. When
// that goroutine has ended nothing changes any more, and f is called here.
func (p *Part) ask(f func()) {
	answered := make(chan struct{})
	select {
	case p.inbox <- input{ask: func() { f(); close(answered) }}:
		select {
		case <-answered:
			return
		case <-p.done:
		}
	case <-p.done:
	}
	f()
}

func (p *Part) handle(in input) {
	if in.ask != nil {
		in.ask()
		return
	}
	if p.t0.IsZero() {
		p.t0 = in.at
	}
	at := samplesIn(in.at.Sub(p.t0))
	p.now = max(p.now, at)
	p.hear(in.socket, at, in.event)
	switch in.event {
	case eventInfo:
		in.socket.begun, in.socket.zero = true, at
		p.version = in.message.Version[:min(len(in.message.Version), maxName)]
	case eventStart:
		p.announce(in.socket, in.message.Start)
	case eventMedia:
		p.media(in.socket, at, in.message.Media)
	}
}

// hear takes note of what a socket is worth.
func (p *Part) hear(s *socket, at samples, event string) {
	if event == eventEnded {
		delete(p.open, s)
		p.count(s, at, false)
		return
	}
	p.open[s], s.heard = true, at
	p.count(s, at, true)
}

// count takes note of whether a bridge sends by a socket, since the given time.
func (p *Part) count(s *socket, at samples, counts bool) {
	if s.counts == counts {
		return
	}
	if s.counts = counts; counts {
		p.opened(at)
	} else {
		p.ended(at)
	}
}

// opened notes a socket: the time without one is over.
func (p *Part) opened(at samples) {
	if p.connected++; p.connected == 1 {
		defer p.cfg.Changed()
	}
	if n := len(p.gaps); n > 0 && p.gaps[n-1].End == 0 {
		p.gaps[n-1].End = milliseconds(at)
	}
}

// ended notes the end of a socket: without another one everything is lost.
func (p *Part) ended(at samples) {
	p.connected--
	if p.connected > 0 {
		return
	}
	if len(p.gaps) < maxGaps {
		p.gaps = append(p.gaps, Gap{Start: milliseconds(at)})
	}
	p.cfg.Changed()
}

// tick does what no packet does: it writes what has waited for long enough.
func (p *Part) tick(now time.Time) {
	if p.t0.IsZero() {
		return
	}
	p.now = max(p.now, samplesIn(now.Sub(p.t0)))
	for s := range p.open {
		if p.now-s.heard > deafTime {
			p.count(s, s.heard, false)
		}
	}
	for _, s := range p.sources {
		if p.now-s.heard > holdTime+2*second {
			continue // nothing of it waits
		}
		p.drain(s, false)
		if s.speaker != nil {
			p.identify(s)
		}
		if t := s.track; t != nil && t.source == s && p.now-s.heard > second {
			p.trouble(t.save(p.now, 0))
		}
	}
	if p.changed && p.now >= p.due {
		p.trouble(p.saveManifest(false))
	}
}

// finish writes all that waits and ends the files.
func (p *Part) finish(now time.Time) {
	if p.t0.IsZero() {
		p.t0 = now
	}
	p.now = max(p.now, samplesIn(now.Sub(p.t0)))
	for _, s := range p.sources {
		p.drain(s, true)
	}
	for _, t := range p.tracks {
		p.trouble(t.close(p.now))
	}
	if n := len(p.gaps); n > 0 && p.gaps[n-1].End == 0 {
		p.gaps[n-1].End = milliseconds(p.now)
		if p.gaps[n-1].End-p.gaps[n-1].Start < usualEnd.Milliseconds() {
			p.gaps = p.gaps[:n-1]
		}
	}
	p.trouble(p.saveManifest(true))
}

// trouble notes why sound was lost, if it was.
func (p *Part) trouble(err error) {
	if err == nil || errors.Is(err, errDisk) {
		return
	}
	p.problem = err
	if p.now-p.troubled >= troubleInterval {
		p.troubled = p.now
		p.log.Error("part of a meeting's tracks is lost", "err", err)
	}
}
