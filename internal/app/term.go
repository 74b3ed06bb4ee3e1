package app

import (
	"context"
	"encoding/xml"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/bridge"
	"usher/component"
	"usher/config"
	"usher/jibri"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/muc"
)

// Names that usher speaks and joins under. They never change at run time:
// random ones leave ghosts in rooms.
const (
	controlUser  = "ctl"  // administrator of the MUC, never in a room
	labelledUser = "bot"  // occupant on the component, where there is no login
	poolUser     = "pool" // watches the recorders
	resource     = "usher"
	nick         = "usher"
)

// term is one stretch of leading.
type term struct {
	component *component.Link // control, and the occupant in labelled mode
	login     *component.Link // the hidden occupant's; nil in labelled mode
	brewery   *component.Link // watches the recorders; nil where the component does
	rooms     *muc.Rooms
	tracker   *tracker.Tracker
	pool      *jibri.Pool
	scheduler *jibri.Scheduler
	bridges   *bridge.Bridges     // nil on a site that records nothing from them
	tracks    *bridge.Recorder    // likewise
	metrics   prometheus.Gatherer // series that begin anew with each term
}

// newTerm makes the streams, the rooms and the tracker. They need one another,
// so their handlers reach the later ones through t; nothing runs yet.
func (l *leader) newTerm() (*term, error) {
	cfg, reg := l.cfg, prometheus.NewRegistry()
	t := &term{metrics: reg}
	site := newSite(cfg)
	var err error
	asComponent := componentLogin(cfg)
	asComponent.Handler, asComponent.Log, asComponent.Metrics = t.onComponent(cfg, l.labelled), l.log, reg
	if t.component, err = component.NewComponent(asComponent); err != nil {
		return nil, err
	}
	occupant := t.component.As(labelledUser + "@" + cfg.ComponentDomain + "/" + resource)
	if !l.labelled {
		asClient := occupantLogin(cfg)
		asClient.Name, asClient.Log, asClient.Metrics = "occupant", l.log, reg
		asClient.Handler = component.Handler{
			Presence: func(d *xml.Decoder, start xml.StartElement) { t.rooms.Presence(d, start) },
			Message:  func(d *xml.Decoder, start xml.StartElement) { t.rooms.Message(d, start) },
			Up:       func(string) { t.rooms.OccupantUp() },
			Down:     func(error) { t.rooms.OccupantDown() },
		}
		if t.login, err = component.NewClient(asClient); err != nil {
			return nil, err
		}
		occupant = t.login.As("")
	}
	pool := t.component.As(poolUser + "@" + cfg.ComponentDomain + "/" + resource)
	if cfg.BreweryPassword != "" {
		asPool := breweryLogin(cfg)
		asPool.Log, asPool.Metrics = l.log, reg
		asPool.Handler = component.Handler{
			Presence: t.onBrewery,
			Up:       func(string) { t.breweryUp() },
			Down:     func(error) { t.breweryDown() },
		}
		if t.brewery, err = component.NewClient(asPool); err != nil {
			return nil, err
		}
		pool = t.brewery.As("")
	}
	t.rooms = muc.New(muc.Config{
		Site:     site,
		Control:  t.component.As(controlUser + "@" + cfg.ComponentDomain + "/" + resource),
		Occupant: occupant,
		Observe:  func(room string, at time.Time, f meeting.Input) { t.tracker.Observe(room, at, f) },
		Log:      l.log, Metrics: reg,
	})
	t.pool = jibri.NewPool(jibri.PoolConfig{Stream: pool, Brewery: cfg.Brewery, Log: l.log, Metrics: reg})
	t.scheduler = jibri.NewScheduler(jibri.Config{
		Occupant: occupant, MUC: cfg.MUC, Pool: t.pool,
		Do: t.do, Own: t.rooms.Own, Log: l.log, Metrics: reg,
	})
	working := recorders{t.scheduler}
	if cfg.Tracks.Listen != "" {
		if err := l.newTracks(t, pool, reg); err != nil {
			return nil, err
		}
		working = append(working, t.tracks)
	}
	metrics := newTermMetrics(reg, t)
	t.tracker = tracker.New(l.store, t.rooms, tracker.Options{
		Log: l.log, Route: l.registry.Route, Recorders: working, TriggerDelay: cfg.RecordingDelay, Notice: notice(cfg),
		Committed: func(c meeting.Commit, latency time.Duration) {
			l.deliverer.Committed(c)
			metrics.committed(c, latency)
		},
		Dropped: metrics.dropped.Inc, Panicked: metrics.panics.Inc,
	})
	return t, nil
}

// do is that of the tracker, which is made after those who use it.
func (t *term) do(ctx context.Context, id string, f meeting.Input) (meeting.Meeting, error) {
	return t.tracker.Do(ctx, id, f)
}

// newSite says who is who, by the settings.
func newSite(cfg config.Config) muc.Site {
	site := muc.Site{
		MUC: cfg.MUC, BreakoutDomain: cfg.BreakoutDomain, LobbyDomain: cfg.LobbyDomain, FocusJID: cfg.FocusJID, TrustedDomains: cfg.TrustedDomains, DialInDomains: cfg.DialInDomains,
		ComponentDomain: cfg.ComponentDomain, ControlJID: controlUser + "@" + cfg.ComponentDomain, OccupantJID: occupantAccount(cfg).jid(),
		Nick: nick, DisplayName: cfg.DisplayName, Caps: component.Caps(),
		IdentityDomains: cfg.IdentityDomains, ElectsModerator: cfg.ElectsModerator, Conferences: cfg.Tracks.Listen != "",
	}
	if labelled(cfg) {
		site.OccupantJID = labelledUser + "@" + cfg.ComponentDomain
	}
	return site
}

// onComponent hands what comes on the component's stream to whoever is on it: the
// control address, the occupant in labelled mode, and whoever watches the
// recorders without an account.
func (t *term) onComponent(cfg config.Config, labelled bool) component.Handler {
	var breweryDomains []string
	for _, room := range []string{cfg.Brewery, cfg.Tracks.Brewery} {
		_, domain, _ := strings.Cut(room, "@")
		breweryDomains = append(breweryDomains, domain)
	}
	watches := cfg.BreweryPassword == ""
	return component.Handler{
		Presence: func(d *xml.Decoder, start xml.StartElement) {
			if watches && slices.Contains(breweryDomains, domainOf(start)) {
				t.onBrewery(d, start)
			} else if labelled {
				t.rooms.Presence(d, start)
			}
		},
		Message: func(d *xml.Decoder, start xml.StartElement) {
			if labelled {
				t.rooms.Message(d, start)
			}
		},
		Up: func(string) {
			if watches {
				t.breweryUp()
			}
			t.rooms.ControlUp()
			if labelled {
				t.rooms.OccupantUp()
			}
		},
		Down: func(error) {
			if watches {
				t.breweryDown()
			}
			t.rooms.ControlDown()
			if labelled {
				t.rooms.OccupantDown()
			}
		},
	}
}

// domainOf returns the domain that a stanza comes from.
func domainOf(stanza xml.StartElement) string {
	for _, a := range stanza.Attr {
		if a.Name.Local == "from" {
			bare, _, _ := strings.Cut(a.Value, "/")
			return bare[strings.LastIndexByte(bare, '@')+1:]
		}
	}
	return ""
}
