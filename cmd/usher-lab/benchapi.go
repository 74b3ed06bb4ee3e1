package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	createRuns = 3
	createEach = 10_000 // meetings in a run, about two seconds

	reserveRuns = 3
	reserveRate = 200 // requests a second
	reserveFor  = 3 * time.Second
)

// createMeetings measures how fast an app can make meetings, with httpAtOnce
// requests under way all the time. The latencies are those under that load.
func (b *bench) createMeetings(ctx context.Context) (samples, error) {
	r, err := b.openRig(ctx, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	for run := range createRuns {
		took := make([]float64, createEach)
		g, making := errgroup.WithContext(ctx)
		begin := time.Now()
		for worker := range httpAtOnce {
			g.Go(func() error {
				for i := worker; i < createEach; i += httpAtOnce {
					sent := time.Now()
					if err := r.usher.create(making, fmt.Sprintf(`{"name_prefix":"visit","external_id":"visit-%d-%d"}`, run, i)); err != nil {
						return err
					}
					took[i] = milliseconds(time.Since(sent))
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		rate := createEach / time.Since(begin).Seconds()
		b.say("  %.0f/s; p50 %.1f, p90 %.1f, p99 %.1f, max %.1f ms", rate, percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100))
		got.add("create_meeting_p99", percentile(took, 99))
		got.add("create_meeting_rate", rate)
	}
	return got, nil
}

// reservations measures how long Prosody waits for usher's word when the first
// person asks for a room. Each room is asked for once, and usher enters it
// while others are asked for.
func (b *bench) reservations(ctx context.Context) (samples, error) {
	const requests = int(reserveRate * reserveFor / time.Second)
	r, err := b.openRig(ctx, reserveRuns*requests, 2, nil)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	rooms := r.server.names()
	g, making := errgroup.WithContext(ctx)
	g.SetLimit(httpAtOnce)
	for _, room := range rooms {
		g.Go(func() error { return r.usher.create(making, `{"room":"`+room+`"}`) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	got := samples{}
	for run := range reserveRuns {
		took := make([]float64, requests)
		g, asking := errgroup.WithContext(ctx)
		begin := time.Now()
		for i, room := range rooms[run*requests : (run+1)*requests] {
			due := begin.Add(time.Duration(i) * time.Second / reserveRate)
			time.Sleep(time.Until(due))
			g.Go(func() error {
				// From when it was due: a slow answer must not slow the load down.
				err := r.usher.reserve(asking, room)
				took[i] = milliseconds(time.Since(due))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		b.say("  p50 %.2f, p90 %.2f, p99 %.2f, max %.2f ms", percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100))
		got.add("reservation_p99", percentile(took, 99))
	}
	return got, nil
}
