package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
)

// eventFields is what tests look at of an event.
type eventFields struct {
	ID        string
	Type      meeting.EventType
	MeetingID string `json:"meeting_id"`
	Seq       int
}

func TestListEvents(t *testing.T) {
	s := newSite(t)
	list := func(query string) (types, next string, more bool) {
		t.Helper()
		var p struct {
			Data []eventFields
			Next string `json:"next_cursor"`
			More bool   `json:"has_more"`
		}
		s.do("GET", "/v1/events"+query, "").into(http.StatusOK, &p)
		for _, n := range p.Data {
			types += strings.TrimPrefix(string(n.Type), "meeting.") + " "
		}
		return types, p.Next, p.More
	}
	types, next, more := list("")
	if types != "" || next == "" || more {
		t.Errorf("empty log = %q, next %q, more %v, want a place to go on from", types, next, more)
	}
	a := s.create(`{"room":"a"}`)["id"].(string)
	b := s.create(`{"room":"b"}`)["id"].(string)
	s.do("POST", "/v1/meetings/"+a+"/end", "")
	for _, tt := range []struct {
		query, want string
		more        bool
	}{
		{"?after=" + next, "created created ended ", false},
		{"", "created created ended ", false},
		{"?limit=2", "created created ", true},
		{"?limit=3", "created created ended ", false},
		{"?meeting_id=" + a, "created ended ", false},
		{"?meeting_id=" + b, "created ", false},
		{"?meeting_id=" + a + "&limit=1", "created ", true},
		{"?meeting_id=none", "", false},
	} {
		if types, _, more := list(tt.query); types != tt.want || more != tt.more {
			t.Errorf("%s = %s, more %v, want %s, more %v", tt.query, types, more, tt.want, tt.more)
		}
	}
	_, next, _ = list("?limit=2")
	if types, next, _ = list("?after=" + next); types != "ended " {
		t.Errorf("after two = %q, want the third", types)
	}
	for range 150 { // more than a page of the log
		s.do("PATCH", "/v1/meetings/"+b, `{"max_duration_s":1}`).into(http.StatusOK, &anyMap{})
	}
	s.create(`{"room":"a2"}`)
	if types, _, _ := list("?after=" + next + "&meeting_id=" + a); types != "" {
		t.Errorf("events of another meeting: %s", types)
	}
	seen := 0
	for more := true; more; {
		types, next, more = list("?limit=100&after=" + next)
		seen += strings.Count(types, " ")
	}
	if seen != 151 {
		t.Errorf("walked over %d events, want 151", seen)
	}
	raw := s.do("GET", "/v1/events?limit=1", "").Body.String()
	entries, err := s.store.Events(t.Context(), "", 1)
	if err != nil || !strings.Contains(raw, string(entries[0].Event)) {
		t.Errorf("%s is not byte for byte what was committed: %s, %v", raw, entries[0].Event, err)
	}
	for _, query := range []string{"?after=x", "?after=-1", "?limit=0", "?meetingid=x"} {
		s.do("GET", "/v1/events"+query, "").problem(http.StatusUnprocessableEntity)
	}
}

// listening is a client of the stream.
type listening struct {
	t      testing.TB
	lines  chan string
	status int
	cancel context.CancelFunc
}

// follow opens the stream over a real connection.
func (s *site) follow(addr, query, lastID string) *listening {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+streamPath+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	l := &listening{t: s.t, lines: make(chan string, 10000), status: resp.StatusCode, cancel: cancel}
	go func() { // ends with the connection
		defer close(l.lines)
		defer resp.Body.Close()
		for text := bufio.NewScanner(resp.Body); text.Scan(); {
			l.lines <- text.Text()
		}
	}()
	return l
}

// next returns the next event's type and id, "" at the end of the stream.
func (l *listening) next() (typ, id string) {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-l.lines:
			switch {
			case !ok:
				return "", ""
			case strings.HasPrefix(line, "id: "):
				id = line[4:]
			case strings.HasPrefix(line, "event: "):
				typ = line[7:]
			case line == "" && typ != "":
				return typ, id
			}
		case <-deadline:
			l.t.Fatal("no event comes")
		}
	}
}

