// Package apitest is what the tests of package api and of those beside it have in
// common.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/tokentest"
	"usher/meeting"
	"usher/meeting/tracker"
	"usher/token"
)

// Key is an API key of the sites of tests.
const Key = "key-0123456789abcdef"

// NoRooms takes what a tracker wants of rooms, and does nothing.
type NoRooms struct{}

// Want does nothing.
func (NoRooms) Want(string, meeting.DesiredState) {}

// Resync does nothing.
func (NoRooms) Resync(string) {}

// Evict does nothing.
func (NoRooms) Evict(string, []meeting.Kick) {}

// Run runs a tracker until the test ends, and returns when it leads.
func Run(t testing.TB, tr *tracker.Tracker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- tr.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("tracker ended with %v", err)
		}
	})
}

// Observe lets the tracker see an input and waits until the store has it.
func Observe(t testing.TB, tr *tracker.Tracker, room string, f meeting.Input) {
	t.Helper()
	before, _ := tr.Room(room)
	tr.Observe(room, time.Now(), f)
	Until(t, func() bool { m, _ := tr.Room(room); return m.Version > before.Version })
}

// Until waits for something that is about to be.
func Until(t testing.TB, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to be")
		}
	}
}

// Human is somebody in a room.
func Human(nick string) meeting.Occupant {
	return meeting.Occupant{Nick: nick, JID: nick + "@meet.jitsi/x", Kind: meeting.KindHuman, Role: meeting.RoleParticipant}
}

// Send sends a request with the API key and JSON, unless the headers say
// otherwise; an empty one is not sent.
func Send(h http.Handler, method, target, body string, headers http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+Key)
	r.Header.Set("Content-Type", "application/json")
	for name, values := range headers {
		r.Header[name] = values
		if values[0] == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Into checks the status of an answer and decodes its body.
func Into(t testing.TB, r *httptest.ResponseRecorder, status int, v any) {
	t.Helper()
	if r.Code != status {
		t.Fatalf("status = %d, want %d: %s", r.Code, status, r.Body)
	}
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		t.Fatalf("decode %s: %v", r.Body, err)
	}
}

// Buffer takes the log of requests that run at the same time.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Reset empties it.
func (l *Buffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// JWTSecret is what the tokens of tests are signed with.
const JWTSecret = "a-secret-of-at-least-32-characters"

// TokenSite is what the tokens of tests have in common.
var TokenSite = token.Site{AppID: "app", Audience: "jitsi", Domain: "meet.jitsi"}

func tokenKey(t testing.TB) *token.Key {
	t.Helper()
	key, err := token.SecretKey(JWTSecret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewIssuer returns an issuer of tokens of TokenSite.
func NewIssuer(t testing.TB) *token.Issuer {
	t.Helper()
	issuer, err := token.NewIssuer(TokenSite, tokenKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// Verify returns what a token says if it opens the room at the time now.
func Verify(t testing.TB, now time.Time, text, room string) (token.Claims, error) {
	t.Helper()
	return tokentest.Verify(now, text, token.Expect{Site: TokenSite, Key: tokenKey(t), Room: room})
}
