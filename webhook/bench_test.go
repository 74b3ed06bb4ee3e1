package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/store"
)

// BenchmarkDeliveries measures durable deliveries: events that wait in the lists
// of 100 meetings in a real Redis, posted to a receiver in another
// process. Run it with -cpu 1 for the figure of one core.
func BenchmarkDeliveries(b *testing.B) {
	_, addr := startChild(b, receiverEnv+"=1", "GOMAXPROCS=1")
	st, err := store.NewRedis(store.Config{URL: stacktest.Redis(b).URL, Site: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	registry, err := NewRegistry(Config{
		Store: st, AllowCIDRs: loopback,
		Endpoints: []Endpoint{{Name: "bench", URL: "http://" + addr + "/hook", Secrets: []Secret{NewSecret()}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, st, "whk_bench", 100, b.N)
	ctx := context.Background()
	b.ReportAllocs()
	before := processorTime(b)
	b.ResetTimer()
	d := NewDeliverer(registry)
	defer lead(b, d)()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		backlog, err := st.Backlog(ctx, "whk_bench")
		if err != nil || time.Now().After(deadline) {
			b.Fatal("not drained", backlog, err)
		}
		if backlog.Meetings == 0 {
			break
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	// What this process alone could do with a core: Redis and the receiver have
	// others, and the machine may be busy.
	b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "deliveries/cpu-s")
}

// processorTime returns what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkFirstByte measures the time from handing an event over to its
// arrival, 200 a second to a receiver in this process.
func BenchmarkFirstByte(b *testing.B) {
	arrived := make(chan time.Time, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- time.Now() }))
	defer srv.Close()
	st, err := store.NewRedis(store.Config{URL: stacktest.Redis(b).URL, Site: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	registry, err := NewRegistry(Config{
		Store: st, AllowCIDRs: loopback,
		Endpoints: []Endpoint{{Name: "bench", URL: srv.URL, Secrets: []Secret{NewSecret()}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	d := NewDeliverer(registry)
	defer lead(b, d)()
	var took []time.Duration
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		fresh := joinedEvent("mtg_a", len(took)+1)
		start := time.Now()
		commit(b, d, "whk_bench", "mtg_a", fresh)
		took = append(took, (<-arrived).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}
