package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Limits of the connection to Redis. A healthy one on the same network answers
// in well under a millisecond.
const (
	// dialTimeout allows for one lost SYN, which is sent again after a second.
	dialTimeout = 1200 * time.Millisecond
	// callTimeout bounds each read and each write. It is long enough for the
	// fork that saves a large data set, and short enough for a hung Redis to be
	// noticed while somebody who made a request still waits.
	callTimeout = 500 * time.Millisecond
	// poolTimeout bounds the wait for a free connection: one call ahead of us.
	poolTimeout = callTimeout
	// longestCall is how long a call takes when all of these run out in turn.
	longestCall = poolTimeout + dialTimeout + 2*callTimeout
	// poolSize is the number of connections. Redis works off one command at a
	// time; these keep it busy, few are dropped when they turn out stale, and one
	// is for Follow, which waits.
	poolSize = 17
)

// Config says where the state is and whose it is.
type Config struct {
	// URL is redis://[user:password@]host:port[/database], rediss:// for TLS or
	// unix:///path. More hosts of a cluster follow as ?addr=host:port&addr=…;
	// ?master_name=… makes all of them sentinels, and &sentinel_password=… and
	// &sentinel_username=… are what these ask for.
	URL string
	// Site names the Prosody whose meetings these are; several sites may share
	// one Redis. Letters, digits, dash and underscore.
	Site string
	Log  *slog.Logger // nil discards
	// Registerer gets the metrics; nil: nobody does.
	Registerer prometheus.Registerer
}

var siteName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Redis is the durable store. Its methods are safe for concurrent use.
type Redis struct {
	rdb     redis.UniversalClient
	keys    keys
	fence   atomic.Int64 // of the last lease taken, 0 before the first
	times   leaseTimes
	metrics *metrics
	log     *slog.Logger

	epoch      atomic.Pointer[string] // the last that was whole; nil: this process has seen none
	mirror     mirror                 // while leading
	reset      atomic.Pointer[string] // how the store was last found to have lost its state; nil: never
	full       atomic.Int64           // Unix time at which it last refused something for want of memory
	unreadable unreadable
	wake       chan struct{} // has room for one: the store was seen to have lost something
}

// NewRedis returns a store that connects when it is first used.
func NewRedis(c Config) (*Redis, error) {
	opts, err := options(c.URL)
	if err != nil {
		return nil, err
	}
	if !siteName.MatchString(c.Site) {
		return nil, fmt.Errorf("store: site %q is not made of letters, digits, dash and underscore", c.Site)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Redis{
		rdb:     newClient(opts),
		keys:    keysOf(c.Site),
		times:   defaultLeaseTimes,
		metrics: newMetrics(c.Registerer),
		log:     c.Log,
		wake:    make(chan struct{}, 1),
	}, nil
}

// Close ends the connections; calls under way fail.
func (r *Redis) Close() error { return r.rdb.Close() }

// Ping reports whether Redis answers, within the timeouts of a call. Of a cluster
// it asks the node that holds the site.
func (r *Redis) Ping(ctx context.Context) (err error) {
	defer r.measure(opPing, time.Now(), &err)
	if err = r.rdb.Get(ctx, r.keys.epoch()).Err(); errors.Is(err, redis.Nil) {
		err = nil
	}
	return err
}

// options reads the URL. Its error never quotes it: it may hold a password.
func options(raw string) (*redis.UniversalOptions, error) {
	malformed := errors.New("store: not a Redis URL such as redis://user:password@host:6379/0")
	u, err := url.Parse(raw)
	if err != nil {
		return nil, malformed
	}
	query := u.Query()
	more, master := query["addr"], query.Get("master_name")
	sentinelUser, sentinelPassword := query.Get("sentinel_username"), query.Get("sentinel_password")
	if master == "" && sentinelUser+sentinelPassword != "" {
		return nil, errors.New("store: the Redis URL has a password for sentinels, and no master_name")
	}
	for _, name := range []string{"addr", "master_name", "sentinel_username", "sentinel_password"} {
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, malformed
	}
	return &redis.UniversalOptions{
		Addrs:            append([]string{o.Addr}, more...),
		MasterName:       master,
		SentinelUsername: sentinelUser,
		SentinelPassword: sentinelPassword,
		Username:         o.Username,
		Password:         o.Password,
		DB:               o.DB,
		TLSConfig:        o.TLSConfig,

		// Whoever calls tries again, with the same operation id: a client that
		// repeats what timed out by itself does some of it twice.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           dialTimeout,
		ReadTimeout:           callTimeout,
		WriteTimeout:          callTimeout,
		PoolTimeout:           poolTimeout,
		PoolSize:              poolSize,
		PipelinePoolSize:      -1, // reads are too few for connections of their own
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled, // speaks to Redis Enterprise only
		},
	}, nil
}

// discard is a logger for go-redis, which writes to stderr by itself. All it
// says also comes back as the error of a call.
type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(discard{}) }
