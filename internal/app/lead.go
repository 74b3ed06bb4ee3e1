package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"usher/bridge"
	"usher/component"
	"usher/config"
	"usher/internal/sleep"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/muc"
	"usher/store"
	"usher/webhook"
)

// conflictPause is how long usher stands back after another process took its
// component's place. Fighting back at once would go on for ever; who holds the
// lease is settled after this long.
const conflictPause = store.LeaseTTL

// leader is what this process does while it leads the site: the streams, the
// rooms and the meetings. The HTTP side asks it for the term that is on.
type leader struct {
	cfg       config.Config
	store     meetingStore
	registry  *webhook.Registry
	deliverer *webhook.Deliverer
	log       *slog.Logger
	name      string // of this process, as the lease has it

	// labelled says that people see usher. That is so without an account, never
	// because something is wrong with the account.
	labelled bool
	tracks   *bridge.Server // to which bridges send; nil on a site that records nothing from them
	term     atomic.Pointer[term]
}

// meetingStore is what a leader needs of the store.
type meetingStore interface {
	tracker.Store
	Recording(ctx context.Context, id string) (meeting.Recording, error)
}

func newLeader(cfg config.Config, store meetingStore, registry *webhook.Registry, deliverer *webhook.Deliverer, log *slog.Logger) *leader {
	l := &leader{cfg: cfg, store: store, registry: registry, deliverer: deliverer, log: log, labelled: labelled(cfg)}
	if l.labelled {
		log.Warn("no USHER_OCCUPANT_PASSWORD: people will see usher in their meetings", "mode", "labelled")
	}
	return l
}

// labelled reports whether people see usher.
func labelled(cfg config.Config) bool { return cfg.OccupantPassword == "" }

// lead runs terms until ctx ends, another process takes over
// ([meeting.ErrFenced]) or an error that only a person can mend.
func (l *leader) lead(ctx context.Context) error {
	// What is committed before the endpoints are known would miss them.
	if err := l.registry.Load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	err := l.runTerm(ctx)
	if errors.Is(err, component.ErrConflict) {
		l.log.Error("another process connects as this component, standing back", "err", err, "wait", conflictPause)
		sleep.For(ctx, conflictPause)
		return meeting.ErrFenced
	}
	return err
}

// rewrite writes undelivered events and all meetings anew after the store was
// emptied.
func (l *leader) rewrite(ctx context.Context) error {
	t := l.term.Load()
	if t == nil {
		return meeting.ErrUnavailable
	}
	if err := l.deliverer.Rewrite(ctx); err != nil {
		return err
	}
	return t.tracker.Rewrite(ctx)
}

func (l *leader) runTerm(ctx context.Context) error {
	t, err := l.newTerm()
	if err != nil {
		return err
	}
	l.term.Store(t)
	defer l.term.Store(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return t.tracker.Run(ctx, func() { l.log.Info("meetings loaded") })
	})
	g.Go(func() error { return l.deliverer.Lead(ctx) })
	g.Go(func() error { return t.rooms.Run(ctx) })
	g.Go(func() error { return t.pool.Run(ctx) })
	g.Go(func() error { return t.scheduler.Run(ctx) })
	g.Go(func() error { return t.component.Run(ctx) })
	if t.tracks != nil {
		g.Go(func() error { return t.bridges.Run(ctx) })
		g.Go(func() error { return t.tracks.Run(ctx) })
	}
	if t.brewery != nil {
		g.Go(func() error { return t.brewery.Run(ctx) })
	}
	if t.login != nil {
		g.Go(func() error { return t.login.Run(ctx) })
		if l.cfg.SiteURL != "" {
			g.Go(func() error {
				check := func(ctx context.Context) muc.Problem {
					return checkWebClient(ctx, l.cfg.SiteURL, l.cfg.HiddenDomain)
				}
				watchWebClient(ctx, check, func(p muc.Problem) {
					t.rooms.SetProblem(muc.CheckHiddenDomain, p)
				})
				return nil
			})
		}
	}
	return g.Wait()
}

// The leader passes the HTTP side's commands on to the tracker of the term
// that is on ([service.Leader]). While another process leads, nothing is done.

// Create makes a meeting; see [tracker.Tracker.Create].
func (l *leader) Create(ctx context.Context, c meeting.Created) (meeting.Meeting, error) {
	if t := l.term.Load(); t != nil {
		return t.tracker.Create(ctx, c)
	}
	return meeting.Meeting{}, meeting.ErrUnavailable
}

// Do applies a command; see [tracker.Tracker.Do].
func (l *leader) Do(ctx context.Context, id string, f meeting.Input) (meeting.Meeting, error) {
	if t := l.term.Load(); t != nil {
		return t.tracker.Do(ctx, id, f)
	}
	return meeting.Meeting{}, meeting.ErrUnavailable
}

// Room returns the meeting of a room; see [tracker.Tracker.Room].
func (l *leader) Room(room string) (meeting.Meeting, bool) {
	if t := l.term.Load(); t != nil {
		return t.tracker.Room(room)
	}
	return meeting.Meeting{}, false
}

// Running reports whether this process leads and has loaded the meetings.
func (l *leader) Running() bool {
	t := l.term.Load()
	return t != nil && t.tracker.Running()
}

// Kick puts occupants out of a room; see [muc.Rooms.Kick].
func (l *leader) Kick(ctx context.Context, room string, nicks []string, reason string) error {
	if t := l.term.Load(); t != nil {
		return t.rooms.Kick(ctx, room, nicks, reason)
	}
	return meeting.ErrUnavailable
}

// Recorders returns the site's recorders; see [jibri.Pool.Recorders].
func (l *leader) Recorders() []meeting.Recorder {
	if t := l.term.Load(); t != nil {
		return t.pool.Recorders()
	}
	return nil
}

// Watching reports whether usher sees the recorders; see [jibri.Pool.Watching].
func (l *leader) Watching() (ok bool, problem string) {
	if t := l.term.Load(); t != nil {
		return t.pool.Watching()
	}
	return false, "another process leads, or the store does not say"
}

// Queue returns the recordings in line; see [jibri.Scheduler.Queue].
func (l *leader) Queue() []meeting.Recording {
	if t := l.term.Load(); t != nil {
		return t.scheduler.Queue()
	}
	return nil
}

// Report takes what a Jibri says of itself; see [jibri.Pool.Report].
func (l *leader) Report(name string, busy, healthy bool) {
	if t := l.term.Load(); t != nil {
		t.pool.Report(name, busy, healthy)
	}
}

// mainRoom returns the room that a breakout room belongs to.
func (l *leader) mainRoom(breakout string) (room string, ok bool) {
	if t := l.term.Load(); t != nil {
		return t.rooms.MainRoom(breakout)
	}
	return "", false
}

// expect passes on that somebody asked for a room.
func (l *leader) expect(room string) {
	if t := l.term.Load(); t != nil {
		t.rooms.Expect(room)
	}
}
