// Package muc follows Jitsi's rooms (XEP-0045): it learns when one comes alive,
// enters it unseen, turns what its occupants' presences say into meeting
// events, checks them against the server's own lists, and leaves.
//
// Two streams serve it. The control stream speaks as an administrator of the
// MUC who never joins a room: it grants, lists and destroys. The occupant's
// stream is in the rooms and receives their presences. What comes on one is not
// ordered with what comes on the other. What the events mean for meetings is the
// business of package meeting.
package muc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"usher/meeting"
)

// Limits, timeouts and intervals.
const (
	// iqTimeout bounds one question to the server, which answers within
	// milliseconds even under load.
	iqTimeout = 10 * time.Second
	// joinTimeout bounds an entry. Some refusals are silent (a filtered MUC,
	// the queue for rooms whose focus is yet to come); Jicofo itself gives up
	// on a room after 15 s.
	joinTimeout = 15 * time.Second
	// maxEntering is how many rooms are being entered at once; probes before that
	// do not count. It is enough to keep the server busy, which takes a few
	// milliseconds for each, and few enough for it to answer all of them long before
	// joinTimeout. With thousands at once entries would time out and be tried again.
	maxEntering = 100
	// leaveTimeout bounds the wait for our own leave to be confirmed.
	leaveTimeout = 2 * time.Second

	// After the server announced a room, the focus creates it within some
	// 10 to 100 ms; it gives up after 15 s when nobody comes.
	expectFast    = 25 * time.Millisecond
	expectFastFor = time.Second
	expectSlow    = 250 * time.Millisecond
	expectFor     = 15 * time.Second

	// emptyTimeout is how long usher stays once the last human has left, unless
	// the focus goes first: whoever stays keeps the conference alive.
	emptyTimeout = 5 * time.Second
	// recordingTimeout is the same while a recording is to end first or a live stream is
	// on, with the focus or without: usher kicks its recorder until it has left, and must be in the
	// room to do so. Jibri itself leaves an empty room after 30 s.
	recordingTimeout = 45 * time.Second
	// unvisitedTimeout is the same for a room that no human ever came to.
	unvisitedTimeout = 30 * time.Second

	// checkInterval is the time between two checks of a room against the server's
	// lists; checksPerSecond bounds them in all (4 IQs each, so 20 IQs/s).
	checkInterval   = time.Minute
	checksPerSecond = 5

	// moderatorWithin is how soon a human becomes moderator where the site
	// elects one.
	moderatorWithin = 5 * time.Second

	// restartWithin is how far apart the two streams may end when the server
	// restarts: a half-open one is noticed within 20 s.
	restartWithin = 30 * time.Second

	// retryMin and retryMax bound the wait after a refused or failed entry, and
	// after being kicked out of a room: a room that kicks usher each time must not
	// keep usher, the server and the store busy. After a stay of stableAfter the
	// count begins again.
	retryMin    = 250 * time.Millisecond
	retryMax    = 15 * time.Second
	stableAfter = time.Minute
	// kickRetry is the wait after a kick that failed: short, because whoever must
	// not be in sees, hears or records the others meanwhile.
	kickRetry = 2 * time.Second
	// fullInterval is the time between two lists, and tries to enter, of a room that
	// is full.
	fullInterval = 5 * time.Second
	// refusedInterval is the wait after an entry was refused failuresToReport times
	// for a reason that usher can do nothing about; somebody has to, and by then
	// /readyz says so.
	refusedInterval = 5 * time.Minute
	// sightInterval is the least time between two tries to see the addresses of those
	// in a room that hides them.
	sightInterval = 5 * time.Second
	// failuresToReport is how many failed entries into one room are a finding
	// about the site rather than bad luck.
	failuresToReport = 5
)

// EndedText is what people read when their meeting is ended for all.
const EndedText = "This meeting has ended."

var errNoAnswer = errors.New("muc: no answer from the server")

