package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/internal/sleep"
	"usher/meeting"
)

const (
	// MaxEndpoints is how many endpoints a site may have: each is asked about
	// each event.
	MaxEndpoints = 1000
	// refreshInterval is how soon a change by another process is seen.
	refreshInterval = 2 * time.Second
	// loadRetry is the wait between tries to read the endpoints at the start.
	loadRetry = 250 * time.Millisecond
	// putTries is how often a change is made anew because somebody else changed
	// the endpoint in between.
	putTries = 5
)

// Reasons for which endpoints are disabled: by an app, or by themselves.
const (
	DisabledRequested = "requested"
	DisabledGone      = "gone"    // it answered 410
	DisabledFailing   = "failing" // nothing but failures for DisableAfter
)

// Config is what a [Registry] needs.
type Config struct {
	Store Store
	// Endpoints come from the configuration. Name, URL and Secrets must be set;
	// names are lower case and tell them apart, and the id is whk_ and the name.
	Endpoints []Endpoint
	// AllowCIDRs are addresses that endpoints may have although they are not on
	// the public internet, and that may be reached over http.
	AllowCIDRs []netip.Prefix
	// Dialects are those that endpoints may name besides [Standard].
	Dialects   map[string]Dialect
	Log        *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: nobody gets the metrics
}

// Registry knows the endpoints. Those from the API are shared with other processes
// through the store: a change is seen at once in the process that made it and
// within seconds in others, while a [Deliverer] runs. Safe for concurrent use.
type Registry struct {
	store    Store
	guard    *guard
	log      *slog.Logger
	metrics  *metrics
	dialects map[string]Dialect
	fixed    []Endpoint // from the configuration

	refreshing sync.Mutex // held while reading the store
	snapshot   atomic.Pointer[snapshot]
	changed    chan struct{} // has room for one: there is another snapshot
}

// snapshot is what the registry knows at one time. It does not change.
type snapshot struct {
	version string
	byID    map[string]Endpoint
	all     []Endpoint // as [Registry.List] has them
	// unreadable are the ids of stored ones that were left out, in order.
	unreadable []string
}

var configuredName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// NewRegistry returns a registry that knows the endpoints of the configuration only,
// until it is loaded. Errors: [InvalidError].
func NewRegistry(c Config) (*Registry, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		store: c.Store, guard: &guard{allowed: c.AllowCIDRs}, log: c.Log,
		dialects: c.Dialects,
		changed:  make(chan struct{}, 1),
	}
	labels := []string{apiLabel}
	for _, e := range c.Endpoints {
		e.ID, e.Configured = idPrefix+e.Name, true
		if !configuredName.MatchString(e.Name) || slices.Contains(labels, e.Name) {
			return nil, &InvalidError{"name", fmt.Sprintf("%q is taken, or not made of lower case letters, digits, dash and underscore", e.Name)}
		}
		if err := e.prepare(r.guard, r.dialects); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		labels = append(labels, e.Name)
		r.fixed = append(r.fixed, e)
	}
	r.metrics = newMetrics(c.Registerer, labels)
	r.publish("", nil)
	return r, nil
}

const idPrefix = "whk_"

