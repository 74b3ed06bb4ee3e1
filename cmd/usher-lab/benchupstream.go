package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/internal/wherebytest"
)

const (
	upstreamRuns = 3
	// upstreamRate requests a second for upstreamTime, half of them through usher.
	upstreamRate = 500
	upstreamTime = 4 * time.Second
	// upstreamDelay is how long the stand-in for Whereby takes to answer.
	upstreamDelay = 20 * time.Millisecond
)

// upstream measures how much longer it takes to make a meeting at Whereby through
// usher than at Whereby itself, of which this process has a stand-in. Both are
// asked in turn, at a fixed rate, and timed from when they were due.
func (b *bench) upstream(ctx context.Context) (samples, error) {
	whereby := wherebytest.Start("")
	defer whereby.Close()
	whereby.Delay = upstreamDelay
	r, err := b.openRig(ctx, 0, 0, nil, "USHER_WHEREBY_UPSTREAM_URL="+whereby.URL, "USHER_WHEREBY_UPSTREAM_KEY="+wherebytest.Key)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	create := func(ctx context.Context, url, key string) error {
		body := fmt.Sprintf(`{"endDate":%q,"roomNamePrefix":"visit-","fields":["hostRoomUrl"]}`, time.Now().Add(24*time.Hour).Format(time.RFC3339))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/meetings", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		return r.usher.do(req, nil)
	}
	const requests = int(upstreamRate * upstreamTime / time.Second)
	got := samples{}
	for range upstreamRuns {
		took := [2][]float64{make([]float64, requests/2), make([]float64, requests/2)}
		g, asking := errgroup.WithContext(ctx)
		begin := time.Now()
		for i := range requests {
			due := begin.Add(time.Duration(i) * time.Second / upstreamRate)
			time.Sleep(time.Until(due))
			g.Go(func() (err error) {
				if i%2 == 0 {
					err = create(asking, whereby.URL, wherebytest.Key)
				} else {
					err = create(asking, "http://"+r.usher.api+"/whereby/v1", benchKey)
				}
				took[i%2][i/2] = milliseconds(time.Since(due))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		whereby.Calls()
		for i, name := range []string{"at Whereby", "through usher"} {
			b.say("  %s: p50 %.2f, p99 %.2f, max %.2f ms", name, percentile(took[i], 50), percentile(took[i], 99), percentile(took[i], 100))
		}
		got.add("whereby_upstream_p50_more", percentile(took[1], 50)-percentile(took[0], 50))
		got.add("whereby_upstream_p99_more", percentile(took[1], 99)-percentile(took[0], 99))
	}
	return got, nil
}