func (l *listening) expect(types ...string) (lastID string) {
	l.t.Helper()
	for _, want := range types {
		typ, id := l.next()
		if typ != want {
			l.t.Fatalf("event %s %q, want %s", id, typ, want)
		}
		lastID = id
	}
	return lastID
}

func TestStream(t *testing.T) {
	s := newSite(t)
	a := s.create(`{"room":"a"}`)["id"].(string)
	addr := s.listen(t, func(srv *http.Server) {
		// A stream outlives what bounds other requests.
		srv.ReadTimeout, srv.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	})
	now := s.follow(addr, "", "")
	one := s.follow(addr, "?meeting_id="+a, "")
	all := s.follow(addr, "?after=0-0", "")
	time.Sleep(200 * time.Millisecond)
	b := s.create(`{"room":"b"}`)["id"].(string)
	s.do("POST", "/v1/meetings/"+a+"/end", "")
	s.do("POST", "/v1/meetings/"+b+"/end", "")
	now.expect("meeting.created", "meeting.ended", "meeting.ended")
	one.expect("meeting.ended")
	last := all.expect("meeting.created", "meeting.created", "meeting.ended")
	all.cancel()
	s.create(`{"room":"c"}`)
	again := s.follow(addr, "?after=0-0", last) // the header counts
	again.expect("meeting.ended", "meeting.created")
	now.expect("meeting.created")
	s.stopFeed() // usher stops
	for _, l := range []*listening{now, one, again} {
		if typ, _ := l.next(); typ != "" {
			t.Errorf("event %s, want the end of the stream", typ)
		}
	}
	if l := s.follow(addr, "", ""); l.status != http.StatusServiceUnavailable {
		t.Errorf("stream while stopping = %d, want 503", l.status)
	}
}

func TestStreamMissesNothing(t *testing.T) {
	s := newSite(t)
	addr := s.listen(t, func(*http.Server) {})
	id := s.create(`{"room":"a"}`)["id"].(string)
	const changes = 400
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range changes {
			s.do("PATCH", "/v1/meetings/"+id, `{"max_duration_s":1}`)
		}
	}()
	// Listeners come and go in the middle of it, each where it left off.
	seen, last := 0, "0-0"
	for seen < 1+changes {
		l := s.follow(addr, "", last)
		for range 1 + seen%37 {
			if seen == 1+changes {
				break
			}
			typ, place := l.next()
			if comparePlaces(place, last) <= 0 || typ == "" {
				t.Fatalf("event %q at %s after one at %s", typ, place, last)
			}
			seen, last = seen+1, place
			if want := fmt.Sprint(seen, "-0"); place != want { // as memorystore counts
				t.Fatalf("event at %s, want %s", place, want)
			}
		}
		l.cancel()
	}
	<-done
}

// slowWriter is a connection whose client takes what it gets only when told to.
type slowWriter struct {
	*httptest.ResponseRecorder
	take chan struct{}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.take
	return w.ResponseRecorder.Write(p)
}

func TestSlowListenerIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		id := s.create(`{"room":"a"}`)["id"].(string)
		w := &slowWriter{httptest.NewRecorder(), make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest(http.MethodGet, streamPath, nil).WithContext(t.Context())
			r.Header.Set("Authorization", "Bearer "+testKey)
			s.handler.ServeHTTP(w, r)
		}()
		synctest.Wait()
		for range listenerQueue + 10 {
			s.do("PATCH", "/v1/meetings/"+id, `{"max_duration_s":1}`).into(http.StatusOK, &anyMap{})
		}
		synctest.Wait()
		close(w.take)
		<-done
		if got := strings.Count(w.Body.String(), "\nid: "); got != listenerQueue {
			t.Errorf("got %d events, want the %d that waited, in order, and the end", got, listenerQueue)
		}
	})
}

func TestStreamHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"events:read"`)
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest(http.MethodGet, streamPath+"?meeting_id=none", nil).WithContext(t.Context())
			r.Header.Set("Authorization", "Bearer "+key.Key)
			s.handler.ServeHTTP(w, r)
		}()
		time.Sleep(StreamHeartbeat + time.Second)
		s.create(`{"room":"a"}`)
		time.Sleep(StreamHeartbeat)
		synctest.Wait()
		if got, want := w.Body.String(), "retry: 2000\n\n: alive\n\n: alive\nid: 1-0\n\n"; got != want {
			t.Errorf("stream = %q, want %q", got, want)
		}
		// A revoked key follows no longer.
		s.do("DELETE", "/v1/api-keys/"+key.ID, "")
		time.Sleep(StreamHeartbeat)
		<-done
	})
}

func TestStreamWhileTheLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.store.Fail(fmt.Errorf("dial: %w", meeting.ErrUnavailable))
		s.do("GET", streamPath, "").problemCode(http.StatusServiceUnavailable, "unavailable")
		s.do("GET", "/v1/events", "").problemCode(http.StatusServiceUnavailable, "unavailable")
		s.store.Fail(errors.New("WRONGTYPE"))
		s.do("GET", "/v1/events", "").problemCode(http.StatusInternalServerError, "internal")
	})
}

func TestTooManyListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for range MaxListeners {
			if _, err := s.feed.listen(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.do("GET", streamPath, "").problemCode(http.StatusServiceUnavailable, "busy")
		s.stopFeed()
	})
}

func TestComparePlaces(t *testing.T) {
	ordered := []string{"0", "0-1", "5-0", "5-9", "5-10", "10-0", "1732330000000-0", "1732330000000-1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := comparePlaces(a, b) < 0, i < j; got != want {
				t.Errorf("%s before %s = %v, want %v", a, b, got, want)
			}
		}
	}
	if comparePlaces("5", "5-0") != 0 {
		t.Error("5 is not 5-0")
	}
}

// TestEventFilters reads stretches of the log, and some types of it.
func TestEventFilters(t *testing.T) {
	s := newEdgeSite(t)
	id := s.create(`{}`)["id"].(string)
	time.Sleep(3 * time.Millisecond) // the log counts in these
	noon := time.Now().UTC()
	s.do("PATCH", "/v1/meetings/"+id, `{"max_duration_s":60}`)
	time.Sleep(3 * time.Millisecond)
	later := time.Now().UTC()
	s.do("POST", "/v1/meetings/"+id+"/end", "")
	at := func(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
	for query, want := range map[string]string{
		"type=meeting.updated": "updated", "type=meeting.updated,meeting.ended": "updated ended", "type=meeting.*": "created updated ended",
		"type=*&limit=1": "created", "type=session.*": "",
		"from=" + at(noon): "updated ended", "to=" + at(noon): "created", "from=" + at(noon) + "&to=" + at(later): "updated",
		"from=" + strings.ToLower(at(noon)) + "&after=0-0&type=meeting.ended": "ended",
		"from=2999-01-01T00:00:00Z": "", "from=1960-01-01T00:00:00Z&limit=1": "created",
	} {
		var page struct{ Data []eventFields }
		s.do("GET", "/v1/events?meeting_id="+id+"&"+query, "").into(http.StatusOK, &page)
		var got []string
		for _, e := range page.Data {
			got = append(got, strings.TrimPrefix(string(e.Type), "meeting."))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %q, want %q", query, text, want)
		}
	}
	for _, wrong := range []string{"type=meeting.update", "type=", "type=meeting*", "from=noon", "to="} {
		p := s.do("GET", "/v1/events?"+wrong, "").problem(422)
		if name, _, _ := strings.Cut(wrong, "="); len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Parameter, name) {
			t.Errorf("%s: errors = %+v, want one that names the parameter", wrong, p.Errors)
		}
	}
}
