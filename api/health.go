package api

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// CheckTimeout is how long a check of /readyz may take; probes commonly wait
// for no more than a few seconds themselves.
const CheckTimeout = 2 * time.Second

// Check is one condition of being ready.
type Check struct {
	Name string // such as "redis"
	// Run returns details for people, and an error when the condition does
	// not hold. It must return when ctx ends.
	Run func(ctx context.Context) (detail string, err error)
}

// Admin returns the handler of the admin listener, which has no credentials
// and belongs on a private address: /metrics, /livez, /readyz, /debug/pprof/.
func Admin(metrics prometheus.Gatherer, checks ...Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	// It depends on nothing: a restart of usher heals neither Prosody nor
	// Redis, and would lose sight of every room.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready := runChecks(r.Context(), checks)
		status := http.StatusOK
		if !ready.Ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, ready)
	})
	// Without cmdline: flags can hold secrets.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol) // go tool pprof posts to it
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool     `json:"ready"`
	Checks []result `json:"checks"` // in the order they were given
}

type result struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
}

// runChecks runs all checks at the same time and waits for them.
func runChecks(ctx context.Context, checks []Check) readiness {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	results := make([]result, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			detail, err := c.Run(ctx)
			results[i] = result{Name: c.Name, OK: err == nil, Detail: detail}
			if err != nil {
				results[i].Error = err.Error()
			}
		})
	}
	running.Wait()
	failed := slices.ContainsFunc(results, func(r result) bool { return !r.OK })
	return readiness{Ready: !failed, Checks: results}
}
