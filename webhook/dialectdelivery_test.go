package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/config"
	"usher/internal/memorystore"
	"usher/meeting"
)

// TestWherebyIsSignedAnew fails an event once and lets somebody else come in
// meanwhile: the second try has the signature of its own time, and the same body
// with the count as of the event.
func TestWherebyIsSignedAnew(t *testing.T) {
	var tries []reflector
	synctest.Test(t, func(t *testing.T) {
		memory := new(memorystore.Memory)
		var up atomic.Bool
		s := newSiteOf(t, memory, memory, Endpoint{Dialect: Whereby, Secrets: []Secret{{Key: textSecret}}},
			func(r *http.Request, body []byte) *http.Response {
				tries = append(tries, reflector{string(textSecret), time.Now().Unix(), r.Header["Whereby-Signature"][0], string(body)})
				if !up.Load() {
					return status(http.StatusBadGateway)
				}
				return status(http.StatusOK)
			})
		story := newStory(t, time.Now())
		s.lay(story.m.ID, story.apply(time.Second, meeting.Seen{Occupant: jose})...) // session.started stands before it
		s.lay(story.m.ID, story.apply(time.Second, meeting.Seen{Occupant: guest})...)
		synctest.Wait()
		up.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
	})
	p := startPython(t, "testdata/reflector.py")
	var got, headers []string
	for _, r := range tries {
		got, headers = append(got, p.judge(t, r)), append(headers, r.Header)
	}
	// The first try of session.started fails, and five seconds later it passes.
	if want := []string{"200", "200", "200 1", "200 2"}; !slices.Equal(got, want) {
		t.Errorf("judged %v, want %v", got, want)
	}
	if len(headers) == 4 && (headers[0] == headers[1] || tries[0].Body != tries[1].Body) {
		t.Error("the second try has the signature of the first, or another body")
	}
}

// TestOldSecretStillVerifies changes the secret of an endpoint whose requests
// carry one signature: while its receiver knows the old one, the second try does,
// and later events go by what was accepted last.
func TestOldSecretStillVerifies(t *testing.T) {
	for _, dialect := range []string{Whereby, Jitsi} {
		t.Run(dialect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := new(memorystore.Memory)
				var known atomic.Value
				known.Store(textSecret)
				s := newSiteOf(t, memory, memory, Endpoint{Dialect: dialect, Secrets: []Secret{{Key: "the new one, long enough"}, {Key: textSecret}}},
					func(r *http.Request, body []byte) *http.Response {
						got := r.Header.Get("Whereby-Signature") + r.Header.Get("X-Jitsi-Signature")
						h := http.Header{}
						allDialects[dialect].Sign(h, []byte(known.Load().(config.Secret)), time.Now(), body)
						if got != h.Get("Whereby-Signature")+h.Get("X-Jitsi-Signature") {
							return status(http.StatusUnauthorized)
						}
						return status(http.StatusOK)
					})
				s.put("mtg_a", 1, 2)
				time.Sleep(20 * time.Second)
				known.Store(config.Secret("the new one, long enough"))
				s.put("mtg_a", 3, 2)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				var got []string
				for _, a := range s.attempts(false) {
					got = append(got, fmt.Sprint(strings.TrimPrefix(a.EventID, "evt_mtg_a_00000"), " ", a.Status))
				}
				if want := strings.Split("1 401,1 200,2 200,3 401,3 200,4 200", ","); !slices.Equal(got, want) {
					t.Errorf("tries %v, want %v", got, want)
				}
			})
		})
	}
}

