package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// foreign is an event of Whereby's, whose bytes no encoding of ours would make.
func foreign(id, room string) Forwarded {
	return Forwarded{
		ID: id, Type: "room.client.joined", As: meeting.ParticipantJoined, MeetingID: room,
		Body: []byte(`{ "id":"` + id + `", "data":{"displayName":"José <b>\u00e9", "n": 1.0e0} }`),
	}
}

// TestForward lets events of another system come while the endpoint fails, twice,
// and beside events of ours: each arrives once, in order, with its own bytes and a
// signature of the endpoint's secret.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(memorystore.Memory)
		var up atomic.Bool
		s := newSiteOf(t, memory, memory, Endpoint{Dialect: Whereby, Secrets: []Secret{{Key: textSecret}}},
			func(r *http.Request, body []byte) *http.Response {
				h := http.Header{}
				allDialects[Whereby].Sign(h, []byte(textSecret), time.Now(), body)
				switch {
				case !up.Load():
					return status(http.StatusBadGateway)
				case h.Get("Whereby-Signature") != r.Header["Whereby-Signature"][0]:
					return status(http.StatusUnauthorized)
				}
				return status(http.StatusOK)
			})
		var want []string
		for i := range 40 {
			f := foreign(fmt.Sprintf("%064d", i), "134")
			for _, fresh := range []bool{true, false} {
				if got, err := s.d.Forward(t.Context(), f); got != fresh || err != nil {
					t.Fatalf("forward %d = %v, %v, want %v", i, got, err, fresh)
				}
			}
			s.put("mtg_a", i+1, 1)
			want = append(want, string(f.Body))
			if i == 20 {
				synctest.Wait()
				up.Store(true)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		accepted := map[string]bool{}
		for _, a := range s.attempts(false) {
			if a.Result == meeting.Delivered {
				accepted[a.EventID] = true
			}
		}
		var got []string
		ours := 0
		for _, r := range s.requests() {
			switch {
			case !strings.HasPrefix(r.id, "0"):
				ours++
			case !slices.Contains(got, r.body): // tries that failed come first
				got = append(got, r.body)
			}
		}
		if !slices.Equal(got, want) || len(accepted) != 80 || ours < 40 {
			t.Errorf("%d events accepted, want 80; the other system's\n%q, want\n%q", len(accepted), got, want)
		}
		lists, _, _, err := memory.LoadQueue(t.Context(), "whk_crm")
		if err != nil || len(lists) > 0 {
			t.Errorf("left in the store: %q, %v", lists, err)
		}
	})
}

// deafStore stores an event and loses the answer.
type deafStore struct {
	*memorystore.Memory
	lost bool
}

func (s *deafStore) Forward(ctx context.Context, id, meetingID string, text json.RawMessage, endpoints []string) (bool, error) {
	fresh, err := s.Memory.Forward(ctx, id, meetingID, text, endpoints)
	if !s.lost {
		s.lost = true
		return false, meeting.ErrUnavailable
	}
	return fresh, err
}

// TestForwardWhoseAnswerIsLost delivers an event that the store has taken and could
// not say so, be it sent again or not.
func TestForwardWhoseAnswerIsLost(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory := new(memorystore.Memory)
			s := newSiteOf(t, memory, &deafStore{Memory: memory}, Endpoint{Dialect: Whereby, Secrets: []Secret{{Key: textSecret}}},
				func(*http.Request, []byte) *http.Response { return status(http.StatusOK) })
			if _, err := s.d.Forward(t.Context(), foreign("a", "134")); err == nil {
				t.Error("no error for an answer that was lost")
			}
			if again {
				if fresh, err := s.d.Forward(t.Context(), foreign("a", "134")); fresh || err != nil {
					t.Errorf("again: %v, %v, want that it is known", fresh, err)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(s.requests()); n != 1 {
				t.Errorf("sent again %v: %d deliveries, want one", again, n)
			}
		})
	}
}

