package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

// repeat posts with an Idempotency-Key.
func (s *site) repeat(path, key, body string) response {
	s.t.Helper()
	return s.sendWith("POST", path, body, http.Header{"Idempotency-Key": {key}})
}

func TestIdempotencyKey(t *testing.T) {
	s := newSite(t)
	first := s.repeat("/v1/meetings", "k1", `{"name_prefix":"a"}`)
	var m anyMap
	first.into(http.StatusCreated, &m)
	again := s.repeat("/v1/meetings", "k1", `{"name_prefix":"a"}`)
	if again.Code != http.StatusCreated || again.Body.String() != first.Body.String() {
		t.Errorf("repeated: %d %s, want 201 %s", again.Code, again.Body, first.Body)
	}
	for _, name := range []string{"Location", "ETag", "Content-Type"} {
		if got, want := again.Header().Get(name), first.Header().Get(name); got != want || got == "" {
			t.Errorf("repeated: %s = %q, want %q", name, got, want)
		}
	}
	if first.Header().Get("Idempotent-Replayed") != "" || again.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("Idempotent-Replayed = %q, then %q", first.Header().Get("Idempotent-Replayed"), again.Header().Get("Idempotent-Replayed"))
	}
	if p := s.repeat("/v1/meetings", "k1", `{"name_prefix":"b"}`).problem(http.StatusUnprocessableEntity); p.Code != "idempotency_key_reused" {
		t.Errorf("other body: code = %s", p.Code)
	}
	s.repeat("/v1/meetings/"+m["id"].(string)+"/end", "k1", `{"name_prefix":"a"}`).problem(http.StatusUnprocessableEntity)
	// Another credential's keys are other keys.
	r := s.sendWith("POST", "/v1/meetings", `{"name_prefix":"a"}`, http.Header{
		"Idempotency-Key": {"k1"}, "Authorization": {"Bearer another-key-of-this-site"},
	})
	if r.Code != http.StatusCreated || r.Body.String() == first.Body.String() {
		t.Errorf("another credential: %d %s, want a meeting of its own", r.Code, r.Body)
	}
	// An answer that says no is an answer.
	for range 2 {
		if res := s.repeat("/v1/meetings", "k2", `{"nonsense":1}`); res.Code != http.StatusUnprocessableEntity || !strings.Contains(res.Body.String(), `"code":"invalid"`) {
			t.Errorf("a refusal, repeated: %d %s", res.Code, res.Body)
		}
	}
	s.repeat("/v1/meetings", strings.Repeat("k", 256), `{}`).problem(http.StatusBadRequest)
	s.repeat("/v1/meetings", "k3", strings.Repeat(" ", MaxBody+1)).problem(http.StatusRequestEntityTooLarge)
	if list, _, err := s.store.List(t.Context(), meeting.Filter{}, "", 10); len(list) != 2 || err != nil {
		t.Errorf("%d meetings were made, %v, want 2", len(list), err)
	}
}

func TestIdempotencyKeyAfterFailure(t *testing.T) {
	s := newStandby(t)
	for range 2 { // tried again each time
		res := s.repeat("/v1/meetings", "k", `{}`)
		res.problem(http.StatusServiceUnavailable)
		if res.Header().Get("Idempotent-Replayed") != "" {
			t.Error("a failure was kept")
		}
	}
	s.store.Fail(meeting.ErrUnavailable)
	s.repeat("/v1/meetings", "k", `{}`).problem(http.StatusServiceUnavailable)
	s.do("POST", "/v1/meetings", `{}`).problem(http.StatusServiceUnavailable)
}

// slowLeader holds Create until it may go on.
type slowLeader struct {
	service.Leader
	begun, goOn chan struct{}
}

func (c slowLeader) Create(ctx context.Context, f meeting.Created) (meeting.Meeting, error) {
	close(c.begun)
	<-c.goOn
	return c.Leader.Create(ctx, f)
}

func TestIdempotencyKeyTwiceAtOnce(t *testing.T) {
	s := newSite(t)
	slow := slowLeader{leader{s.tracker, s}, make(chan struct{}), make(chan struct{})}
	s.serve(func(c *testConfig) { c.Leader = slow })
	done := make(chan response, 1)
	go func() { done <- s.repeat("/v1/meetings", "k", `{}`) }()
	<-slow.begun
	res := s.repeat("/v1/meetings", "k", `{}`)
	if p := res.problem(http.StatusConflict); p.Code != "in_progress" || res.Header().Get("Retry-After") == "" {
		t.Errorf("problem = %+v, Retry-After %q", p, res.Header().Get("Retry-After"))
	}
	close(slow.goOn)
	first := <-done
	if again := s.repeat("/v1/meetings", "k", `{}`); first.Code != http.StatusCreated || again.Body.String() != first.Body.String() {
		t.Errorf("answers = %s and %s, want the same", first.Body, again.Body)
	}
}

// spyAnswers sees what is stored.
type spyAnswers struct {
	wholeStore
	kept []string
}

func (s *spyAnswers) Keep(ctx context.Context, name string, value []byte, life time.Duration) error {
	s.kept = append(s.kept, name, string(value))
	return s.wholeStore.Keep(ctx, name, value, life)
}

func TestIdempotencyKeepsNothingReadable(t *testing.T) {
	s := newSite(t)
	spy := &spyAnswers{wholeStore: s.store}
	s.serve(func(c *testConfig) { c.Store = spy })
	s.repeat("/v1/meetings", "the-key", `{"room":"secret-room"}`)
	if len(spy.kept) != 2 {
		t.Fatalf("kept %q, want one answer", spy.kept)
	}
	for _, secret := range []string{"secret-room", "the-key", testKey, "mtg_"} {
		if strings.Contains(strings.Join(spy.kept, " "), secret) {
			t.Errorf("%s can be read in what is kept: %q", secret, spy.kept)
		}
	}
}

// brokenLeader has a bug the first time.
type brokenLeader struct {
	service.Leader
	creations int
}

func (c *brokenLeader) Create(ctx context.Context, f meeting.Created) (meeting.Meeting, error) {
	if c.creations++; c.creations == 1 {
		panic("a bug")
	}
	return c.Leader.Create(ctx, f)
}

func TestIdempotencyKeyAfterPanic(t *testing.T) {
	s := newSite(t)
	s.serve(func(c *testConfig) { c.Leader = &brokenLeader{Leader: c.Leader} })
	s.repeat("/v1/meetings", "k", `{}`).problem(http.StatusInternalServerError)
	if res := s.repeat("/v1/meetings", "k", `{}`); res.Code != http.StatusCreated {
		t.Errorf("tried again: %d %s, want 201", res.Code, res.Body)
	}
}
