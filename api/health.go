package api

import (
	"cmp"
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

// CheckState says how well a check went. The worst one is that of usher.
type CheckState string

// The states, from good to bad. With a warning usher works, and somebody should
// look at it.
const (
	CheckOK   CheckState = "ok"
	CheckWarn CheckState = "warn"
	CheckFail CheckState = "fail"
)

// CheckStates are the states from good to bad.
var CheckStates = []CheckState{CheckOK, CheckWarn, CheckFail}

// Finding is what a check has found.
type Finding struct {
	State CheckState `json:"state"`
	Seen  string     `json:"seen"`         // for people
	Do    string     `json:"do,omitempty"` // what mends it: the line to change or to type
}

// Check is one thing that an operator can look at.
type Check struct {
	Name string // such as "store"
	// Run must return when ctx ends.
	Run func(ctx context.Context) Finding
}

// Roles of a process among those of its site.
const (
	RoleLeader  = "leader"
	RoleStandby = "standby"
)

// Health is what there is to look at.
type Health struct {
	Role   string // [RoleLeader] or [RoleStandby]
	Mode   string // of the occupant: hidden or labelled
	Checks []Check
}

// Readiness is the body of /readyz.
type Readiness struct {
	Ready  bool       `json:"ready"` // no check fails
	State  CheckState `json:"state"` // of the worst check
	Role   string     `json:"role"`
	Mode   string     `json:"mode"`
	Checks []Result   `json:"checks"` // in the order of [Health]
}

// Result is what came of one check.
type Result struct {
	Name string `json:"name"`
	Finding
}

// Look runs all checks at the same time and waits for them, [CheckTimeout] at
// most.
func (h Health) Look(ctx context.Context) Readiness {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	r := Readiness{State: CheckOK, Role: h.Role, Mode: h.Mode, Checks: make([]Result, len(h.Checks))}
	var running sync.WaitGroup
	for i, c := range h.Checks {
		running.Go(func() { r.Checks[i] = Result{c.Name, c.Run(ctx)} })
	}
	running.Wait()
	if len(r.Checks) > 0 {
		r.State = slices.MaxFunc(r.Checks, func(a, b Result) int { return cmp.Compare(a.State.Rank(), b.State.Rank()) }).State
	}
	r.Ready = r.State != CheckFail
	return r
}

// Rank is 0 for ok, 1 for warn and 2 for fail.
func (s CheckState) Rank() int { return slices.Index(CheckStates, s) }

// Admin returns the handler of the admin listener, which has no credentials
// and belongs on a private address: /metrics, /metrics/rooms, /livez, /readyz,
// /debug/pprof/. health is called for each request of /readyz.
func Admin(metrics, rooms prometheus.Gatherer, health func() Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /metrics/rooms", promhttp.HandlerFor(rooms, promhttp.HandlerOpts{}))
	// It depends on nothing: a restart of usher heals neither Prosody nor
	// Redis, and would lose sight of every room.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready := health().Look(r.Context())
		// For a proxy that is to send apps to the leader alone: /readyz?role=leader.
		role := r.URL.Query().Get("role")
		status := http.StatusOK
		if !ready.Ready || role != "" && role != ready.Role {
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
