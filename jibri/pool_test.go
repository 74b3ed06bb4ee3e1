package jibri_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/jibri"
	"usher/meeting"
)

// door is a brewery that answers whoever enters as it is told.
type door struct {
	site
	answer  string // presences, each on a line; none: silence
	metrics *prometheus.Registry
}

func (d *door) Send(_ context.Context, _, _, typ string, _ ...any) error {
	if typ == "unavailable" {
		return nil
	}
	for line := range strings.Lines(d.answer) {
		go d.present(strings.TrimSpace(line))
	}
	return nil
}

func (d *door) IQ(context.Context, string, string, any, any) error { return nil }

const selfIn = `<presence from='` + brewery + `/usher'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>`

// newDoor runs a pool in the bubble of a test until it ends.
func newDoor(t *testing.T, answer string) *door {
	d := &door{answer: answer, metrics: prometheus.NewRegistry()}
	d.pool = jibri.NewPool(jibri.PoolConfig{Stream: d, Brewery: brewery, Metrics: d.metrics})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.pool.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	d.pool.Up()
	synctest.Wait()
	return d
}

func (d *door) statuses() string {
	var all []string
	for _, r := range d.pool.Recorders() {
		all = append(all, fmt.Sprintf("%s %s %s", r.Name, r.Status, r.Source))
	}
	return strings.Join(all, ", ")
}

func TestPoolFollowsRecorders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, selfIn)
		if ok, problem := d.pool.Watching(); !ok {
			t.Fatalf("not watching: %s", problem)
		}
		d.present(recorderPresence("b", "idle", "healthy"))
		d.present(recorderPresence("a", "busy", "healthy"))
		d.present(recorderPresence("c", "idle", "unhealthy"))
		d.present(recorderPresence("d", "expired", "healthy"))
		d.present(`<presence from='` + brewery + `/focus'/>`) // no recorder
		d.present(`<presence from='elsewhere@internal-muc.meet.jitsi/e'><jibri-status xmlns='http://jitsi.org/protocol/jibri'/></presence>`)
		d.present(`<presence from='` + brewery + `/f'><jibri-status xmlns='http://jitsi.org/protocol/jibri'/></presence>`)
		if got, want := d.statuses(), "a busy brewery, b idle brewery, c unhealthy brewery, d busy brewery, f unhealthy brewery"; got != want {
			t.Errorf("recorders %s, want %s", got, want)
		}
		d.present(`<presence from='` + brewery + `/a' type='unavailable'/>`)
		if got := d.statuses(); !strings.HasPrefix(got, "a gone brewery") {
			t.Errorf("after it left: %s", got)
		}
		time.Sleep(11 * time.Minute)
		if got := d.statuses(); !strings.HasPrefix(got, "b idle") {
			t.Errorf("long after it left: %s", got)
		}
		d.pool.Down()
		if ok, problem := d.pool.Watching(); ok || problem == "" || d.statuses() != "" {
			t.Errorf("without a stream: watching %v, problem %q, %s", ok, problem, d.statuses())
		}
	})
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, "")
		d.pool.Report("a", false, true)
		d.pool.Report("b", true, true)
		d.pool.Report("c", false, false)
		if got, want := d.statuses(), "a idle webhook, b busy webhook, c unhealthy webhook"; got != want {
			t.Errorf("recorders %s, want %s", got, want)
		}
		want := `# HELP usher_jibri_instances Recorders that usher knows of, by state.
# TYPE usher_jibri_instances gauge
usher_jibri_instances{state="busy"} 1
usher_jibri_instances{state="gone"} 0
usher_jibri_instances{state="idle"} 1
usher_jibri_instances{state="unhealthy"} 1
`
		if err := testutil.GatherAndCompare(d.metrics, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		d.pool.Report("a", false, true)
		since := d.pool.Recorders()[0].Since
		if time.Since(since) < 2*time.Minute {
			t.Errorf("idle since %v, which is when it said so again", since)
		}
		time.Sleep(time.Minute)
		if got, want := d.statuses(), "a idle webhook"; got != want {
			t.Errorf("recorders %s, want %s", got, want)
		}
	})
}

// TestReportEndsTheWait has a recorder say over HTTP that it is free where
// usher does not see the brewery.
func TestReportEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 1, true)
		s.pool.Report("jibri-0", false, true)
		s.record(t, s.live(t, "first"))
		time.Sleep(2 * time.Second)
		s.pool.Report("jibri-0", true, true)
		s.record(t, s.live(t, "second"))
		time.Sleep(time.Second)
		wantState(t, s, "second", meeting.RecordingQueued)
		s.mu.Lock()
		s.recorders["jibri-0"] = ""
		s.mu.Unlock()
		s.pool.Report("jibri-0", false, true)
		time.Sleep(1200 * time.Millisecond)
		wantState(t, s, "second", meeting.RecordingOn)
	})
}