// Stream sends from one address of an XMPP stream.
type Stream interface {
	// Send queues a presence or message.
	Send(ctx context.Context, kind, to, typ string, payload ...any) error
	// IQ blocks for the answer; an error answer is a mellium stanza.Error.
	IQ(ctx context.Context, to, typ string, payload, reply any) error
}

// Site says who is who on this Jitsi site. Domains and addresses are in lower
// case.
type Site struct {
	MUC             string // domain of the main MUC, such as muc.meet.jitsi
	BreakoutDomain  string // domain of the MUC of breakout rooms
	LobbyDomain     string // domain of the MUC of lobbies; empty: nobody is looked for there
	FocusJID        string // bare address of Jicofo, such as focus@auth.meet.jitsi
	ComponentDomain string // usher's own component
	ControlJID      string // bare address of the control stream
	OccupantJID     string // bare address that usher is in rooms as
	Nick            string // its nick there; [a-zA-Z0-9][a-zA-Z0-9_]*
	DisplayName     string // its name, seen by people only in labelled mode
	Caps            any    // the XEP-0115 <c/> that goes with the stream's disco answers
	// IdentityDomains are the hosts that people log in to and whose server
	// vouches for <identity> in presence: it takes away what clients write there
	// (mod_presence_identity). From elsewhere anybody could claim to be anybody.
	IdentityDomains []string
	// TrustedDomains are the hosts where only the site's own services log in:
	// recorders, transcribers, dial-ins. What they say of themselves is believed.
	TrustedDomains []string
	// DialInDomains are further hosts from which a dial-in is believed, although
	// people log in there as well.
	DialInDomains []string
	// ElectsModerator says that the site makes a human moderator by itself.
	ElectsModerator bool
	// Conferences has each room asked once for Jitsi's id of its conference, and
	// [meeting.ConferenceChanged] reported.
	Conferences bool
}

// AdminLine is what makes usher an administrator of the MUC in Prosody.
func (s Site) AdminLine() string {
	return fmt.Sprintf("have Component %q in Prosody hold admins = { %q, %q }, as usher.cfg.lua does for the name in XMPP_MUC_DOMAIN, and restart Prosody",
		s.MUC, s.ControlJID, s.FocusJID)
}

// Config configures Rooms; all fields but Log and Metrics are required.
type Config struct {
	Site     Site
	Control  Stream // as an administrator of the MUC
	Occupant Stream
	// Observe takes what a room says; it must not block.
	Observe func(room string, at time.Time, f meeting.Input)
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Rooms follows the rooms that meetings want followed. Its methods are safe
// for concurrent use.
type Rooms struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	checks  *rate.Limiter
	lobbies *rate.Limiter
	slots   chan struct{} // holds one for each room that is being entered

	// mu guards what follows and every room. Methods that are not exported are
	// called with it held, and give it up while they wait for the server, which
	// their comments say; a room may have changed then.
	mu           sync.Mutex
	rooms        map[string]*room
	probes       probeQueue
	run          context.Context // of Run; nil before and after it
	steps        sync.WaitGroup
	controlUp    bool
	controlEnded time.Time // the last time
	occupantUp   bool
	problems     map[string]Problem // what the self-checks found, by check
	notes        []func()           // to be called once mu is given up; see note
}

