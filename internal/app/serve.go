// Package app is usher as it runs: it wires the parts together, leads the site
// while it has the lease, says whether it is ready, and stops in order.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"usher/api"
	"usher/api/whereby"
	"usher/bridge"
	"usher/config"
	"usher/internal/child"
	"usher/meeting/service"
	"usher/storage"
	"usher/store"
	"usher/token"
	"usher/webhook"
)

// drainTimeout is how long requests under way may take once usher is to
// stop; clients wait for an answer about as long.
const drainTimeout = 10 * time.Second

// Limits of connections, of each listener by itself. Without them strangers
// could hold all descriptors of the process.
const (
	// maxConnections is of a public listener: ten times the streams that may be
	// open ([api.MaxListeners]). Each takes some 20 kB. Where descriptors are
	// scarce it is a quarter of them, which leaves half to everything else.
	maxConnections = 2048
	// maxAdminConnections is enough for Prometheus, probes and a person.
	maxAdminConnections = 64
)

// Addresses are where a running usher can be reached.
type Addresses struct{ API, Admin, Whereby, Tracks, Redis string }

// Run runs usher until ctx ends or a part of it fails, and returns once
// everything that it started has ended, in this order: the listeners, when the
// requests under way are answered; leading, and with it the streams; the
// deliveries; the store. ready, which may be nil, is called once all listeners
// are open.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(Addresses)) error {
	for _, text := range cfg.Warnings {
		log.Warn("a setting is not as it should be", "seen", text)
	}
	if err := Check(cfg); err != nil {
		return err
	}
	reg := newProcessMetrics()
	st, own, err := openStore(ctx, &cfg, log, reg)
	defer closeStore(st, own, log)
	if err != nil {
		return err
	}
	registry, err := newRegistry(cfg, st, log, reg)
	if err != nil {
		return err
	}
	deliverer := webhook.NewDeliverer(registry)
	l := newLeader(cfg, st, registry, deliverer, log)
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	l.name = host + ":" + cfg.Listen
	if cfg.Tracks.Listen != "" {
		l.tracks = bridge.NewServer(bridge.Config{Log: log, Metrics: reg})
	}
	feed := api.NewFeed(st, log)
	refused := newRefusals(log, reg)
	upstream, err := newUpstream(cfg, st, l, refused.note, log, reg)
	if err != nil {
		return err
	}
	public, err := newAPI(cfg, st, l, feed, upstream, refused.note, log, reg)
	if err != nil {
		return err
	}
	others := append(upstreamChecks(upstream), settingsCheck(cfg), webhooksCheck(registry, deliverer), refused.check())
	health := func() api.Health { return l.health(st, others...) }
	watch := &monitor{health: health, log: log}
	reg.MustRegister(watch)
	admin := newAdmin(l, health, reg)
	listeners, at, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	at.Redis = cfg.RedisURL
	handlers := []http.Handler{public, admin, whereby.AtRoot(public)}

	stopping, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	serving, leading, delivering, storing := newStage(fail), newStage(fail), newStage(fail), newStage(fail)
	if own != nil {
		storing.run(func(ctx context.Context) error { return keepRedis(ctx, own, log) })
	}
	delivering.run(deliverer.Run)
	leading.run(func(ctx context.Context) error { return st.Lead(ctx, l.name, l.lead, l.rewrite) })
	serving.run(feed.Run)
	serving.run(watch.run)
	if l.tracks != nil { // ends after leading, which closes what it records
		tracks := listeners[len(listeners)-1]
		listeners = listeners[:len(listeners)-1]
		delivering.run(func(ctx context.Context) error { return l.tracks.Serve(ctx, tracks) })
	}
	for i, ln := range listeners {
		serving.run(func(ctx context.Context) error { return ServeHTTP(ctx, ln, handlers[i], log) })
	}
	log.Info("listening", "api", at.API, "admin", at.Admin, "whereby", at.Whereby, "tracks", at.Tracks)
	if ready != nil {
		ready(at)
	}
	<-stopping.Done()
	return errors.Join(serving.end(), leading.end(), delivering.end(), storing.end())
}

// newAdmin returns the handler of the admin listener.
func newAdmin(l *leader, health func() api.Health, reg *prometheus.Registry) http.Handler {
	rooms := prometheus.NewRegistry()
	rooms.MustRegister(roomMetrics{l})
	return api.Admin(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		gatherers := prometheus.Gatherers{reg}
		if t := l.term.Load(); t != nil {
			gatherers = append(gatherers, t.metrics)
		}
		return gatherers.Gather()
	}), rooms, health)
}

