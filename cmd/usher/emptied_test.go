package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/stack"
	"usher/meeting"
)

// heard is what a webhook endpoint has been told, by meeting.
type heard struct {
	mu    sync.Mutex
	types map[string][]meeting.EventType
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var n meeting.Event
	if json.Unmarshal(body, &n) != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.types[n.MeetingID] = append(h.types[n.MeetingID], n.Type)
}

// count returns how often it was told of this about the meeting.
func (h *heard) count(id string, t meeting.EventType) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, got := range h.types[id] {
		if got == t {
			n++
		}
	}
	return n
}

// asked is a request of an app, of a browser, or of Prosody.
type asked struct {
	method, url, key, body, form string
}

// status returns the status of the answer, or why there is none.
func (a asked) status() string {
	body, kind := a.body, "application/json"
	if a.form != "" {
		body, kind = a.form, "application/x-www-form-urlencoded"
	}
	r, err := http.NewRequest(a.method, a.url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json") // a join link answers with the token
	if a.key != "" {
		r.Header.Set("Authorization", "Bearer "+a.key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return fmt.Sprint(resp.StatusCode)
}

// TestRedisEmptiedUnderTwoUshers empties Redis three times, at odd moments,
// under an usher that leads and one that stands by. Nothing that was open is
// lost: nobody ever hears that a meeting, key or link does not exist, and soon
// everything works as before, with the same leader; a successor finds it all.
func TestRedisEmptiedUnderTwoUshers(t *testing.T) {
	told := &heard{types: map[string][]meeting.EventType{}}
	app := httptest.NewServer(told)
	defer app.Close()
	s := newSite(t, "--site-url="+app.URL, "--webhook-allow=127.0.0.0/8", "--api-rate=0")
	first := s.runUsher()
	s.waitReady("")
	s.create("quiet")
	quiet := s.id
	s.create("standup")
	s.enter(s.person("Ada", "u-ada"), s.person("Bob", ""))
	second := s.runUsher("--listen=" + freeAddr(t))
	s.talkTo(first)

	var link struct{ URL string }
	var key struct{ Key string }
	must(t, s.call(t.Context(), "POST", "/v1/meetings/"+quiet+"/links", map[string]any{}, &link))
	must(t, s.call(t.Context(), "POST", "/v1/api-keys", map[string]any{"name": "app", "scopes": []string{"meetings:read", "meetings:write"}}, &key))
	must(t, s.call(t.Context(), "POST", "/v1/webhooks", map[string]any{"url": app.URL + "/"}, nil))
	must(t, s.call(t.Context(), "POST", "/v1/meetings", map[string]any{"room": "later"}, nil))

	api := "http://" + first.at.api
	working := []asked{
		{method: "GET", url: api + "/v1/meetings/" + quiet, key: key.Key},
		{method: "GET", url: "http://" + second.at.api + "/v1/meetings/" + quiet, key: key.Key},
		{method: "GET", url: "http://" + second.at.api + "/v1/meetings/" + s.id, key: key.Key},
		{method: "GET", url: link.URL},
		{method: "POST", url: api + "/reservations/conference", key: stack.ReservationToken, form: url.Values{"name": {"quiet"}, "mail_owner": {"x"}}.Encode()},
	}
	rdb := s.client()
	for round := range 3 {
		time.Sleep(rand.N(5 * time.Second)) // the leader renews its lease every five
		epoch := rdb.Get(t.Context(), "usher:{main}:epoch").Val()
		must(t, rdb.FlushAll(t.Context()).Err())
		s.until("the store is written anew", func() bool {
			for _, a := range working {
				if got := a.status(); got != "200" && got != "503" {
					t.Fatalf("round %d: %s %s: %s, want 200, or 503 for a while", round, a.method, a.url, got)
				}
			}
			now := rdb.Get(t.Context(), "usher:{main}:epoch").Val()
			return now != "" && now != epoch && !strings.HasPrefix(now, "?")
		})
		s.waitReady("")
		for _, a := range working {
			s.until(a.method+" "+a.url+" is answered", func() bool { return a.status() == "200" })
		}
		s.counts(2)
		before := told.count(quiet, meeting.MeetingUpdated)
		patch := asked{method: "PATCH", url: api + "/v1/meetings/" + quiet, key: key.Key, body: `{"max_participants":9}`}
		if got := patch.status(); got != "200" {
			t.Errorf("round %d: a change is answered %s, want 200", round, got)
		}
		s.until("the endpoint is told", func() bool {
			return told.count(quiet, meeting.StoreWasReset) == round+1 && told.count(s.id, meeting.StoreWasReset) == round+1 &&
				told.count(quiet, meeting.MeetingUpdated) == before+1
		})
		taken := asked{method: "POST", url: api + "/v1/meetings", key: key.Key, body: `{"room":"quiet"}`}
		if got := taken.status(); got != "409" {
			t.Errorf("round %d: a second meeting of a room is answered %s, want 409", round, got)
		}
		if s.metric("usher_leader") != 1 {
			t.Errorf("round %d: another process leads", round)
		}
	}
	if got := s.check("store").Seen; !strings.Contains(got, "store.reset") {
		t.Errorf("/readyz says of the store %q, want that it was reset", got)
	}
	first.kill()
	s.talkTo(second)
	s.waitReady("")
	s.counts(2)
	if got := working[1].status(); got != "200" {
		t.Errorf("the successor answers %s for the quiet meeting, want 200", got)
	}
}

// TestRedisEmptiedBeforeDelivery empties Redis while an endpoint takes its time
// over the first of several events. It gets them all, in order.
func TestRedisEmptiedBeforeDelivery(t *testing.T) {
	told := &heard{types: map[string][]meeting.EventType{}}
	began, answer := make(chan struct{}, 100), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		select {
		case <-answer:
			told.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	defer app.Close()
	release := sync.OnceFunc(func() { close(answer) })
	defer release() // or Close would wait for a test that has failed
	s := newScene(t, "--webhook-allow=127.0.0.0/8", "--api-rate=0")
	must(t, s.call(t.Context(), "POST", "/v1/webhooks", map[string]any{"url": app.URL + "/"}, nil))
	for n := range 3 {
		must(t, s.call(t.Context(), "PATCH", "/v1/meetings/"+s.id, map[string]any{"max_participants": 5 + n}, nil))
	}
	<-began
	rdb := s.client()
	must(t, rdb.FlushAll(t.Context()).Err())
	waits := func() int {
		keys := rdb.Keys(t.Context(), "usher:{main}:queue:*:"+s.id).Val()
		if len(keys) == 0 {
			return 0
		}
		return int(rdb.LLen(t.Context(), keys[0]).Val())
	}
	s.until("the events are back in Redis", func() bool { return waits() == 4 })
	release()
	s.until("they are delivered", func() bool { return waits() == 0 })
	want := []meeting.EventType{meeting.MeetingUpdated, meeting.MeetingUpdated, meeting.MeetingUpdated, meeting.StoreWasReset}
	told.mu.Lock()
	defer told.mu.Unlock()
	if got := told.types[s.id]; !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
}
