package main

import (
	"context"
	"fmt"
	"time"

	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/internal/sleep"
	"usher/meeting"
)

// comingInterval is the time between two things that people of the demo do: long
// enough to look at each, short enough to wait for.
const comingInterval = 5 * time.Second

// keepComing lets simulated people come and go in a meeting of their own, one act
// after each interval, until ctx ends, so that there is something to see. It returns
// an error when they cannot.
func keepComing(ctx context.Context, site *localsite.Site, interval time.Duration) error {
	var m meeting.MeetingInfo
	if err := site.Call(ctx, "POST", "/v1/meetings", map[string]any{"name_prefix": "coffee"}, &m); err != nil {
		return ended(ctx, err)
	}
	ada, bob, cy := sim.NewPerson(site.Sim, m.Room, "Ada", ""), sim.NewPerson(site.Sim, m.Room, "Bob", ""), sim.NewPerson(site.Sim, m.Room, "Cy", "")
	defer func() {
		for _, p := range []*sim.Person{ada, bob, cy} {
			p.Drop()
		}
	}()
	acts := []func(context.Context) error{
		ada.Join,
		bob.Join,
		func(ctx context.Context) error { return ada.MuteAudio(ctx, true) },
		cy.Join,
		bob.RaiseHand,
		func(ctx context.Context) error { return ada.MuteAudio(ctx, false) },
		func(ctx context.Context) error { return cy.ShareScreen(ctx, true) },
		bob.LowerHand,
		bob.Leave,
		ada.Reload,
		cy.Leave,
		ada.Leave,
	}
	for {
		for _, act := range acts {
			if err := act(ctx); err != nil {
				return ended(ctx, fmt.Errorf("people of the demo: %w", err))
			}
			if !sleep.For(ctx, interval) {
				return nil
			}
		}
	}
}

// ended returns nil if the error comes of ctx's end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
