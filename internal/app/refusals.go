package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"usher/api"
)

// refusalNoted is how long a wrong secret is warned of after it was last seen: a
// Jibri comes every minute, Prosody with the next room.
const refusalNoted = 10 * time.Minute

// refusals are the parts of the site that came with a wrong secret. Safe for
// concurrent use.
type refusals struct {
	mu   sync.Mutex
	last map[api.SitePart]time.Time
}

func newRefusals() *refusals { return &refusals{last: map[api.SitePart]time.Time{}} }

// note takes note of one.
func (r *refusals) note(part api.SitePart) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[part] = time.Now()
}

// checks warn of what came lately.
func (r *refusals) checks() (checks []api.Check) {
	for _, c := range []struct {
		part     api.SitePart
		who, has string
		do       string
	}{
		{api.PartReservations, "Prosody", "USHER_RESERVATION_TOKEN, so it opens no room", "set the same USHER_RESERVATION_TOKEN for Prosody and usher, and restart Prosody"},
		{api.PartJibriHook, "a Jibri", "USHER_JIBRI_HOOK_SECRET, so its reports are lost", "set JIBRI_WEBHOOK_SUBSCRIBERS of the Jibris to http://USHER_LISTEN/internal/jibri/USHER_JIBRI_HOOK_SECRET"},
		{api.PartHandOver, "a recorder's host", "USHER_RECORDER_KEY, or another time, so its files wait", "usher finalize --check on that host says which"},
	} {
		checks = append(checks, api.Check{Name: string(c.part), Run: func(context.Context) api.Finding {
			r.mu.Lock()
			last := r.last[c.part]
			r.mu.Unlock()
			if last.IsZero() || time.Since(last) > refusalNoted {
				return ok("no wrong secret was seen")
			}
			return warn(fmt.Sprintf("%s comes with another %s; last at %s", c.who, c.has, last.UTC().Format(time.RFC3339)), c.do)
		}})
	}
	return checks
}