// TestEncodingThatVerifies delivers to an app in JavaScript and to one in Python,
// each of which verifies what it has written again: the first name with a letter
// beyond ASCII comes twice at most, and from then on each gets what it wants. What
// has no such letter in it, before and in between, changes nothing about that.
func TestEncodingThatVerifies(t *testing.T) {
	for _, tt := range []struct {
		interpreter, program string
		secrets              []Secret
		first                int64 // odd: one without such a letter
		want                 string
	}{
		{"node", "testdata/javascript.mjs", []Secret{{Key: textSecret}}, 1, "plain 200,jose 401,jose 200,plain 200,jose 200,plain 200,jose 200"},
		{"python3", "testdata/reflector.py", []Secret{{Key: textSecret}}, 1, "plain 200,jose 200,plain 200,jose 200,plain 200,jose 200"},
		// While the secret changes.
		{"node", "testdata/javascript.mjs", []Secret{{Key: "the new one, long enough"}, {Key: textSecret}}, 1, "plain 401,plain 200,jose 401,jose 200,plain 200,jose 200,plain 200,jose 200"},
		{"node", "testdata/javascript.mjs", []Secret{{Key: "the new one, long enough"}, {Key: textSecret}}, 2, "jose 401,jose 401,jose 401,jose 200,plain 200,jose 200,plain 200,jose 200,plain 200"},
	} {
		p := startProgram(t, tt.interpreter, tt.program)
		synctest.Test(t, func(t *testing.T) {
			memory := new(memorystore.Memory)
			var tries []string
			s := newSiteOf(t, memory, memory, Endpoint{Dialect: Whereby, Secrets: tt.secrets}, func(r *http.Request, body []byte) *http.Response {
				// One line per try: the answer decides what the next one is.
				code, _, _ := strings.Cut(p.judge(t, reflector{string(textSecret), time.Now().Unix(), r.Header.Get("Whereby-Signature"), string(body)}), " ")
				name := "plain"
				if strings.Contains(string(body), "Jos") {
					name = "jose"
				}
				tries = append(tries, name+" "+code)
				n, _ := strconv.Atoi(code)
				return status(n)
			})
			for seq := tt.first; seq < tt.first+6; seq++ {
				name := "Ann"
				if seq%2 == 0 {
					name = "José 😀\u2028"
				}
				s.lay("mtg_a", namedJoin(t, seq, name))
				time.Sleep(10 * time.Second) // the next try is after five
				synctest.Wait()
			}
			if got := strings.Join(tries, ","); got != tt.want {
				t.Errorf("%s: tries\n%s, want\n%s", tt.program, got, tt.want)
			}
		})
	}
}

