package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/webhook"
)

// TestWebhooksCommands lets `webhooks test` send to `webhooks listen`.
func TestWebhooksCommands(t *testing.T) {
	secret := webhook.NewSecret().Key
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var shown, sent logText
	done := make(chan error, 1)
	go func() { done <- listenForHooks(ctx, ln, secret, &shown) }()
	to := "http://" + ln.Addr().String() + "/any/path"
	test := webhooksTestCommand{receiver{URL: to, Secret: secret}}
	must(t, test.send(t.Context(), &sent))
	if text := sent.String(); !regexp.MustCompile(`^webhook\.test evt_\w+ taken with 204, after \d+ ms\n$`).MatchString(text) {
		t.Errorf("test says %q", text)
	}
	test.Secret = webhook.NewSecret().Key
	if err := test.send(t.Context(), &sent); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
		t.Errorf("with another secret: %v, want refused", err)
	}
	cancel()
	must(t, <-done)
	want := regexp.MustCompile(`^[\d:.]{12}  webhook\.test {10}evt_\w+  seq 0 .*\d ms\n[\d:.]{12}  refused: .*no matching signature found\n$`)
	if !want.MatchString(shown.String()) {
		t.Errorf("listen shows %q, want %s", shown.String(), want)
	}
	if err := test.send(t.Context(), &sent); err == nil || !strings.Contains(err.Error(), "no answer: connect") {
		t.Errorf("to nobody: %v", err)
	}
	test.Secret = "whsec_h1dden"
	if err := test.send(t.Context(), &sent); err == nil || strings.Contains(err.Error(), "h1dden") {
		t.Errorf("with a secret that is none: %v, want an error that does not tell it", err)
	}
}

// TestTrigger sends an event of each type, and says what cannot be sent.
func TestTrigger(t *testing.T) {
	stacktest.Needed(t)
	secret := webhook.NewSecret().Key
	var got []string
	in, err := webhook.NewInbox(string(secret), func(body []byte, _ time.Time) {
		var e meeting.Event
		must(t, json.Unmarshal(body, &e))
		d, kind := e.Data, strings.Split(string(e.Type), ".")[0]
		if has := map[string]bool{"meeting": d.Meeting != nil, "store": d.Meeting != nil, "session": d.Session != nil, "participant": d.Participant != nil,
			"recording": d.Recording != nil, "speaker": d.Recording != nil && len(d.Speakers) > 0, "stream": d.Stream != nil}; !has[kind] || d.Occupancy == nil || e.MeetingID == "" || e.ID == "" {
			t.Errorf("%s, want what its type has", body)
		}
		got = append(got, string(e.Type))
	}, func(err error) { t.Error(err) })
	must(t, err)
	srv := httptest.NewServer(in)
	defer srv.Close()
	c := webhooksTriggerCommand{receiver: receiver{URL: srv.URL, Secret: secret}}
	var want []string
	for _, e := range meeting.EventTypes {
		c.Type, want = string(e), append(want, string(e))
		must(t, c.send(t.Context(), io.Discard, time.Now()))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the receiver got %q, want one of each type %q", got, want)
	}
	if c.Type = "recording.ready"; c.send(t.Context(), io.Discard, time.Now()) == nil {
		t.Error("a type that is none was sent")
	}
	c.Type, c.Dialect, c.Secret = "stream.started", "whereby", "a-secret-of-whereby"
	if err := c.send(t.Context(), io.Discard, time.Now()); err == nil || !strings.Contains(err.Error(), "sends no events of the type") {
		t.Errorf("an event that whereby does not have: %v, want it said", err)
	}
}

