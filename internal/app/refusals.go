package app

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
)

const (
	// refusalLogInterval is the time between two lines about the same caller, who
	// may call many times a second.
	refusalLogInterval = time.Minute
	// refusalNoted is how long /readyz speaks of it: Prosody and Jibri call when
	// somebody wants to meet or record, and no sooner.
	refusalNoted = 10 * time.Minute
)

// callers are what the site's own servers call usher with: what happens while their
// secret is another one, and what mends it.
var callers = map[api.SitePart]api.Finding{
	api.PartReservations: warn("Prosody's mod_reservations, or a stranger, calls with another token than USHER_RESERVATION_TOKEN, so no room opens",
		`set both to the same: Prosody has it in reservations_api_headers = { Authorization = "Bearer …" } (USHER_RESERVATION_TOKEN in docker-jitsi-meet), and restart Prosody`),
	api.PartJibriHook: warn("a Jibri, or a stranger, calls with another secret than USHER_JIBRI_HOOK_SECRET, so its reports of being idle are lost",
		"set JIBRI_WEBHOOK_SUBSCRIBERS=http://usher:8480/internal/jibri/SECRET to that secret, and restart Jibri"),
	api.PartHandOver: warn("a recorder's host, or a stranger, calls with another USHER_RECORDER_KEY, or at another time than usher's, so its files wait",
		"usher finalize --check on that host says which"),
	api.PartWherebyHook: warn("Whereby, or a stranger, sends a webhook that is not signed with USHER_WHEREBY_UPSTREAM_WEBHOOK_SECRET, or is too old, so apps do not hear of it",
		"set it to the secret of that webhook at Whereby"),
}

// refusals notes who calls with a wrong secret, for log, metrics and /readyz. Its
// methods are safe for concurrent use.
type refusals struct {
	log   *slog.Logger
	count *prometheus.CounterVec

	mu   sync.Mutex
	last map[api.SitePart]refusal
}

type refusal struct{ at, logged time.Time }

func newRefusals(log *slog.Logger, reg prometheus.Registerer) *refusals {
	r := &refusals{log: log, last: map[api.SitePart]refusal{}, count: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_callers_refused_total", Help: "Calls of the site's own servers that were refused for a wrong secret.",
	}, []string{"part"})}
	for part := range callers {
		r.count.WithLabelValues(string(part))
	}
	reg.MustRegister(r.count)
	return r
}

// note takes down a call that was refused.
func (r *refusals) note(part api.SitePart) {
	r.count.WithLabelValues(string(part)).Inc()
	now := time.Now()
	r.mu.Lock()
	one := r.last[part]
	one.at = now
	say := now.Sub(one.logged) >= refusalLogInterval
	if say {
		one.logged = now
	}
	r.last[part] = one
	r.mu.Unlock()
	if say {
		r.log.Warn("a call was refused: "+callers[part].Seen, "do", callers[part].Do)
	}
}

// check says whom usher has refused of late.
func (r *refusals) check() api.Check {
	return api.Check{Name: "callers", Run: func(context.Context) (f api.Finding) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, part := range slices.Sorted(maps.Keys(r.last)) {
			if time.Since(r.last[part].at) < refusalNoted {
				f = also(f, callers[part])
			}
		}
		return orElse(f, "nobody has called with a wrong secret of late")
	}}
}
