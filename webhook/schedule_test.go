package webhook

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
)

// near reports whether got is want, give or take the jitter of the waits, and a
// poll for each.
func near(got, want time.Duration, waits int) bool {
	slack := time.Duration(jitter*float64(want)) + time.Duration(waits)*flushInterval + time.Second
	return got >= want-slack && got <= want+slack
}

// TestSchedule lets one meeting's event fail for good while those of others
// succeed, so that the endpoint itself never fails: 75 hours in virtual time.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := newSite(t, func(_ *http.Request, body []byte) *http.Response {
			if strings.Contains(string(body), `"meeting_id":"mtg_bad"`) && strings.Contains(string(body), `"seq":1,`) {
				return status(http.StatusInternalServerError)
			}
			return status(http.StatusOK)
		}, seldom)
		s.put("mtg_bad", 1, 2)
		// Something succeeds between any two tries.
		pause := time.Second
		for seq := 1; time.Since(start) < 85*time.Hour; seq++ {
			if time.Since(start) > 2*time.Minute {
				pause = 10 * time.Minute
			}
			s.put("mtg_good", seq, 1)
			time.Sleep(pause)
		}
		var tries []received
		var second received
		for _, r := range s.requests() {
			switch r.id {
			case "evt_mtg_bad_000001":
				tries = append(tries, r)
			case "evt_mtg_bad_000002":
				second = r
			}
		}
		if len(tries) != len(schedule) {
			t.Fatalf("%d tries, want %d: %v", len(tries), len(schedule), times(tries))
		}
		var want time.Duration
		for i, r := range tries {
			want += schedule[i]
			if !near(r.at, want, i) {
				t.Errorf("try %d after %v, want about %v", i+1, r.at, want)
			}
			if r.body != tries[0].body {
				t.Errorf("try %d differs:\n%s\n%s", i+1, r.body, tries[0].body)
			}
		}
		if want != 75*time.Hour+35*time.Minute+5*time.Second {
			t.Errorf("schedule is %v long", want)
		}
		last := tries[len(tries)-1]
		if second.at < last.at || !strings.HasSuffix(second.body, `,"gap":true}`) {
			t.Errorf("the next event came after %v as %s, want after %v and with a gap", second.at, second.body, last.at)
		}
		dead := s.attempts(true)
		if len(dead) != 1 || dead[0].EventID != "evt_mtg_bad_000001" || dead[0].Number != 10 || dead[0].Status != 500 {
			t.Errorf("dead letters = %+v, want the event after its tenth try", dead)
		}
	})
}

func times(tries []received) (all []time.Duration) {
	for _, r := range tries {
		all = append(all, r.at)
	}
	return all
}

// TestFailingEndpoint lets the endpoint be down for half a day: it is probed with
// one request at a time, and once it is back everything arrives in order.
func TestFailingEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = 12 * time.Hour
		start := time.Now()
		s := newSite(t, func(*http.Request, []byte) *http.Response {
			if time.Since(start) < outage {
				return status(http.StatusServiceUnavailable)
			}
			return status(http.StatusOK)
		}, seldom)
		for _, mtg := range []string{"mtg_a", "mtg_b", "mtg_c"} {
			s.put(mtg, 1, 3)
		}
		time.Sleep(time.Hour)
		tries := len(s.requests())
		if want := int(time.Hour / ProbeInterval); tries < want*9/10 || tries > want+10 {
			t.Errorf("%d requests in the first hour, want about %d", tries, want)
		}
		if !strings.Contains(s.logs.String(), "webhook endpoint fails") {
			t.Errorf("log does not say that the endpoint fails:\n%s", s.logs)
		}
		time.Sleep(outage - time.Hour - time.Second)
		before := len(s.requests())
		time.Sleep(ProbeInterval + 3*time.Second)
		got := map[string][]string{}
		for _, r := range s.requests()[before:] {
			mtg, seq := r.id[4:9], r.id[10:]
			got[mtg] = append(got[mtg], seq)
		}
		for _, mtg := range []string{"mtg_a", "mtg_b", "mtg_c"} {
			if text := strings.Join(got[mtg], " "); !strings.HasSuffix(text, "000001 000002 000003") {
				t.Errorf("%s got %s after the outage, want all three in order", mtg, text)
			}
		}
		if dead := s.attempts(true); len(dead) != 0 {
			t.Errorf("dead letters = %v, want none", dead)
		}
		if log := s.logs.String(); strings.Contains(log, hiddenPart) || strings.Contains(log, "whsec_") {
			t.Errorf("log holds a secret:\n%s", log)
		}
	})
}

