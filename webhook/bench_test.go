package webhook

import (
	"context"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/store"
)

// BenchmarkDeliveries measures durable deliveries: notices that wait in the
// lanes of 100 meetings in a real Redis, posted to a receiver in another
// process. Run it with -cpu 1 for the figure of one core.
func BenchmarkDeliveries(b *testing.B) {
	_, addr := startChild(b, receiverEnv+"=1", "GOMAXPROCS=1")
	st, err := store.NewRedis(store.Config{URL: stacktest.Redis(b).URL, Site: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	book, err := NewBook(Config{
		Store: st, AllowCIDRs: loopback,
		Endpoints: []Endpoint{{Name: "bench", URL: "http://" + addr + "/hook", Secrets: []Secret{NewSecret()}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, st, "whk_bench", 100, b.N)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	d := NewDeliverer(book)
	go func() { done <- d.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		backlog, err := st.Backlog(ctx, "whk_bench")
		if err != nil || time.Now().After(deadline) {
			b.Fatal("not drained", backlog, err)
		}
		if backlog.Lanes == 0 {
			break
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	cancel()
	<-done
}