// TestForward sends a receiver what the stream has, signed with a secret that is shown,
// and goes on after one that the receiver refuses.
func TestForward(t *testing.T) {
	stacktest.Needed(t)
	stream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "" {
			w.WriteHeader(http.StatusForbidden) // the end
			return
		}
		for i, e := range []meeting.EventType{meeting.MeetingCreated, meeting.SessionStarted} {
			sample := sampleEvent(e, time.Now())
			fmt.Fprintf(w, "id: %d-0\nevent: a\ndata: %s\n\n", i+1, sample.Text())
		}
	}))
	defer stream.Close()
	var told, out logText
	var in http.Handler
	calls := 0
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		secret := regexp.MustCompile(`whsec_\S+`).FindString(told.String())
		var err error
		in, err = webhook.NewInbox(secret, func([]byte, time.Time) {}, func(err error) { t.Error(err) })
		must(t, err)
		in.ServeHTTP(w, r)
	}))
	defer to.Close()
	c := webhooksListenCommand{ForwardTo: to.URL, API: stream.URL, Key: "k"}
	if err := c.forward(t.Context(), &out, &told); !errors.Is(err, errFinal) {
		t.Errorf("ended with %v, want the refusal of the stream", err)
	}
	want := regexp.MustCompile(`^meeting\.created evt_\w+ refused: the answer was 418 I'm a teapot, after \d+ ms\nsession\.started evt_\w+ taken with 204, after \d+ ms\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("shows %q, want %s", out.String(), want)
	}
	if c.Key = ""; c.forward(t.Context(), &out, &told) == nil {
		t.Error("without a key nothing can be followed, want that said")
	}
}

// TestTailGoesOn proves that a tail goes on after the last event when the
// stream breaks, and not when it is refused.
func TestTailGoesOn(t *testing.T) {
	stacktest.Needed(t)
	calls := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Header.Get("Authorization") != "Bearer k" || r.URL.Query().Get("meeting_id") != "mtg_1" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
		switch last := r.Header.Get("Last-Event-ID"); {
		case calls == 1 && last == "":
			_, _ = io.WriteString(w, "retry: 2000\n\nid: 1-0\nevent: a\ndata: {\"n\":1}\n\nid: 2-0\nevent: a\ndata: {\"half\":")
		case calls == 2 && last == "1-0":
			_, _ = io.WriteString(w, "id: 2-0\nevent: a\ndata: {\"n\":2}\n\n: alive\nid: 3-0\n\n")
		case calls == 3 && last == "3-0":
			w.WriteHeader(http.StatusServiceUnavailable)
		case calls == 4 && last == "3-0":
			w.WriteHeader(http.StatusForbidden)
		default:
			t.Errorf("call %d goes on after %q", calls, last)
		}
	}))
	defer srv.Close()
	c := eventsTailCommand{API: srv.URL, Key: "k", Meeting: "mtg_1"}
	var told strings.Builder
	err := c.follow(ctx, &out, &told)
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("ended with %v, want the refusal", err)
	}
	if got, want := out.String(), "{\"n\":1}\n{\"n\":2}\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if got := told.String(); !strings.HasPrefix(got, "following the events of "+srv.URL) || !strings.HasSuffix(got, "to go on: --after=3-0\n") {
		t.Errorf("told %q", told.String())
	}
}

// TestTailSince begins at a time in the past, which is said once: a broken stream
// goes on where it was.
func TestTailSince(t *testing.T) {
	began := time.Now()
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked = append(asked, r.Header.Get("Last-Event-ID")); len(asked) == 1 {
			_, _ = io.WriteString(w, "id: 7-0\nevent: a\ndata: {}\n\n")
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer srv.Close()
	c := eventsTailCommand{API: srv.URL, Key: "k", Since: time.Hour}
	if err := c.follow(t.Context(), io.Discard, io.Discard); !errors.Is(err, errFinal) {
		t.Errorf("ended with %v, want the refusal", err)
	}
	if len(asked) != 2 || asked[1] != "7-0" {
		t.Fatalf("goes on after %q, want two places, the second 7-0", asked)
	}
	ms, err := strconv.ParseInt(asked[0], 10, 64)
	if ago := began.Sub(time.UnixMilli(ms)); err != nil || ago < time.Hour-time.Minute || ago > time.Hour+time.Second {
		t.Errorf("begins after %q, %v ago (%v), want an hour", asked[0], ago, err)
	}
}

// TestTail follows a running usher.
func TestTail(t *testing.T) {
	s := newScene(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, told logText
	c := eventsTailCommand{API: "http://" + s.at.api, Key: s.cfg.APIKeys[0], After: "0-0"}
	done := make(chan error, 1)
	go func() { done <- c.follow(ctx, &out, &told) }()
	for i := range 3 {
		s.create(fmt.Sprint("room", i))
	}
	for deadline := time.Now().Add(patience); strings.Count(out.String(), `"type":"meeting.created"`) < 4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("printed %s", out.String())
		}
	}
	cancel()
	must(t, <-done)
}
