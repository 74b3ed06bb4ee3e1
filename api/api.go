// Package api is usher's HTTP side: the meeting API under /v1, join links under
// /j, the reservation callback of Prosody, and the admin listener with metrics
// and health.
//
// It knows HTTP and nothing else. What a meeting may do is decided in package
// meeting, where state is kept is the store's business, and listening, TLS and
// shutting down belong to whoever runs the handlers.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"usher/meeting"
	"usher/token"
)

// Commands changes meetings, and knows those that are not over without asking
// a store. [meeting.Tracker] does both; the errors are those it documents.
type Commands interface {
	Create(ctx context.Context, c meeting.Created) (meeting.Meeting, error)
	Do(ctx context.Context, id string, f meeting.Fact) (meeting.Meeting, error)
	Room(room string) (meeting.Meeting, bool)
	Running() bool
}

// Reads answers from the store. Every error that may pass when tried again
// wraps [meeting.ErrUnavailable]; what is not there is [meeting.ErrNotFound].
//
// Lists are newest first. A cursor is opaque: it comes from the page before,
// is "" for the first page and after the last one, and one that makes no sense
// gives some page rather than an error.
type Reads interface {
	// Load returns a meeting with the people of its open session.
	Load(ctx context.Context, id string) (meeting.Meeting, error)
	// List returns at most limit meetings that the filter chooses, and the
	// cursor of the next page.
	List(ctx context.Context, f meeting.Filter, cursor string, limit int) ([]meeting.Meeting, string, error)
	Sessions(ctx context.Context, meetingID, cursor string, limit int) ([]meeting.Session, string, error)
	Session(ctx context.Context, id string) (meeting.Session, error)
	// Participants returns everybody who was in the session, in the order in
	// which they first came.
	Participants(ctx context.Context, sessionID string) ([]meeting.Participant, error)
}

// Rooms acts on the people in a room.
type Rooms interface {
	// Kick puts the occupants with these nicks out of the room and shows them
	// the reason. Somebody who is not in any more is no error.
	Kick(ctx context.Context, room string, nicks []string, reason string) error
}

// Store is all that the API keeps and reads.
type Store interface {
	Reads
	Replies
	KeyStore
	LinkStore
	EventLog
	RecordingReads
}

// Config configures the public handler.
type Config struct {
	Commands Commands
	Rooms    Rooms
	Store    Store
	Webhooks Webhooks
	Feed     *Feed // of the same store; somebody else runs it
	// Keys are API keys that may do everything; apps' own are made with them.
	Keys []string
	// KeyLimit bounds what each API key may ask for.
	KeyLimit Limit
	// Tokens makes the tokens that let people in; nil: usher makes none, and
	// neither tokens nor links can be asked for.
	Tokens *token.Issuer
	// SiteURL is the URL of the Jitsi site, such as https://meet.example.org.
	SiteURL string
	// PublicURL is where people reach this handler, for join links.
	PublicURL string
	// Proxies are whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// ReservationToken opens /reservations; empty: the site does not use them.
	ReservationToken string
	// ReservationOccupants passes a meeting's maximum of participants on with
	// its reservation; the site must have that enabled.
	ReservationOccupants bool
	// SealSecret encrypts what apps bring along and makes links that can be shown
	// again; empty: one that is forgotten with this process.
	SealSecret string
	// Destinations lets apps name buckets for their recordings; needs a SealSecret.
	Destinations bool
	// Recorders knows the site's Jibris; nil: there are none.
	Recorders Recorders
	// Files reads what they recorded; nil: usher does not reach it.
	Files Files
	// RecorderKeys are the secrets of the recorders' hosts by name; empty: none may
	// hand a file over.
	RecorderKeys map[string]string
	// JibriHookSecret opens the subscriber of Jibri's webhooks; empty: there is none.
	JibriHookSecret string
	// Expect is called when people are let into a room that is about to be
	// made, from many goroutines. It must not block; nil: nobody wants to know.
	Expect  func(room string)
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	Version string                // of usher, for the OpenAPI document
}