// TestForwardWaitsForALeader leaves the store as it was.
func TestForwardWaitsForALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(memorystore.Memory)
		s := newSiteOf(t, memory, memory, Endpoint{Dialect: Whereby, Secrets: []Secret{{Key: textSecret}}},
			func(*http.Request, []byte) *http.Response { return status(http.StatusOK) })
		s.stop()
		if _, err := s.d.Forward(t.Context(), foreign("a", "134")); err == nil {
			t.Error("a process that does not lead takes an event")
		}
		if lists, _, _, _ := memory.LoadQueue(t.Context(), "whk_crm"); len(lists) > 0 {
			t.Errorf("it has stored %q", lists)
		}
	})
}

// TestForwardChoosesEndpoints goes by dialect, meeting and types.
func TestForwardChoosesEndpoints(t *testing.T) {
	joined, knocked := foreign("a", "134"), Forwarded{ID: "b", Type: "room.client.knocked", MeetingID: "134", Body: []byte("{}")}
	for _, tt := range []struct {
		name            string
		e               Endpoint
		joined, knocked bool
	}{
		{"all", Endpoint{Dialect: Whereby}, true, true},
		{"its type", Endpoint{Dialect: Whereby, Events: []string{"participant.*"}}, true, false},
		{"another type", Endpoint{Dialect: Whereby, Events: []string{"session.started"}}, false, false},
		{"its meeting", Endpoint{Dialect: Whereby, MeetingID: "134"}, true, true},
		{"another meeting", Endpoint{Dialect: Whereby, MeetingID: "mtg_a"}, false, false},
		{"another dialect", Endpoint{Dialect: Jitsi}, false, false},
		{"our own", Endpoint{}, false, false},
	} {
		tt.e.URL, tt.e.Secrets = "https://app.example/", []Secret{{Key: textSecret}}
		if tt.e.Dialect == "" {
			tt.e.Secrets = []Secret{NewSecret()}
		}
		if err := tt.e.prepare(new(guard), allDialects); err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{tt.e.forwards(joined), tt.e.forwards(knocked)}; got != [2]bool{tt.joined, tt.knocked} {
			t.Errorf("%s: joined and knocked %v, want %v and %v", tt.name, got, tt.joined, tt.knocked)
		}
	}
}

// TestForwardedInAnotherDialect: an endpoint whose dialect was changed while events
// waited gets none of them in a shape that it does not know.
func TestForwardedInAnotherDialect(t *testing.T) {
	for _, dialect := range []string{Standard, Jitsi} {
		synctest.Test(t, func(t *testing.T) {
			memory := new(memorystore.Memory)
			secret := NewSecret()
			if dialect != Standard {
				secret = Secret{Key: textSecret}
			}
			s := newSiteOf(t, memory, memory, Endpoint{Dialect: dialect, Secrets: []Secret{secret}},
				func(*http.Request, []byte) *http.Response { return status(http.StatusOK) })
			s.lay("134", []byte(`{"id":"a","type":"room.client.joined","timestamp":"2026-11-22T10:00:00.000Z","meeting_id":"134","seq":0,"state_version":0,"forwarded":"e30="}`))
			if _, err := memory.Forward(t.Context(), "b", "135", []byte(`{"id":"b","type":"x","timestamp":"2026-11-22T10:00:00.000Z","meeting_id":"135","seq":0,"state_version":0,"forwarded":"e30="}`), []string{"whk_crm"}); err != nil {
				t.Fatal(err)
			}
			_ = s.d.update(func(q *queue, _ time.Time) { q.appended("whk_crm", "135"); q.appended("whk_crm", "134") })
			time.Sleep(time.Second)
			synctest.Wait()
			lists, _, _, _ := memory.LoadQueue(t.Context(), "whk_crm")
			if len(s.requests()) > 0 || len(lists) > 0 {
				t.Errorf("%s: sent %v, left %q, want neither", dialect, s.requests(), lists)
			}
		})
	}
}