// Load reads the endpoints from the store, waiting for it if need be, until ctx
// ends. Commit nothing before: events would miss endpoints.
func (r *Registry) Load(ctx context.Context) error {
	for tries := 0; ; tries++ {
		err := r.refresh(ctx)
		if err == nil || !errors.Is(err, meeting.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if tries == 0 { // said once
			r.log.Warn("cannot read webhook endpoints yet", "err", err)
		}
		if !sleep.For(ctx, loadRetry) {
			return context.Cause(ctx)
		}
	}
}

// refresh reads what has changed.
func (r *Registry) refresh(ctx context.Context) error {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	known := r.snapshot.Load().version
	all, version, err := r.store.Endpoints(ctx, known)
	if err != nil || version == known {
		return err
	}
	r.publish(version, all)
	return nil
}

// publish makes the snapshot of what is stored.
func (r *Registry) publish(version string, all []meeting.StoredEndpoint) {
	s := &snapshot{version: version, byID: map[string]Endpoint{}}
	for _, e := range r.fixed {
		s.byID[e.ID] = e
	}
	for _, stored := range all {
		e, known := s.byID[stored.ID]
		if !known {
			if stored.Document == nil {
				continue
			}
			var err error
			if e, err = decode(stored, r.dialects); err != nil {
				r.log.Error("stored webhook endpoint is unreadable", "endpoint", stored.ID, "err", err)
				s.unreadable = append(s.unreadable, stored.ID)
				continue
			}
		}
		if stored.Disabled != nil {
			e.Disabled = new(Disabled)
			_ = json.Unmarshal(stored.Disabled, e.Disabled) // it is disabled, whatever the reason
		}
		s.byID[stored.ID] = e
	}
	slices.Sort(s.unreadable)
	s.all = slices.SortedFunc(maps.Values(s.byID), func(x, y Endpoint) int {
		if x.Configured != y.Configured {
			if x.Configured {
				return -1
			}
			return 1
		}
		return strings.Compare(x.ID, y.ID)
	})
	r.snapshot.Store(s)
	sleep.Wake(r.changed)
}

// Route returns the ids of the enabled endpoints that are to get an event, in
// no order. It does no I/O and is cheap enough for every commit.
func (r *Registry) Route(n meeting.Event) (ids []string) {
	all := r.snapshot.Load().all
	for i := range all {
		if e := &all[i]; e.Disabled == nil && e.Wants(n.Type, n.MeetingID) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// List returns all endpoints, those of the configuration first, then the oldest
// first.
func (r *Registry) List() []Endpoint { return slices.Clone(r.snapshot.Load().all) }

// Unreadable returns the ids of stored endpoints that get nothing because what
// is stored of them cannot be read, in order.
func (r *Registry) Unreadable() []string { return slices.Clone(r.snapshot.Load().unreadable) }

// Get returns one endpoint, or [ErrNotFound].
func (r *Registry) Get(id string) (Endpoint, error) {
	e, ok := r.snapshot.Load().byID[id]
	if !ok {
		return Endpoint{}, ErrNotFound
	}
	return e, nil
}

// Create stores a new endpoint and returns it with its id, and with a secret if
// it brought none. Errors: [InvalidError], [ErrFull], and
// [meeting.ErrUnavailable], after which it may exist all the same.
func (r *Registry) Create(ctx context.Context, e Endpoint) (Endpoint, error) {
	if len(r.snapshot.Load().byID) >= MaxEndpoints {
		return Endpoint{}, ErrFull
	}
	e.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	e.ID, e.Configured, e.Disabled = meeting.NewID(idPrefix, e.CreatedAt, meeting.NewSeed(), 0), false, nil
	if len(e.Secrets) == 0 {
		e.Secrets = []Secret{NewSecret()}
	}
	if err := e.prepare(r.guard, r.dialects); err != nil {
		return Endpoint{}, err
	}
	e.document = e.encode()
	if _, err := r.store.PutEndpoint(ctx, e.ID, nil, e.document); err != nil {
		return Endpoint{}, err
	}
	return e, r.refresh(ctx)
}

// Update changes an endpoint by applying f to it, more than once when somebody
// else changes it at the same time; id and time of creation stay. f does not see
// the headers: when it sets none, not even an empty map, they stay. Errors:
// [ErrNotFound], [ErrConfigured], [InvalidError], [meeting.ErrUnavailable], and
// what f returns.
func (r *Registry) Update(ctx context.Context, id string, f func(*Endpoint) error) (Endpoint, error) {
	for range putTries {
		if err := r.refresh(ctx); err != nil {
			return Endpoint{}, err
		}
		was, err := r.Get(id)
		if err != nil {
			return Endpoint{}, err
		}
		if was.Configured {
			return Endpoint{}, ErrConfigured
		}
		e := was
		e.Secrets, e.Events, e.Headers = slices.Clone(was.Secrets), slices.Clone(was.Events), nil
		if err := f(&e); err != nil {
			return Endpoint{}, err
		}
		kept := e.Headers == nil
		if kept {
			e.Headers = was.Headers
		}
		e.ID, e.CreatedAt, e.Configured, e.Disabled = was.ID, was.CreatedAt, false, was.Disabled
		if err := e.prepare(r.guard, r.dialects); err != nil {
			return Endpoint{}, err
		}
		if kept && len(e.Headers) > 0 && e.Origin() != was.Origin() {
			// Or whoever may change an endpoint could have them sent to himself.
			return Endpoint{}, &InvalidError{"headers", "must be given again, or taken away, together with another host"}
		}
		e.document = e.encode()
		done, err := r.store.PutEndpoint(ctx, id, was.document, e.document)
		if err != nil {
			return Endpoint{}, err
		}
		if done {
			return e, r.refresh(ctx)
		}
	}
	return Endpoint{}, fmt.Errorf("webhook: endpoint changes too fast: %w", meeting.ErrUnavailable)
}

// Rotate gives an endpoint a new secret. The one before it signs as well for
// [RotationOverlap]; older ones no longer do. Errors: those of Update.
func (r *Registry) Rotate(ctx context.Context, id string) (Endpoint, error) {
	fresh := NewSecret()
	return r.Update(ctx, id, func(e *Endpoint) error {
		now := time.Now().UTC().Truncate(time.Millisecond)
		e.Secrets = append([]Secret{fresh}, e.Secrets[:min(len(e.Secrets), 1)]...)
		for i := range e.Secrets[1:] {
			e.Secrets[1+i].ExpiresAt = now.Add(RotationOverlap)
		}
		return nil
	})
}

// Disable stops deliveries to an endpoint, of the configuration too: it gets no
// further events, and those that wait stay where they are. Errors:
// [ErrNotFound], [meeting.ErrUnavailable].
func (r *Registry) Disable(ctx context.Context, id, reason string) error {
	why, _ := json.Marshal(Disabled{reason, time.Now().UTC().Truncate(time.Millisecond)}) // always encodes
	return r.setDisabled(ctx, id, why)
}

// Enable takes Disable back; what waits is tried at once by the process that
// leads. What happened in between can be replayed. Errors: those of Disable.
func (r *Registry) Enable(ctx context.Context, id string) error { return r.setDisabled(ctx, id, nil) }

func (r *Registry) setDisabled(ctx context.Context, id string, why json.RawMessage) error {
	if _, err := r.Get(id); err != nil {
		return err
	}
	if err := r.store.DisableEndpoint(ctx, id, why); err != nil {
		return err
	}
	return r.refresh(ctx)
}

// Delete forgets an endpoint and what waits for it. Errors: [ErrNotFound],
// [ErrConfigured], [meeting.ErrUnavailable].
func (r *Registry) Delete(ctx context.Context, id string) error {
	e, err := r.Get(id)
	switch {
	case err != nil:
		return err
	case e.Configured:
		return ErrConfigured
	}
	if err := r.store.DeleteEndpoint(ctx, id); err != nil {
		return err
	}
	return r.refresh(ctx)
}
