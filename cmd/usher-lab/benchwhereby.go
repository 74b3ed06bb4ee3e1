package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/internal/stack"
)

const (
	wherebyRuns = 3
	// wherebyStored meetings are there before anything is measured.
	wherebyStored = 10_000
	// wherebyRate requests a second, half of each kind, for wherebyTime.
	wherebyRate = 500
	wherebyTime = 4 * time.Second
)

// whereby measures the two requests that an app written for Whereby makes most:
// it makes a meeting, and asks for the sessions of one. They take turns at a
// fixed rate, and are timed from when they were due.
func (b *bench) whereby(ctx context.Context) (samples, error) {
	// Each meeting gets two links, which need tokens.
	r, err := b.openRig(ctx, 0, 0, nil, "USHER_SITE_URL=https://meet.example.org",
		"USHER_JWT_APP_ID="+stack.JWTAppID, "USHER_JWT_SECRET="+stack.JWTAppSecret)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	create := func(ctx context.Context) (room string, err error) {
		body := fmt.Sprintf(`{"endDate":%q,"roomNamePrefix":"visit-","fields":["hostRoomUrl"]}`, time.Now().Add(24*time.Hour).Format(time.RFC3339))
		text, err := r.usher.post(ctx, "/whereby/v1/meetings", "application/json", benchKey, body)
		if err != nil {
			return "", err
		}
		var m struct{ RoomName string }
		err = json.Unmarshal(text, &m)
		return m.RoomName, err
	}
	rooms := make([]string, wherebyStored)
	g, making := errgroup.WithContext(ctx)
	for worker := range httpAtOnce {
		g.Go(func() error {
			for i := worker; i < wherebyStored; i += httpAtOnce {
				room, err := create(making)
				if err != nil {
					return err
				}
				rooms[i] = room
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	sessions := func(ctx context.Context, room string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.usher.api+"/whereby/v1/insights/room-sessions?roomName="+url.QueryEscape(room), http.NoBody)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+benchKey)
		return r.usher.do(req, nil)
	}
	const requests = int(wherebyRate * wherebyTime / time.Second)
	got := samples{}
	for run := range wherebyRuns {
		took := [2][]float64{make([]float64, requests/2), make([]float64, requests/2)}
		g, asking := errgroup.WithContext(ctx)
		begin := time.Now()
		for i := range requests {
			due := begin.Add(time.Duration(i) * time.Second / wherebyRate)
			time.Sleep(time.Until(due))
			g.Go(func() (err error) {
				if i%2 == 0 {
					_, err = create(asking)
				} else {
					err = sessions(asking, rooms[(run*requests+i*7)%wherebyStored])
				}
				took[i%2][i/2] = milliseconds(time.Since(due))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for i, name := range []string{"whereby_create_p99", "whereby_sessions_p99"} {
			b.say("  %s: p50 %.2f, p99 %.2f, max %.2f ms", name, percentile(took[i], 50), percentile(took[i], 99), percentile(took[i], 100))
			got.add(name, percentile(took[i], 99))
		}
	}
	return got, nil
}