// newAPI returns the handler of the APIs.
func newAPI(cfg config.Config, st *store.Redis, l *leader, feed *api.Feed, upstream *whereby.Upstream, refused func(api.SitePart), log *slog.Logger, reg prometheus.Registerer) (http.Handler, error) {
	var tokens *token.Issuer
	if cfg.MakesTokens() {
		var err error
		if tokens, err = NewIssuer(cfg.Jitsi); err != nil {
			return nil, err
		}
	}
	keys := make([]string, len(cfg.APIKeys))
	for i, k := range cfg.APIKeys {
		keys[i] = string(k)
	}
	recorders := map[string]string{}
	for _, k := range cfg.RecorderKeys {
		recorders[k.Name] = string(k.Value)
	}
	var files service.Files
	if cfg.RecordingsDir != "" || cfg.S3.Endpoint != "" {
		var err error
		if files, err = storage.NewSite(cfg.Recording); err != nil {
			return nil, err
		}
	}
	svc := service.New(service.Config{
		Leader: l, Store: st, Files: files, Tokens: tokens, SiteURL: cfg.SiteURL,
		PublicURL: cmp.Or(cfg.PublicURL, "http://"+cfg.Listen), SealSecret: string(cfg.SealSecret), Log: api.RequestLog(log),
	})
	return api.New(api.Config{
		Service: svc, Store: st, Webhooks: l.registry, Deliverer: l.deliverer, Feed: feed, Keys: keys, Proxies: cfg.TrustedProxies,
		Platforms:            []api.Platform{whereby.New(whereby.Config{Service: svc, Destinations: cfg.AllowRecordingDestination, Lobby: cfg.ReservationLobby, Upstream: upstream})},
		KeyLimit:             api.Limit{PerSecond: cfg.APIRate, Burst: cfg.APIBurst},
		ReservationToken:     string(cfg.ReservationToken),
		ReservationOccupants: cfg.ReservationMaxOccupants, ReservationLobby: cfg.ReservationLobby,
		Speakers: speakers(cfg, st, files), Recorders: l, RecorderKeys: recorders, JibriHookSecret: string(cfg.JibriHookSecret),
		Refused: refused, Expect: l.expect, MainRoom: l.mainRoom, Log: log, Metrics: reg, Version: Version(),
	})
}

// listen opens the listeners of the API, of the admin side and, where they are
// wanted, of Whereby's API alone and of what bridges send, which is the last. An error names the setting and the address.
func listen(ctx context.Context, cfg config.Config) (listeners []net.Listener, at Addresses, err error) {
	public := maxConnections
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		public = int(min(maxConnections, files.Cur/4))
	}
	for _, to := range []struct {
		setting, addr string
		at            *string
		optional      bool
		most          int
	}{
		{"USHER_LISTEN", cfg.Listen, &at.API, false, public},
		{"USHER_ADMIN_LISTEN", cfg.AdminListen, &at.Admin, false, maxAdminConnections},
		{"USHER_WHEREBY_ADDR", cfg.WherebyAddr, &at.Whereby, true, public},
		{"USHER_TRACKS_LISTEN", cfg.Tracks.Listen, &at.Tracks, true, public},
	} {
		if to.optional && to.addr == "" {
			continue
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", to.addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, Addresses{}, fmt.Errorf("%s: %w", to.setting, err)
		}
		listeners, *to.at = append(listeners, api.LimitConnections(ln, to.most)), ln.Addr().String()
	}
	return listeners, at, nil
}

// openStore opens the store that the settings name. Where they name none, it
// starts a redis-server, own, and has them name it. [closeStore] closes both,
// after an error as well.
func openStore(ctx context.Context, cfg *config.Config, log *slog.Logger, reg prometheus.Registerer) (st *store.Redis, own *child.Redis, err error) {
	if cfg.RedisURL == "" {
		if own, err = child.StartRedis(ctx, cfg.DataDir); err != nil {
			return nil, nil, fmt.Errorf("there is no USHER_REDIS_URL, and a redis-server of our own does not start in USHER_DATA_DIR (%s): %w", cfg.DataDir, err)
		}
		log.Info("started a redis-server", "data_dir", cfg.DataDir, "pid", own.PID())
		cfg.RedisURL = own.URL
	}
	st, err = store.NewRedis(store.Config{URL: cfg.RedisURL, Site: cfg.Site, Log: log, Registerer: reg})
	if err == nil && own != nil {
		if err := st.Begin(ctx); err != nil { // it then takes longer to lead
			log.Warn("cannot begin the store of our own redis-server", "err", err)
		}
	}
	return st, own, err
}

// closeStore closes what [openStore] opened; either may be nil.
func closeStore(st *store.Redis, own *child.Redis, log *slog.Logger) {
	if st != nil {
		if err := st.Close(); err != nil {
			log.Warn("closing redis", "err", err)
		}
	}
	if own != nil {
		if err := own.Stop(); err != nil {
			log.Error("redis-server did not stop", "err", err)
		}
	}
}

// keepRedis starts our redis-server again whenever it ends by itself, until ctx
// ends: changes wait meanwhile as they do for any Redis that is away.
func keepRedis(ctx context.Context, own *child.Redis, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-own.Exited():
		}
		log.Error("our redis-server ended by itself, starting it again", "log", own.Log())
		if err := own.Restart(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("our redis-server does not start again: %w", err)
		}
	}
}

// ServeHTTP serves until ctx ends, and then answers the requests under way; after
// drainTimeout it cuts off those that are left.
func ServeHTTP(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	srv := api.NewServer(h, log)
	stopped := make(chan error, 1)
	unhook := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		err := srv.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			log.Warn("requests take too long, cutting them off", "listener", ln.Addr().String(), "wait", drainTimeout)
			err = srv.Close()
		}
		stopped <- err
	})
	err := srv.Serve(ln)
	if !unhook() {
		return <-stopped
	}
	return err
}