// namedJoin returns the text of somebody's coming.
func namedJoin(t *testing.T, seq int64, name string) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(meeting.Event{
		ID: fmt.Sprint("evt_", seq), Type: meeting.ParticipantJoined, Timestamp: meeting.Time{Time: time.Now()}, APIVersion: meeting.APIVersion,
		MeetingID: "mtg_a", Room: "a", Seq: seq, StateVersion: seq,
		Data: meeting.Data{Participant: &meeting.ParticipantInfo{Person: meeting.Person{ID: "prt_a", Kind: meeting.KindHuman, Name: name}}, Occupancy: &meeting.Occupancy{Humans: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestNothingToTell lets a list hold events of which the dialect has nothing to
// say, by type and by what they are about.
func TestNothingToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(memorystore.Memory)
		s := newSiteOf(t, memory, memory, Endpoint{Dialect: EventSync}, func(*http.Request, []byte) *http.Response { return status(http.StatusOK) })
		story := newStory(t, time.Now())
		events := story.apply(time.Second, meeting.Seen{Occupant: jose})
		events = append(events, story.apply(time.Second, meeting.Seen{Occupant: jibri})...)
		events = append(events, story.apply(time.Second, meeting.Patched{MaxParticipants: new(int)})...)
		events = append(events, story.apply(time.Second, meeting.Gone{Nick: jose.Nick, Reason: meeting.LeftKicked})...)
		s.lay(story.m.ID, events...)
		time.Sleep(time.Minute)
		synctest.Wait()
		var paths []string
		for _, r := range s.requests() {
			paths = append(paths, strings.TrimPrefix(r.path, "/"+hiddenPart))
		}
		if want := []string{"/events/room/created", "/events/occupant/joined", "/events/occupant/left"}; !slices.Equal(paths, want) {
			t.Errorf("posted to %v, want %v", paths, want)
		}
		if log := s.attempts(false); len(log) != 3 {
			t.Errorf("%d tries in the log, want the three that were made", len(log))
		}
		if n := testutil.ToFloat64(s.registry.metrics.deliveries.WithLabelValues("crm", "skipped", "none")); n != 2 {
			t.Errorf("%v events are counted as skipped, want 2", n)
		}
		if b, err := s.registry.Backlog(context.Background(), "whk_crm"); err != nil || b.Events != 0 {
			t.Errorf("backlog = %+v, %v; want nothing", b, err)
		}
		// What is committed from now on does not get that far.
		if ids := s.registry.Route(meeting.Event{Type: meeting.MeetingUpdated}); len(ids) != 0 {
			t.Errorf("meeting.updated goes to %v", ids)
		}
		if ids := s.registry.Route(meeting.Event{Type: meeting.SessionEnded}); !slices.Equal(ids, []string{"whk_crm"}) {
			t.Errorf("session.ended goes to %v", ids)
		}
	})
}

// TestDialectsOverHTTP delivers to servers, below the path and with the query of
// their URL.
func TestDialectsOverHTTP(t *testing.T) {
	type delivery struct {
		url    string
		header http.Header
		body   string
	}
	for _, tt := range []struct {
		dialect, path string
		signed        string // header
	}{
		{Standard, "/base?x=1", "Webhook-Signature"},
		{Whereby, "/base?x=1", "Whereby-Signature"},
		{Jitsi, "/base/jitsi/events?x=1", "X-Jitsi-Signature"},
		{EventSync, "/base/events/room/created?x=1", ""},
	} {
		t.Run(tt.dialect, func(t *testing.T) {
			t.Parallel()
			got := make(chan delivery, 10)
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- delivery{r.URL.String(), r.Header, string(body)}
			}))
			defer srv.Close()
			st := new(memorystore.Memory)
			logs := new(lockedBuffer)
			b, err := NewRegistry(Config{Store: st, AllowCIDRs: loopback, Dialects: allDialects, Log: logTo(logs)})
			if err != nil {
				t.Fatal(err)
			}
			e, err := b.Create(t.Context(), Endpoint{
				URL: srv.URL + "/base?x=1", Dialect: tt.dialect, Headers: map[string]config.Secret{"authorization": "Bearer " + hiddenPart},
			})
			if err != nil {
				t.Fatal(err)
			}
			d := NewDeliverer(b)
			defer lead(t, d)()
			story := newStory(t, time.Now())
			started := story.apply(time.Second, meeting.Seen{Occupant: jose})[:1]
			commit(t, d, e.ID, story.m.ID, started...)
			var x delivery
			select {
			case x = <-got:
			case <-time.After(patience):
				t.Fatal("nothing was delivered")
			}
			if x.url != tt.path || x.header.Get("Authorization") != "Bearer "+hiddenPart || x.header.Get("Content-Type") != "application/json" {
				t.Errorf("posted to %s with %v", x.url, x.header)
			}
			if tt.signed != "" && x.header.Get(tt.signed) == "" {
				t.Errorf("no %s in %v", tt.signed, x.header)
			}
			if !json.Valid([]byte(x.body)) || !strings.Contains(x.body, story.m.Room) && tt.dialect != Standard {
				t.Errorf("body = %s", x.body)
			}
			a, err := d.Test(t.Context(), e.ID)
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("test = %+v, %v; want 200", a, err)
			}
			if x = <-got; !strings.Contains(x.body, "test") || !json.Valid([]byte(x.body)) {
				t.Errorf("test posts %s", x.body)
			}
			if text := logs.String() + fmt.Sprintf("%+v %v", a, e); strings.Contains(text, hiddenPart) {
				t.Errorf("a header shows in %s", text)
			}
		})
	}
}
