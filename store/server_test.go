package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
	"usher/internal/stack/stacktest"
)

// server is a real redis-server for one test.
type server struct {
	*child.Redis
	t   testing.TB
	raw *redis.Client // for tests to look and to meddle
}

func startServer(t testing.TB) *server {
	t.Helper()
	s := &server{Redis: stacktest.Redis(t), t: t}
	options, err := redis.ParseURL(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.raw = redis.NewClient(options)
	t.Cleanup(func() { s.raw.Close() })
	s.writeFirst()
	return s
}

// writeFirst makes Redis write each change to its file before it answers, so that
// a kill loses nothing: with everysec a slow disk may put that off for two seconds.
func (s *server) writeFirst() { s.do("CONFIG", "SET", "appendfsync", "no") }

// start runs the server again after a Kill, and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	if err := s.Restart(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.writeFirst()
}

// do runs a command as an administrator would.
func (s *server) do(args ...any) {
	s.t.Helper()
	if err := s.raw.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatal(args, err)
	}
}

var sites atomic.Int64

// open returns a store for a site that nobody else has.
func (s *server) open() *Redis {
	s.t.Helper()
	return s.openSite(fmt.Sprintf("site%d", sites.Add(1)))
}

func (s *server) openSite(site string) *Redis {
	s.t.Helper()
	r, err := NewRedis(Config{URL: s.URL, Site: site})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	return r
}
