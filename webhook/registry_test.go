package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/internal/memorystore"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/store"
)

func newRegistry(t *testing.T, st Store, fixed ...Endpoint) *Registry {
	t.Helper()
	b, err := NewRegistry(Config{Store: st, Endpoints: fixed, AllowCIDRs: loopback})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoute(t *testing.T) {
	fixed := Endpoint{Name: "all", URL: "https://a.example/", Secrets: []Secret{NewSecret()}}
	b := newRegistry(t, new(memorystore.Memory), fixed)
	ids := map[string]string{"whk_all": "all"}
	for name, e := range map[string]Endpoint{
		"people":  {Events: []string{"participant.*"}},
		"ends":    {Events: []string{"meeting.ended", "session.ended"}},
		"mine":    {MeetingID: "mtg_1"},
		"my ends": {MeetingID: "mtg_1", Events: []string{"meeting.ended"}},
		"off":     {},
	} {
		e.URL = "https://a.example/"
		made, err := b.Create(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		ids[made.ID] = name
		if name == "off" {
			if err := b.Disable(t.Context(), made.ID, "by hand"); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		typ  meeting.EventType
		mtg  string
		want string
	}{
		{meeting.ParticipantJoined, "mtg_2", "all people"},
		{meeting.ParticipantLeft, "mtg_1", "all mine people"},
		{meeting.MeetingEnded, "mtg_2", "all ends"},
		{meeting.MeetingEnded, "mtg_1", "all ends mine my ends"},
		{meeting.MeetingCreated, "mtg_2", "all"},
		{"participants.other", "mtg_2", "all"},
	}
	for _, tt := range tests {
		var names []string
		for _, id := range b.Route(meeting.Event{Type: tt.typ, MeetingID: tt.mtg}) {
			names = append(names, ids[id])
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("route of %s in %s = %s, want %s", tt.typ, tt.mtg, got, tt.want)
		}
	}
}

// TestRegistry goes through the life of endpoints on both stores, with two
// processes.
func TestRegistry(t *testing.T) {
	url := stacktest.Redis(t).URL
	redis := func() Store {
		st, err := store.NewRedis(store.Config{URL: url, Site: "registry"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		return st
	}
	memory := new(memorystore.Memory)
	t.Run("redis", func(t *testing.T) { testRegistry(t, redis(), redis()) })
	t.Run("memory", func(t *testing.T) { testRegistry(t, memory, memory) })
}

func testRegistry(t *testing.T, one, other Store) {
	ctx := t.Context()
	fixed := Endpoint{Name: "crm", URL: "https://a.example/", Secrets: []Secret{NewSecret()}}
	a, b := newRegistry(t, one, fixed), newRegistry(t, other, fixed)
	e, err := a.Create(ctx, Endpoint{Name: "app", URL: "https://a.example/x", Events: []string{"session.*"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(e.ID, "whk_") || len(e.Secrets) != 1 || e.CreatedAt.IsZero() || e.Dialect != Standard {
		t.Errorf("created = %+v, want id, secret, time and dialect", e)
	}
	seen := func() Endpoint {
		t.Helper()
		if err := b.refresh(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := seen(); got.URL != e.URL || got.Secrets[0].Key != e.Secrets[0].Key || !slices.Equal(got.Events, e.Events) || !got.CreatedAt.Equal(e.CreatedAt) {
		t.Errorf("the other process sees %+v, want %+v", got, e)
	}
	if _, err := b.Update(ctx, e.ID, func(e *Endpoint) error { e.Name = "b"; return nil }); err != nil {
		t.Fatal(err)
	}
	// a has not seen that yet, and keeps it all the same.
	if _, err := a.Update(ctx, e.ID, func(e *Endpoint) error { e.Events = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := seen(); got.Name != "b" || !slices.Equal(got.Events, []string{"*"}) {
		t.Errorf("after two updates: %+v, want both", got)
	}
	if err := a.Disable(ctx, "whk_crm", "by hand"); err != nil {
		t.Fatal(err)
	}
	seen()
	if got, _ := b.Get("whk_crm"); got.Disabled == nil || got.Disabled.Reason != "by hand" {
		t.Errorf("disabled = %+v, want by hand", got.Disabled)
	}
	if err := a.Enable(ctx, "whk_crm"); err != nil {
		t.Fatal(err)
	}
	if got := a.List(); len(got) != 2 || got[0].ID != "whk_crm" || got[0].Disabled != nil || got[1].ID != e.ID {
		t.Errorf("list = %+v, want both, enabled", got)
	}

	var invalid *InvalidError
	for name, err := range map[string]error{
		"url":     second(a.Create(ctx, Endpoint{URL: "https://10.0.0.1/"})),
		"events":  second(a.Create(ctx, Endpoint{URL: "https://a.example/", Events: []string{"part*"}})),
		"name":    second(a.Create(ctx, Endpoint{URL: "https://a.example/", Name: strings.Repeat("x", 129)})),
		"dialect": second(a.Create(ctx, Endpoint{URL: "https://a.example/", Dialect: "klingon"})),
		"secret":  second(a.Create(ctx, Endpoint{URL: "https://a.example/", Secrets: []Secret{{Key: "hunter2"}}})),
	} {
		if !errors.As(err, &invalid) || invalid.Field != name || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error = %v, want %s refused", err, name)
		}
	}
	nothing := func(*Endpoint) error { return nil }
	for want, err := range map[error]error{
		ErrConfigured: second(a.Update(ctx, "whk_crm", nothing)),
		ErrNotFound:   second(a.Rotate(ctx, "whk_none")),
	} {
		if !errors.Is(err, want) {
			t.Errorf("error = %v, want %v", err, want)
		}
	}
	if err := a.Delete(ctx, "whk_crm"); !errors.Is(err, ErrConfigured) {
		t.Errorf("delete = %v, want ErrConfigured", err)
	}
	if err := a.Delete(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(ctx, e.ID, nothing); !errors.Is(err, ErrNotFound) {
		t.Errorf("update of what is deleted = %v, want ErrNotFound", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestConfigured(t *testing.T) {
	secret := []Secret{NewSecret()}
	for name, list := range map[string][]Endpoint{
		"no name":    {{URL: "https://a.example/", Secrets: secret}},
		"the api's":  {{Name: "api", URL: "https://a.example/", Secrets: secret}},
		"bad name":   {{Name: "A b", URL: "https://a.example/", Secrets: secret}},
		"same name":  {{Name: "a", URL: "https://a.example/", Secrets: secret}, {Name: "a", URL: "https://b.example/", Secrets: secret}},
		"no secret":  {{Name: "a", URL: "https://a.example/"}},
		"plain http": {{Name: "a", URL: "http://a.example/", Secrets: secret}},
	} {
		var invalid *InvalidError
		if _, err := NewRegistry(Config{Store: new(memorystore.Memory), Endpoints: list}); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func TestRetryAndReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := newSite(t, func(_ *http.Request, body []byte) *http.Response {
			if strings.Contains(string(body), `"seq":2,`) {
				return status(http.StatusNotFound)
			}
			return status(http.StatusOK)
		})
		s.put("mtg_a", 1, 3)
		time.Sleep(time.Second)
		s.put("mtg_b", 1, 1)
		time.Sleep(6 * time.Second)
		log := slices.DeleteFunc(s.attempts(false), func(a Attempt) bool { return a.MeetingID == "mtg_b" })
		if len(log) != 3 || log[2].EventID != "evt_mtg_a_000002" || log[2].Number != 2 {
			t.Fatalf("log = %+v, want one delivery and two refusals", log)
		}
		// What waits is tried now and is not there twice.
		if err := s.d.Retry(ctx, "whk_crm", log[2].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if log := s.attempts(false); len(log) != 5 || log[4].Number != 3 {
			t.Errorf("log = %+v, want one try more", log)
		}
		if b, _ := s.registry.Backlog(ctx, "whk_crm"); b.Events != 2 {
			t.Errorf("backlog = %+v, want two events", b)
		}
		time.Sleep(20 * time.Minute)
		dead := s.attempts(true)
		if len(dead) != 1 {
			t.Fatalf("dead letters = %+v, want the second event", dead)
		}
		s.mu.Lock()
		s.answer = func(*http.Request, []byte) *http.Response { return status(http.StatusOK) }
		s.mu.Unlock()
		if err := s.d.Retry(ctx, "whk_crm", dead[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		seen := s.requests()
		if got := seen[len(seen)-1].id; got != "evt_mtg_a_000002" {
			t.Errorf("last request is about %s, want the one that was given up", got)
		}
		if err := s.d.Retry(ctx, "whk_crm", "dlv_none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("retry of what is not in the log = %v, want ErrNotFound", err)
		}

		// Replay sends what was committed.
		m, fx, err := meeting.Apply(meeting.Meeting{}, meeting.TimedInput{At: time.Now().UTC().Truncate(time.Millisecond), Input: meeting.Created{Room: "r"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.st.Commit(ctx, meeting.Commit{Op: "op", Meeting: m, Effects: fx}); err != nil {
			t.Fatal(err)
		}
		before := len(s.requests())
		for _, tt := range []struct {
			from, to time.Time
			want     int
		}{
			{time.Now().Add(-time.Hour), time.Now(), 1},
			{time.Now().Add(-time.Hour), time.Now().Add(-time.Minute), 0},
		} {
			if n, err := s.d.Replay(ctx, "whk_crm", tt.from, tt.to); n != tt.want || err != nil {
				t.Errorf("replay = %d, %v; want %d", n, err, tt.want)
			}
		}
		time.Sleep(2 * time.Second)
		if seen := s.requests()[before:]; len(seen) != 1 || seen[0].id != fx.Events[0].ID {
			t.Errorf("replayed %v, want %s", seen, fx.Events[0].ID)
		}
	})
}

func TestUnreadableNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(*http.Request, []byte) *http.Response { return status(http.StatusOK) })
		if err := s.st.Requeue(context.Background(), "whk_crm", map[string][]json.RawMessage{"mtg_a": raw("garbage")}, false); err != nil {
			t.Fatal(err)
		}
		_ = s.d.locked(func(q *queue, _ time.Time) { q.of("whk_crm").of("mtg_a").more = true }) // as after a takeover
		s.put("mtg_a", 1, 1)
		time.Sleep(2 * time.Second)
		if seen := s.requests(); len(seen) != 1 || !strings.Contains(seen[0].body, `"gap":true`) {
			t.Errorf("requests = %v, want the next event with a gap", seen)
		}
		if dead := s.attempts(true); len(dead) != 1 || dead[0].Error != reasonEvent {
			t.Errorf("dead letters = %+v, want what was unreadable", dead)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(_ *http.Request, body []byte) *http.Response {
			if strings.Contains(string(body), "mtg_bad") {
				return status(http.StatusInternalServerError)
			}
			return status(http.StatusOK)
		})
		want := func(name string, text string) {
			t.Helper()
			if err := testutil.GatherAndCompare(s.reg, strings.NewReader(text), name); err != nil {
				t.Error(err)
			}
		}
		series := func(class, result string, crm int) string {
			return fmt.Sprintf("usher_webhook_deliveries_total{code_class=%q,endpoint=\"api\",result=%q} 0\n"+
				"usher_webhook_deliveries_total{code_class=%q,endpoint=\"crm\",result=%q} %d\n", class, result, class, result, crm)
		}
		head := "# HELP usher_webhook_deliveries_total Tries to deliver an event, by what came of them and the class of the answer's status; skipped: the endpoint's dialect has nothing to say of it.\n# TYPE usher_webhook_deliveries_total counter\n"
		zero := head
		results := map[string]string{"none": "failed", "1xx": "failed", "2xx": "delivered", "3xx": "failed", "4xx": "failed", "5xx": "failed"}
		for class, result := range results {
			zero += series(class, result, 0)
		}
		zero += series("none", "skipped", 0)
		want("usher_webhook_deliveries_total", zero)

		s.put("mtg_good", 1, 3)
		time.Sleep(time.Second)
		s.put("mtg_bad", 1, 1)
		time.Sleep(30 * time.Second)
		text := head + series("none", "skipped", 0)
		for class, result := range results {
			text += series(class, result, map[string]int{"2xx": 3, "5xx": 3}[class]) // at 0, 5 and 20 s
		}
		want("usher_webhook_deliveries_total", text)
		want("usher_webhook_backlog", `# HELP usher_webhook_backlog Events that wait for an endpoint; estimated when they are of more than a thousand meetings.
# TYPE usher_webhook_backlog gauge
usher_webhook_backlog{endpoint="api"} 0
usher_webhook_backlog{endpoint="crm"} 1
`)
		want("usher_webhook_endpoint_up", `# HELP usher_webhook_endpoint_up 0 while an endpoint fails or is disabled, else 1; for those of the API, 0 when one of them is.
# TYPE usher_webhook_endpoint_up gauge
usher_webhook_endpoint_up{endpoint="api"} 1
usher_webhook_endpoint_up{endpoint="crm"} 0
`)
		if problems, err := testutil.GatherAndLint(s.reg); err != nil || len(problems) > 0 {
			t.Errorf("lint = %v, %v", problems, err)
		}
	})
}
