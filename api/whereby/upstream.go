package whereby

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/webhook"
)

const (
	// upstreamTimeout bounds a request to Whereby: apps wait for ten seconds
	// themselves, and a meeting that cannot be made there is then made here.
	upstreamTimeout = 5 * time.Second
	// maxUpstream is how many requests to Whereby may be under way: at a quarter of
	// a second each a thousand a second, more than it lets anybody make.
	maxUpstream = 256
	// maxUpstreamAnswer, in bytes, is far more than a page of any list.
	maxUpstreamAnswer = 8 << 20
	// maxUpstreamHeader bounds the header of an answer, in bytes.
	maxUpstreamHeader = 64 << 10
	// upstreamIdle is how long a connection waits for the next request.
	upstreamIdle = 50 * time.Second
)

// UpstreamConfig is what an [Upstream] needs.
type UpstreamConfig struct {
	URL, Key string // of Whereby's API, such as https://api.whereby.dev/v1
	// WebhookSecret is what Whereby signs its webhooks with; empty: none are taken.
	WebhookSecret string
	// Share is the percentage of meetings that are made here, of those whose prefix
	// begins with one of Prefixes, or of all. Fallback is one of package config.
	Share    int
	Prefixes []string
	Fallback string
	// Meetings knows what was made at Whereby.
	Meetings UpstreamMeetings
	// State says how the site is placed to take a meeting, at once.
	State func(ctx context.Context) SiteState
	// Forward hands on an event of Whereby's; see [webhook.Deliverer.Forward].
	Forward func(ctx context.Context, f webhook.Forwarded) (stored bool, err error)
	// Refused is called when a webhook is not signed as Whereby does; nil: nobody
	// wants to know. It must not block.
	Refused func()
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
}

// UpstreamMeetings keeps which meetings are at Whereby; see store.Redis.
type UpstreamMeetings interface {
	PutUpstream(ctx context.Context, id, room string, end time.Time) error
	UpstreamMeeting(ctx context.Context, room string) (id string, err error)
	UpstreamOpen(ctx context.Context) (n int64, err error)
}

// Upstream is Whereby itself: usher's copy of its API makes a part of the meetings
// there, and passes on what is about them. It is for apps that move over
// gradually. Safe for concurrent use.
type Upstream struct {
	UpstreamConfig
	rules     rules
	base      *url.URL
	transport http.RoundTripper
	breaker   breaker
	room      chan struct{} // has a place for each request under way
	made      atomic.Uint64 // meetings that had to be placed
	problem   atomic.Pointer[string]
	metrics   *upstreamMetrics
}