// New returns Rooms that do nothing until Run.
func New(cfg Config) *Rooms {
	r := &Rooms{
		cfg: cfg, log: cfg.Log,
		probes:  newProbeQueue(),
		checks:  rate.NewLimiter(checksPerSecond, checksPerSecond),
		lobbies: rate.NewLimiter(lobbiesPerSecond, lobbiesPerSecond),
		slots:   make(chan struct{}, maxEntering),
		rooms:   map[string]*room{}, problems: map[string]Problem{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.metrics = newMetrics(cfg.Metrics, r)
	return r
}

// Run works on the rooms until ctx ends, and returns once nothing of it is
// left running. It stays in the rooms: the end of the streams ends that.
func (r *Rooms) Run(ctx context.Context) error {
	r.mu.Lock()
	r.run = ctx
	for _, rm := range r.rooms {
		r.schedule(rm, 0)
	}
	r.mu.Unlock()
	r.giveProbes(ctx)
	r.mu.Lock()
	r.run = nil
	for _, rm := range r.rooms {
		rm.stopTimer()
	}
	r.mu.Unlock()
	r.steps.Wait()
	return nil
}

// Want says what is to be done about a room from now on (tracker.Rooms).
func (r *Rooms) Want(name string, w meeting.DesiredState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rm := r.rooms[name]
	if rm == nil {
		if w == meeting.WantNothing {
			return
		}
		rm = &room{name: name, warmUntil: time.Now().Add(freshFor), lobby: lobby{unread: true}}
		r.rooms[name] = rm
	}
	if w == meeting.WantSoon {
		rm.warmUntil = time.Now().Add(warmFor)
	}
	stayed := rm.want == meeting.WantStay || rm.want == meeting.WantKeep
	rm.want = w
	if rm.phase == inside && w != meeting.WantNothing && w != meeting.WantClosed {
		if humans, _, _ := rm.humans(); stayed && humans == 0 {
			r.schedule(rm, 0) // there was a reason to stay, and it is gone
		}
		return // the usual case: nothing to do before the next check
	}
	rm.wasInside = rm.wasInside || w == meeting.WantRegain || w == meeting.WantKeep
	r.schedule(rm, 0)
}

// Resync asks for the room's roster again, because presences were dropped
// (tracker.Rooms).
func (r *Rooms) Resync(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm := r.rooms[name]; rm != nil {
		r.metrics.resyncs.WithLabelValues("overload").Inc()
		rm.rosterDue = true
		r.schedule(rm, 0)
	}
}

// Expect says that somebody has just asked the server for the room, so that
// it will exist in a moment.
func (r *Rooms) Expect(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm := r.rooms[name]; rm != nil && rm.phase == outside {
		rm.expected = time.Now()
		rm.alone = false
		r.schedule(rm, expectFast)
	}
}

// ControlUp and ControlDown follow the control stream.
func (r *Rooms) ControlUp() { r.streamUp(&r.controlUp) }

// ControlDown says that the control stream has ended. Rooms stay followed;
// what needs an administrator waits.
func (r *Rooms) ControlDown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.controlUp, r.controlEnded = false, time.Now()
}

// OccupantUp says that the occupant's stream is up: in no room yet.
func (r *Rooms) OccupantUp() { r.streamUp(&r.occupantUp) }

func (r *Rooms) streamUp(up *bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*up = true
	for _, rm := range r.rooms {
		if rm.phase != inside || rm.want == meeting.WantClosed || rm.lobby.on {
			rm.failures, rm.retryAt = 0, time.Time{}
			r.schedule(rm, 0)
		}
	}
}

// OccupantDown says that the occupant's stream has ended, which makes usher
// leave every room.
func (r *Rooms) OccupantDown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.occupantUp = false
	for _, rm := range r.rooms {
		if rm.phase != outside {
			r.loseSight(rm)
		}
	}
}

// Problem is what a self-check found wrong with the site.
type Problem struct {
	Room string // in which it was seen; empty: in none
	Seen string
	Do   string // what mends it
}

// SetProblem notes what a check of the site found that is made elsewhere; nothing
// seen: all is well. The check is one of [Checks].
func (r *Rooms) SetProblem(check string, p Problem) {
	r.mu.Lock()
	defer r.unlock()
	if p.Seen == "" {
		delete(r.problems, check)
	} else {
		r.problem(check, p)
	}
}

// Problems returns what the self-checks found wrong with the site, by check;
// empty when all is well.
func (r *Rooms) Problems() map[string]Problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.problems)
}

// note has something logged once mu, which is held, is given up: writing may take
// its time, and every presence waits for mu.
func (r *Rooms) note(level slog.Level, msg string, args ...any) {
	r.notes = append(r.notes, func() { r.log.Log(context.Background(), level, msg, args...) })
}

// unlock gives mu up, and logs what was noted.
func (r *Rooms) unlock() {
	notes := r.notes
	r.notes = nil
	r.mu.Unlock()
	for _, log := range notes {
		log()
	}
}
