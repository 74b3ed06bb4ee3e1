package brewery_test

import (
	"context"
	"encoding/xml"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/component/brewery"
)

const address = "jibribrewery@internal-muc.meet.jitsi"

// status is what the machines of these tests announce.
type status struct {
	XMLName xml.Name `xml:"http://jitsi.org/protocol/jibri jibri-status"`
	Busy    string   `xml:"busy,attr"`
}

// room is a brewery that answers whoever enters with what it is set to.
type room struct {
	watcher *brewery.Watcher[status]

	mu     sync.Mutex
	answer string // presences, each on a line; none: silence
	joins  int
	leaves int
	lost   error             // answer to the question whether usher is in
	seen   map[string]string // the status of each who is there, "none" without one
}

func (r *room) Send(_ context.Context, _, _, typ string, _ ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if typ == "unavailable" {
		r.leaves++
		return nil
	}
	r.joins++
	for line := range strings.Lines(r.answer) {
		go r.present(strings.TrimSpace(line))
	}
	return nil
}

func (r *room) IQ(context.Context, string, string, any, any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

func (r *room) present(text string) {
	d := xml.NewDecoder(strings.NewReader(text))
	start, _ := d.Token()
	r.watcher.Presence(d, start.(xml.StartElement))
}

func (r *room) occupant(nick string, here bool, s *status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !here:
		delete(r.seen, nick)
	case s == nil:
		r.seen[nick] = "none"
	default:
		r.seen[nick] = s.Busy
	}
}

func (r *room) unseen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = map[string]string{}
}

const selfIn = `<presence from='` + address + `/usher'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>`

const (
	selfAlone  = `<presence from='` + address + `/usher'><x xmlns='http://jabber.org/protocol/muc#user'><status code='201'/><status code='110'/></x></presence>`
	notAllowed = `<presence from='` + address + `/usher' type='error'><error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`
)

// newRoom runs a watcher in the bubble of a test until it ends.
func newRoom(t *testing.T, answer string) *room {
	r := &room{answer: answer, seen: map[string]string{}}
	r.watcher = brewery.New(brewery.Config[status]{
		Stream: r, Room: address, Log: slog.New(slog.DiscardHandler), Occupant: r.occupant, Unseen: r.unseen,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.watcher.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	r.watcher.Up()
	synctest.Wait()
	return r
}

func TestOccupants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, selfIn)
		want := func(when, nicks string) {
			t.Helper()
			r.mu.Lock()
			defer r.mu.Unlock()
			var all []string
			for _, nick := range []string{"a", "b", "c"} {
				if s, ok := r.seen[nick]; ok {
					all = append(all, nick+" "+s)
				}
			}
			if got := strings.Join(all, ", "); got != nicks || len(all) != len(r.seen) {
				t.Errorf("%s: seen %v, want %q", when, r.seen, nicks)
			}
		}
		r.present(`<presence from='` + address + `/a'><jibri-status xmlns='http://jitsi.org/protocol/jibri' busy='yes'/></presence>`)
		r.present(`<presence from='` + address + `/b'><jibri-status xmlns='elsewhere' busy='yes'/></presence>`)
		r.present(`<presence from='elsewhere@internal-muc.meet.jitsi/c'/>`)
		r.present(`<presence from='` + address + `'/>`)
		r.present(`<presence from='` + address + `/c'><jibri-status`)
		want("after they came", "a yes, b none")
		r.present(`<presence from='` + address + `/b' type='unavailable'/>`)
		want("after one left", "a yes")
		r.watcher.Down()
		want("without a stream", "")
		if ok, problem := r.watcher.Watching(); ok || problem == "" {
			t.Errorf("without a stream: watching %v, problem %q", ok, problem)
		}
	})
}

func TestNotLetIn(t *testing.T) {
	refused := `<presence from='` + address + `/usher' type='error'><error type='auth'><registration-required xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`
	for name, c := range map[string]struct {
		answer, problem string
		joins           int // in twenty seconds
	}{
		"silence": {"", "muc_filter_whitelist", 1},
		"refusal": {refused, "registration-required", 2},
		"alone":   {selfAlone, "nobody is in the brewery", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoom(t, c.answer)
				time.Sleep(19 * time.Second)
				if ok, problem := r.watcher.Watching(); ok || !strings.Contains(problem, c.problem) {
					t.Errorf("watching %v, problem %q, want %q", ok, problem, c.problem)
				}
				r.mu.Lock()
				if r.joins != c.joins || r.leaves != c.joins {
					t.Errorf("%d joins and %d leaves, want %d each", r.joins, r.leaves, c.joins)
				}
				r.answer = selfIn // the site has changed its mind
				r.mu.Unlock()
				time.Sleep(3 * time.Minute)
				if ok, problem := r.watcher.Watching(); !ok {
					t.Errorf("still not watching: %s", problem)
				}
			})
		})
	}
}

// TestKeptOutTriesLessAndLess: the server logs an error for each try of somebody
// whom it keeps out, and is asked once an hour in the end; a new stream is a new
// beginning.
func TestKeptOutTriesLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, "")
		tries := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.joins
		}
		time.Sleep(24 * time.Hour)
		if got := tries(); got < 24 || got > 30 {
			t.Errorf("%d tries in a day, want one an hour and a few at first", got)
		}
		before := tries()
		r.watcher.Down()
		r.watcher.Up()
		time.Sleep(4 * time.Minute)
		if got := tries() - before; got != 2 {
			t.Errorf("%d tries in the four minutes after the stream came up anew, want 2", got)
		}
	})
}

// TestBeforeAnybodyIsInTheBrewery: after a restart of Prosody everybody is refused
// until Jicofo has made the room, or usher is there first.
func TestBeforeAnybodyIsInTheBrewery(t *testing.T) {
	for name, answer := range map[string]string{"refused": notAllowed, "alone": selfAlone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoom(t, answer)
				time.Sleep(95 * time.Second)
				r.mu.Lock()
				r.answer = selfIn
				r.mu.Unlock()
				time.Sleep(10 * time.Second)
				if ok, problem := r.watcher.Watching(); !ok {
					t.Errorf("ten seconds after Jicofo came: %s, want usher to watch", problem)
				}
			})
		})
	}
}

func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, selfIn)
		r.present(`<presence from='` + address + `/usher' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><status code='307'/><status code='110'/></x></presence>`)
		synctest.Wait()
		if ok, _ := r.watcher.Watching(); !ok || r.joins != 2 {
			t.Errorf("put out: watching %v after %d joins, want true after 2", ok, r.joins)
		}
		r.mu.Lock()
		r.lost = context.DeadlineExceeded // the brewery knows nothing of usher
		r.mu.Unlock()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if ok, _ := r.watcher.Watching(); !ok || r.joins < 3 {
			t.Errorf("lost: watching %v after %d joins, want true after 3", ok, r.joins)
		}
	})
}
