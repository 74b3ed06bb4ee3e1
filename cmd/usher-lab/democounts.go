package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"usher/internal/localsite"
)

// playCounts plays a meeting with everything in it that is counted, and returns how
// often all that counts agreed. It fails as soon as something does not.
func playCounts(ctx context.Context, site *localsite.Site, around *outside, dir string, out io.Writer) (string, error) {
	fmt.Fprintf(out, "\nEverything that is counted in one meeting: a host, guests, breakout rooms, a phone,\n"+
		"visitors, a recorder and a live stream. After each step the API, events, Whereby's\n"+
		"webhooks, both insights and metrics have to say the same.\n\n")
	full := &localsite.FullMeeting{Site: site, Whereby: localsite.WherebyInbox{Rooms: "townhall"}}
	around.receive(countsPath, &full.Whereby)
	steps := 0
	err := full.Play(ctx, dir, around.url+countsPath, func(title, counted string, took time.Duration) {
		steps++
		fmt.Fprintf(out, "%6.0f ms  %-48s %s\n", milliseconds(took), title, counted)
	})
	return fmt.Sprintf("counted=%d", steps), err
}
