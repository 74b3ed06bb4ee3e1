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
	// Recorders knows the site's Jibris; nil: there are none.
	Recorders Recorders
	// RecorderKeys are the secrets of the recorders' hosts by name; empty: none may
	// hand a file over.
	RecorderKeys map[string]string
	// JibriHookSecret opens the subscriber of Jibri's webhooks; empty: there is none.
	JibriHookSecret string
	// Expect is called when people are let into a room that is about to be
	// made, from many goroutines. It must not block; nil: nobody is called.
	Expect  func(room string)
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	Version string                // of usher, for the OpenAPI document
}

// New returns the public handler: /v1, the platforms, /j, /d, /reservations,
// /internal/jibri and /openapi.json. It fails when a credential is missing, too
// short or used twice.
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
	rt := &router{ServeMux: http.NewServeMux(), metrics: newMetrics(cfg.Metrics), log: cfg.Log}
	cache := &keyCache{configured: keys, store: cfg.Store, log: cfg.Log}
	v := &v1{
		svc: cfg.Service, recorders: cfg.Recorders, events: cfg.Store, feed: cfg.Feed,
		webhooks: cfg.Webhooks, deliverer: cfg.Deliverer, keys: cache, log: cfg.Log,
	}
	document, err := v.register(rt, cfg.Version)
	if err != nil {
		return nil, err
	}
	rt.handle("GET /openapi.json", http.StatusOK, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document) // the client is gone
		return nil
	})
	addresses := addressLimits{limiters{limit: Limit{PerSecond: AddressRate, Burst: AddressBurst}}, cfg.Proxies}
	if cfg.Service.MakesTokens() == nil {
		join := &joinHandler{svc: cfg.Service, limits: &addresses, log: cfg.Log}
		rt.handle("GET "+service.JoinPath+"{code}", http.StatusFound, join.serve)
	}
	if cfg.Service.ReachesFiles() {
		rt.handle("GET "+service.FilePath+"{ticket}", http.StatusOK, (&fileHandler{svc: cfg.Service, limits: &addresses}).serve)
	}
	if reservation != nil {
		h := &reservations{leader: cfg.Service, expect: cfg.Expect, occupants: cfg.ReservationOccupants}
		rt.handle("POST /reservations/conference", http.StatusOK, h.post)
		rt.handle("GET /reservations/conference/{id}", http.StatusOK, h.get)
		rt.handle("DELETE /reservations/conference/{id}", http.StatusNoContent, h.delete)
	}
	// There also without any key: a 404 would make a recorder's host give up its
	// files for good; a 401 says that a setting is to be mended.
	rt.handle("POST /internal/jibri/recordings", http.StatusOK, newHandovers(cfg).serve)
	if hook != nil {
		h := &jibriHook{hook, cfg.Recorders}
		rt.handle("POST /internal/jibri/{secret}/v1/status", http.StatusOK, h.serve)
		rt.handle("POST /internal/jibri/{secret}/v1/session/status", http.StatusOK, h.serve)
	}
	for _, p := range cfg.Platforms {
		rt.handlePlatform(p)
	}
	auth := &authenticator{
		keys: cache, limits: &limiters{limit: cfg.KeyLimit}, reservation: reservation, log: cfg.Log,
		next: &idempotency{store: cfg.Store, next: rt, log: cfg.Log},
	}
	return &entrance{next: auth, platforms: cfg.Platforms, metrics: rt.metrics, log: cfg.Log}, nil
}