func TestAnswers(t *testing.T) {
	// Once another event was accepted: five tries, the first after 5 s.
	short := []time.Duration{0, 5 * time.Second, 10 * time.Second, 65 * time.Second, 305 * time.Second, 905 * time.Second}
	long := []time.Duration{0, 5 * time.Second, 20 * time.Second} // then a probe every 15 s
	tests := []struct {
		name   string
		answer *http.Response
		want   []time.Duration // of the first tries
		others bool            // events of another meeting are accepted
		dead   bool            // after them
	}{
		{"unauthorized", status(http.StatusUnauthorized), long, false, false},
		{"bad request", status(http.StatusBadRequest), short, true, true},
		{"forbidden", status(http.StatusForbidden), short, true, true},
		{"unknown", status(http.StatusNotFound), short, true, true},
		{"conflict", status(http.StatusConflict), short, true, true},
		{"too large", status(http.StatusRequestEntityTooLarge), short, true, true},
		{"unprocessable", status(http.StatusUnprocessableEntity), short, true, true},
		{"unknown, and nothing else accepted", status(http.StatusNotFound), long, false, false},
		{"request timeout", status(http.StatusRequestTimeout), long, false, false},
		{"redirected", status(http.StatusFound, "Location", "https://elsewhere.example/"), long, false, false},
		{"server error", status(http.StatusInternalServerError), long, false, false},
		{"too many", status(http.StatusTooManyRequests, "Retry-After", "120"),
			[]time.Duration{0, 120 * time.Second, 240 * time.Second}, false, false},
		{"back within the hour at most", status(http.StatusServiceUnavailable, "Retry-After", "86400"),
			[]time.Duration{0, time.Hour, 2 * time.Hour}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, func(_ *http.Request, body []byte) *http.Response {
					if strings.Contains(string(body), "mtg_other") {
						return status(http.StatusOK)
					}
					return tt.answer
				})
				s.put("mtg_a", 1, 1)
				time.Sleep(time.Second)
				if tt.others {
					s.put("mtg_other", 1, 1)
				}
				last := tt.want[len(tt.want)-1]
				time.Sleep(last*11/10 + 5*time.Second)
				tries := slices.DeleteFunc(s.requests(), func(r received) bool { return strings.Contains(r.id, "other") })
				if len(tries) < len(tt.want) {
					t.Fatalf("tries at %v, want %v", times(tries), tt.want)
				}
				for i, want := range tt.want {
					if !near(tries[i].at, want, i+1) {
						t.Errorf("tries at %v, want %v", times(tries), tt.want)
						break
					}
				}
				if dead := s.attempts(true); (len(dead) == 1) != tt.dead {
					t.Errorf("dead letters = %v, want them: %v", dead, tt.dead)
				}
				time.Sleep(time.Hour)
				if more := len(s.requests()) - len(tries) - 1; tt.dead && more > 0 {
					t.Errorf("%d more tries after the event was given up", more)
				}
			})
		})
	}
}

// TestGoneInWhereby proves that 410 is about one event in Whereby's dialect.
func TestGoneInWhereby(t *testing.T) {
	o := outcome{status: http.StatusGone}
	if got := answerOf(o, nil); got != gone {
		t.Errorf("410 to usher's own events is %d, want %d", got, gone)
	}
	for dialect, want := range map[string]answer{Jitsi: gone, EventSync: gone, Whereby: refused} {
		if got := answerOf(o, speaking(t, dialect).dialect); got != want {
			t.Errorf("410 in the dialect %s is %d, want %d", dialect, got, want)
		}
	}
}

func TestRefusedThenTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.answer = func(*http.Request, []byte) *http.Response {
			if len(s.requests()) < 4 { // the app does not know the meeting yet
				return status(http.StatusNotFound)
			}
			return status(http.StatusNoContent)
		}
		s.put("mtg_a", 1, 2)
		time.Sleep(6 * time.Minute)
		log := s.attempts(false)
		if len(log) != 5 || log[3].Result != meeting.Delivered || log[3].Number != 3 || log[4].Number != 1 {
			t.Errorf("log = %+v, want three refusals and two deliveries", log)
		}
	})
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := true
		s := newSite(t, func(*http.Request, []byte) *http.Response {
			if gone {
				return status(http.StatusGone)
			}
			return status(http.StatusOK)
		})
		s.put("mtg_a", 1, 2)
		time.Sleep(time.Hour)
		if got := len(s.requests()); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
		e, err := s.registry.Get("whk_crm")
		if err != nil || e.Disabled == nil || e.Disabled.Reason != DisabledGone {
			t.Errorf("endpoint = %+v, %v; want it disabled because it is gone", e.Disabled, err)
		}
		n := meeting.Event{Type: meeting.ParticipantJoined}
		if got := s.registry.Route(n); got != nil {
			t.Errorf("route = %v, want none", got)
		}
		gone = false
		if err := s.registry.Enable(context.Background(), "whk_crm"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := len(s.requests()); got != 3 {
			t.Errorf("%d requests after enabling, want 2 more", got)
		}
		if got := s.registry.Route(n); len(got) != 1 {
			t.Errorf("route = %v, want the endpoint", got)
		}
	})
}

func TestDisabledAfterDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(*http.Request, []byte) *http.Response { return status(http.StatusBadGateway) },
			seldom, func(t *timing) { t.probe = 10 * time.Minute })
		s.put("mtg_a", 1, 5)
		time.Sleep(DisableAfter - time.Hour)
		if e, _ := s.registry.Get("whk_crm"); e.Disabled != nil {
			t.Errorf("disabled since %v, want not yet", e.Disabled.Since)
		}
		time.Sleep(2 * time.Hour)
		if e, _ := s.registry.Get("whk_crm"); e.Disabled == nil || e.Disabled.Reason != DisabledFailing {
			t.Errorf("disabled = %+v, want for failing", e.Disabled)
		}
		tries := len(s.requests())
		time.Sleep(time.Hour)
		if got := len(s.requests()); got != tries {
			t.Errorf("%d more tries after it was disabled", got-tries)
		}
		if dead := s.attempts(true); len(dead) != 1 || dead[0].Number != len(schedule) {
			t.Errorf("dead letters = %+v, want the first event after %d tries", dead, len(schedule))
		}
		// Somebody says that it is mended, too early.
		if err := s.registry.Enable(context.Background(), "whk_crm"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if e, _ := s.registry.Get("whk_crm"); e.Disabled != nil || len(s.requests()) == tries {
			t.Errorf("disabled = %+v after %d tries more, want new tries", e.Disabled, len(s.requests())-tries)
		}
	})
}

func TestSlowEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(r *http.Request, _ []byte) *http.Response {
			<-r.Context().Done() // hangs
			return nil
		})
		for _, mtg := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
			s.put("mtg_"+mtg, 1, 1)
		}
		time.Sleep(Timeout - time.Second)
		if got := len(s.requests()); got != MaxPerEndpoint {
			t.Errorf("%d requests at the same time, want %d", got, MaxPerEndpoint)
		}
		time.Sleep(2 * time.Second)
		for _, a := range s.attempts(false) {
			if a.Error != reasonTimeout || a.DurationMS != Timeout.Milliseconds() {
				t.Errorf("attempt = %+v, want a timeout", a)
			}
		}
	})
}

// TestStop stops leading while tries are under way: those that end soon are
// waited for and acknowledged, others are cut off, and none is started.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(r *http.Request, body []byte) *http.Response {
			if strings.Contains(string(body), "mtg_slow") {
				<-r.Context().Done()
				return nil
			}
			time.Sleep(drainTime / 2)
			return status(http.StatusOK)
		})
		time.Sleep(time.Second)
		s.put("mtg_a", 1, 2)
		s.put("mtg_slow", 1, 1)
		synctest.Wait()
		begin := time.Now()
		s.stop()
		if took := time.Since(begin); took > drainTime {
			t.Errorf("it took %v to stop, want %v at most", took, drainTime)
		}
		if got := len(s.requests()); got != 2 {
			t.Errorf("%d requests, want 2", got)
		}
		lists, err := s.st.ReadQueues(context.Background(), "whk_crm", []string{"mtg_a", "mtg_slow"}, 9)
		if err != nil || len(lists[0]) != 1 || !strings.Contains(string(lists[0][0]), `"seq":2,`) || len(lists[1]) != 1 {
			t.Errorf("what waits = %s, %v; want the second event, and the one that was cut off", lists, err)
		}
	})
}
