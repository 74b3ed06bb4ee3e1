// Package api is usher's HTTP side: the meeting API under /v1, join links under
// /j, the reservation callback of Prosody, and the admin listener with metrics
// and health. APIs that are compatible with other products are packages of their
// own below it, see [Platform].
//
// It knows HTTP and nothing else. What an app can do with meetings is the
// business of package meeting/service, where state is kept that of the store;
// listening, TLS and shutting down belong to whoever runs the handlers.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"usher/meeting/service"
	"usher/webhook"
)

// Store is what the API keeps and reads besides meetings.
type Store interface {
	AnswerStore
	KeyStore
	EventLog
}

// Config configures the public handler.
type Config struct {
	Service   *service.Service
	Store     Store
	Webhooks  *webhook.Registry
	Deliverer *webhook.Deliverer
	Feed      *Feed // of the same store; somebody else runs it
	// Platforms are APIs compatible with other products', served beside.
	Platforms []Platform
	// Keys are API keys that may do everything; apps' own are made with them.
	Keys []string
	// KeyLimit bounds what each API key may ask for.
	KeyLimit Limit
	// Proxies are whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// ReservationToken opens /reservations; empty: the site does not use them.
	ReservationToken string
	// ReservationOccupants passes a meeting's maximum of participants on with
	// its reservation; the site must have that enabled.
	ReservationOccupants bool
	// ReservationLobby likewise passes on that its room has a lobby; without it
	// no meeting has one.
	ReservationLobby bool
	// Speakers says who spoke when; nil: the site records nothing from bridges.
	Speakers Speakers
	// Recorders knows the site's Jibris.
	Recorders Recorders
	// RecorderKeys are the secrets of the recorders' hosts by name; empty: none may
	// hand a file over.
	RecorderKeys map[string]string
	// JibriHookSecret opens the subscriber of Jibri's webhooks; empty: there is none.
	JibriHookSecret string
	// Expect is called when people are let into a room that is about to be
	// made, from many goroutines. It must not block.
	Expect func(room string)
	// MainRoom returns the room whose breakout room has that name, which Prosody asks
	// for as for any other room; nil: there are none.
	MainRoom func(breakout string) (room string, ok bool)
	// Refused is called when a part of the site has come with a wrong secret, from
	// many goroutines; nil: nobody wants to know. It must not block.
	Refused func(SitePart)
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	Version string                // of usher, for the OpenAPI document
}

// server is what the parts of the public handler share.
type server struct {
	Config
	keys        *keyCache
	reservation credentials // nil: the site does not use reservations
	hook        credentials // nil: Jibri's webhooks are not taken
	limits      *limiters   // by key
	addresses   *addressLimits
	mux         *http.ServeMux
	durations   *prometheus.HistogramVec
	handovers   *prometheus.CounterVec
	asked       *prometheus.CounterVec // reservations
	opened      *prometheus.CounterVec // join links; nil where there are none
}

// New returns the public handler: /v1, the platforms, /j, rooms by their names, /d, /reservations,
// /internal/jibri and /openapi.json. It fails when a credential is missing, too
// short or used twice.
func New(cfg Config) (http.Handler, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Refused == nil {
		cfg.Refused = func(SitePart) {}
	}
	if len(cfg.Keys) == 0 {
		return nil, errors.New("api: no API key configured")
	}
	keys, err := newCredentials(cfg.Keys...)
	if err != nil {
		return nil, fmt.Errorf("API key: %w", err)
	}
	reservation, err := secondSecret(keys, "reservation token", cfg.ReservationToken)
	if err != nil {
		return nil, err
	}
	hook, err := secondSecret(keys, "jibri hook secret", cfg.JibriHookSecret)
	if err != nil {
		return nil, err
	}
	s := &server{
		Config: cfg, mux: http.NewServeMux(),
		keys:        &keyCache{configured: keys, store: cfg.Store, log: cfg.Log},
		reservation: reservation, hook: hook,
		limits:    &limiters{limit: cfg.KeyLimit},
		addresses: &addressLimits{limiters{limit: Limit{PerSecond: AddressRate, Burst: AddressBurst}}, cfg.Proxies},
		durations: newDurations(cfg.Metrics), handovers: newHandoverCount(cfg.Metrics),
		asked: newReservationCount(cfg.Metrics),
	}
	if err := (&v1{server: s}).register(); err != nil {
		return nil, err
	}
	if cfg.Service.MakesTokens() == nil {
		s.opened = newLinkCount(cfg.Metrics)
		s.handle("GET "+service.JoinPath+"{code}", http.StatusFound, s.join)
		s.handle("GET /{room}", http.StatusFound, s.join)
	}
	if cfg.Service.ReachesFiles() {
		s.handle("GET "+service.FilePath+"{ticket}", http.StatusOK, s.serveFile)
	}
	if reservation != nil {
		s.handle("POST /reservations/conference", http.StatusOK, s.postReservation)
		s.handle("GET /reservations/conference/{id}", http.StatusOK, s.getReservation)
		s.handle("DELETE /reservations/conference/{id}", http.StatusNoContent, s.deleteReservation)
	}
	// There also without any key: a 404 would make a recorder's host give up its
	// files for good; a 401 says that a setting is to be mended.
	s.handle("POST /internal/jibri/recordings", http.StatusOK, s.handOver)
	if hook != nil {
		s.handle("POST /internal/jibri/{secret}/v1/status", http.StatusOK, s.jibriHook)
		s.handle("POST /internal/jibri/{secret}/v1/session/status", http.StatusOK, s.jibriHook)
	}
	for _, p := range cfg.Platforms {
		s.handlePlatform(p)
	}
	return s.entrance(s.authenticate(s.idempotent(http.HandlerFunc(s.route)))), nil
}