// NewUpstream returns Whereby's API at a URL that package config has checked.
func NewUpstream(cfg UpstreamConfig) (*Upstream, error) {
	base, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil {
		return nil, errors.New("whereby-upstream-url is not a URL")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.MaxResponseHeaderBytes, t.IdleConnTimeout = maxUpstream, maxUpstreamHeader, upstreamIdle
	return &Upstream{
		UpstreamConfig: cfg, rules: rules{cfg.Share, cfg.Prefixes, cfg.Fallback},
		base: base, transport: t, room: make(chan struct{}, maxUpstream), metrics: newUpstreamMetrics(cfg.Metrics),
	}, nil
}

// Status says which meetings are made where and how many at Whereby are not over,
// and what is wrong with Whereby, if anything is.
func (u *Upstream) Status(ctx context.Context) (seen, problem string) {
	if p := u.problem.Load(); p != nil {
		problem = *p
	}
	seen = fmt.Sprintf("share made here: %d percent", u.Share)
	if n, err := u.Meetings.UpstreamOpen(ctx); err == nil {
		seen += fmt.Sprintf("; meetings at Whereby that are not over: %d", n)
	}
	if u.WebhookSecret == "" {
		seen += "; its webhooks are not taken, without whereby-upstream-webhook-secret"
	}
	return seen, problem
}

// relayed is an answer of Whereby's.
type relayed struct {
	status int
	header http.Header
	body   []byte
}

// passed are the headers of an answer that are passed on.
var passed = []string{"Content-Type", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}

// writeTo answers with it.
func (a *relayed) writeTo(w http.ResponseWriter) {
	rateHeaders(w.Header())
	for _, name := range passed {
		if value := a.header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client is gone
}

// ok reports whether Whereby has done what it was asked.
func (a *relayed) ok() bool { return a.status/100 == 2 }

// call is a request to Whereby.
type call struct {
	method, path string // below the API's URL
	query        url.Values
	contentType  string
	body         []byte
}

// Errors of ask that stand for an answer of 503: the request is worth another try,
// and nothing is said about what Whereby knows.
var (
	errDown    = unavailable("Whereby does not answer" + againLater)
	errCrowd   = unavailable("too many requests wait for Whereby" + againLater)
	errBadKey  = unavailable("Whereby refuses usher's own key: usher's operator has to set whereby-upstream-key")
	errStrange = unavailable("Whereby answers with an error, or with what makes no sense" + againLater)
)

const againLater = ", try again"

func unavailable(detail string) error { return api.NewProblem(http.StatusServiceUnavailable, detail) }

// ask makes a request and blocks for upstreamTimeout at most, or not at all while
// Whereby counts as down. What comes back is an answer of 2xx or 4xx that makes
// sense; other errors are those above.
func (u *Upstream) ask(ctx context.Context, c call) (*relayed, error) {
	select {
	case u.room <- struct{}{}:
		defer func() { <-u.room }()
	default:
		u.metrics.requests.WithLabelValues("refused").Inc()
		return nil, errCrowd
	}
	start := time.Now()
	if !u.breaker.enter(start) {
		u.metrics.requests.WithLabelValues("refused").Inc()
		return nil, errDown
	}
	a, err := u.send(ctx, c)
	o, result := answered, "ok"
	switch {
	case err != nil && ctx.Err() != nil:
		o, result = unknown, "cancelled"
	case errors.Is(err, errBadKey):
		result = "bad_key"
	case errors.Is(err, errDown): // others come at once, and of one request maybe
		o, result = failed, "failed"
	case err != nil:
		result = "failed"
	case a.status == http.StatusTooManyRequests:
		result = "limited"
	case !a.ok():
		result = "rejected"
	}
	u.metrics.requests.WithLabelValues(result).Inc()
	u.metrics.seconds.Observe(time.Since(start).Seconds())
	u.note(o, err, time.Now())
	return a, err
}

// note keeps what /readyz says of Whereby, and logs when it goes and comes.
func (u *Upstream) note(o outcome, err error, now time.Time) {
	fell, rose := u.breaker.leave(o, now)
	switch {
	case o == unknown:
		return
	case err == nil:
		if u.problem.Swap(nil) != nil || rose {
			u.Log.Info("Whereby answers again")
		}
	default:
		text := strings.TrimSuffix(err.Error(), againLater) + "; since " + now.UTC().Format(time.RFC3339)
		if was := u.problem.Swap(&text); was == nil || fell {
			u.Log.Warn("Whereby cannot be used", "err", err)
		}
	}
	u.metrics.up.Set(map[bool]float64{true: 1}[err == nil])
}

// send makes the request.
func (u *Upstream) send(ctx context.Context, c call) (*relayed, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	// Not by JoinPath: a part of the path that a client has encoded twice must not
	// become another path than the one whose scope was asked for.
	target := url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Path: u.base.Path + c.path, RawQuery: c.query.Encode()}
	r, err := http.NewRequestWithContext(ctx, c.method, target.String(), bytes.NewReader(c.body))
	if err != nil {
		return nil, errStrange
	}
	r.Header.Set("Authorization", "Bearer "+u.Key)
	r.Header.Set("User-Agent", "usher")
	r.Header.Set("Accept", "application/json")
	if c.contentType != "" {
		r.Header.Set("Content-Type", c.contentType)
	}
	// Not by http.Client, which follows redirects, and whose errors quote the URL.
	res, err := u.transport.RoundTrip(r)
	if err != nil {
		u.Log.Debug("no answer of Whereby", "err", err)
		return nil, errDown
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxUpstreamAnswer+1))
	if err != nil {
		return nil, errDown
	}
	return sensible(&relayed{res.StatusCode, res.Header, body})
}

// sensible returns an answer that an app can make something of, or an error. What
// a server in front of Whereby's says is none of Whereby's.
func sensible(a *relayed) (*relayed, error) {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	isJSON := kind == "application/json" && len(a.body) <= maxUpstreamAnswer && json.Valid(a.body)
	switch {
	case a.status >= http.StatusBadGateway, a.status == http.StatusRequestTimeout:
		return nil, errDown
	case a.status == http.StatusUnauthorized:
		return nil, errBadKey
	case a.ok() && (isJSON || len(a.body) == 0):
		return a, nil
	case a.status/100 == 4 && !isJSON:
		// Whereby documents no body for most of these.
		a.body, _ = json.Marshal(failure{Error: cmp.Or(http.StatusText(a.status), "refused")})
		a.header.Set("Content-Type", "application/json; charset=utf-8")
		return a, nil
	case a.status/100 == 4:
		return a, nil
	}
	return nil, errStrange
}