// New returns the public handler: /v1, /whereby/v1, /j, /d, /reservations,
// /internal/jibri and /openapi.json. It fails when a credential is missing, too short or used twice.
func New(cfg Config) (http.Handler, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Expect == nil {
		cfg.Expect = func(string) {}
	}
	if cfg.Recorders == nil {
		cfg.Recorders = noRecorders{}
	}
	switch {
	case len(cfg.Keys) == 0:
		return nil, errors.New("api: no API key configured")
	case cfg.Destinations && cfg.SealSecret == "":
		return nil, errors.New("api: no secret to seal destinations with")
	}
	keys, err := newCredentials(cfg.Keys...)
	if err != nil {
		return nil, fmt.Errorf("API key: %w", err)
	}
	var reservation credentials
	if cfg.ReservationToken != "" {
		if reservation, err = newCredentials(cfg.ReservationToken); err != nil {
			return nil, fmt.Errorf("reservation token: %w", err)
		}
		if keys.match(cfg.ReservationToken) {
			return nil, errors.New("api: the reservation token must not be an API key")
		}
	}

	mux := http.NewServeMux()
	m := newMetrics(cfg.Metrics)
	ring := &keyring{configured: keys, store: cfg.Store, log: cfg.Log}
	seals := newSeals(cfg.SealSecret)
	archive := &files{
		store: cfg.Files, reads: cfg.Store, commands: cfg.Commands, seals: seals,
		publicURL: strings.TrimRight(cfg.PublicURL, "/"), log: cfg.Log,
		limits: &limiters{limit: Limit{PerSecond: DoorRate, Burst: DoorBurst}}, clients: clients{cfg.Proxies},
	}
	v := &v1{
		recordings: cfg.Store, recorders: cfg.Recorders, files: archive,
		commands: cfg.Commands, rooms: cfg.Rooms, reads: cfg.Store, links: cfg.Store,
		events: cfg.Store, feed: cfg.Feed, webhooks: cfg.Webhooks, keys: ring, publicURL: strings.TrimRight(cfg.PublicURL, "/"), log: cfg.Log,
	}
	if cfg.Tokens != nil && cfg.SiteURL != "" {
		v.tickets = &tickets{issuer: cfg.Tokens, site: cfg.SiteURL, commands: cfg.Commands, log: cfg.Log}
		mux.Handle("GET "+doorPath+"{code}", &door{
			links: cfg.Store, reads: cfg.Store, tickets: v.tickets, clients: clients{cfg.Proxies},
			limits: &limiters{limit: Limit{PerSecond: DoorRate, Burst: DoorBurst}},
		})
		m.expect(doorPath+"{code}", http.MethodGet, http.StatusFound)
	}
	spec, err := registerV1(humago.NewAdapter(mux, ""), v, cfg.Version)
	if err != nil {
		return nil, err
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(spec.json) // the client's loss
	})
	m.expect("/openapi.json", http.MethodGet, http.StatusOK)
	for _, r := range spec.routes {
		m.expect(r.path, r.method, r.status)
	}
	if reservation != nil {
		h := &reservations{commands: cfg.Commands, expect: cfg.Expect, occupants: cfg.ReservationOccupants}
		mux.HandleFunc("POST /reservations/conference", h.post)
		mux.HandleFunc("GET /reservations/conference/{id}", h.get)
		mux.HandleFunc("DELETE /reservations/conference/{id}", h.delete)
		m.expect("/reservations/conference", http.MethodPost, http.StatusOK)
		m.expect("/reservations/conference/{id}", http.MethodGet, http.StatusOK)
		m.expect("/reservations/conference/{id}", http.MethodDelete, http.StatusNoContent)
	}
	if cfg.Files != nil {
		mux.Handle("GET "+filePath+"{ticket}", archive)
		m.expect(filePath+"{ticket}", http.MethodGet, http.StatusOK)
	}
	// There also without any key: a 404 would tell a recorder's host that nobody
	// wants its files, for good; a 401 says that a setting is to be mended.
	mux.Handle("POST /internal/jibri/recordings", &handovers{
		commands: cfg.Commands, reads: cfg.Store, secrets: cfg.RecorderKeys, nobody: rand.Text(), seals: seals,
		count: newHandoverCount(cfg.Metrics), version: cfg.Version, log: cfg.Log,
	})
	m.expect("/internal/jibri/recordings", http.MethodPost, http.StatusOK)
	if cfg.JibriHookSecret != "" {
		secret, err := newCredentials(cfg.JibriHookSecret)
		if err != nil {
			return nil, fmt.Errorf("jibri hook secret: %w", err)
		}
		if keys.match(cfg.JibriHookSecret) {
			return nil, errors.New("api: the jibri hook secret must not be an API key")
		}
		h := &reports{secret, cfg.Recorders}
		mux.Handle("POST /internal/jibri/{secret}/v1/status", h)
		mux.Handle("POST /internal/jibri/{secret}/v1/session/status", h)
		m.expect("/internal/jibri/{secret}/v1/status", http.MethodPost, http.StatusOK)
	}
	repeats := &repeats{store: cfg.Store, next: knownOnly(mux), log: cfg.Log}
	limits := &limiters{limit: cfg.KeyLimit}
	guard := &guard{keys: ring, limits: limits, reservation: reservation, next: repeats, log: cfg.Log}
	whereby := newFacade(cfg, v, seals, limits, m)
	return around(whereby.before(guard), m, cfg.Log), nil
}
