package sim

import (
	"encoding/xml"
	"strings"
	"time"
)

// Jicofo's rules for choosing a Jibri (BaseBrewery, JibriDetector).
const (
	selectPause  = 200 * time.Millisecond // after which the same one may be chosen again
	failurePause = time.Minute            // for which one that failed is left alone
)

// brewery is what the focus knows of its Jibris. The focus's lock guards it.
type brewery struct {
	address string // bare; empty: the site records nothing
	jibris  map[string]*instance
}

// instance is one Jibri in the brewery.
type instance struct {
	nick          string
	idle, healthy bool
	chosen        time.Time
	failed        time.Time
}

// choose returns the Jibri to ask next, or nil: healthy, idle, not just chosen,
// and of those the one whose failure is longest ago. If that one failed within
// the last minute none is chosen, as in Jicofo.
func (b *brewery) choose(now time.Time) *instance {
	var best *instance
	for _, j := range b.jibris {
		if !j.healthy || !j.idle || now.Sub(j.chosen) < selectPause {
			continue
		}
		if best == nil || j.failed.Before(best.failed) {
			best = j
		}
	}
	if best == nil || now.Sub(best.failed) < failurePause {
		return nil
	}
	best.chosen = now
	return best
}

// enterBrewery joins the brewery, where the site has one. f.mu is held.
func (f *Focus) enterBrewery() {
	if f.brewery.address == "" {
		return
	}
	ctx, cancel := f.replyPatience()
	f.effects.Go(func() {
		defer cancel()
		if err := f.rooms.As("").Send(ctx, "presence", f.brewery.address+"/"+focusNick, "", mucJoin); err != nil {
			f.cfg.Site.log().Warn("focus cannot enter the brewery", "err", err)
		}
	})
}

// onBrewery handles a presence of the brewery. f.mu is held.
func (f *Focus) onBrewery(d *xml.Decoder, start xml.StartElement) {
	var p breweryPresence
	if err := d.DecodeElement(&p, &start); err != nil {
		f.cfg.Site.log().Warn("undecodable presence", "err", err)
		return
	}
	_, nick := p.occupant()
	switch {
	case nick == "" || nick == focusNick || p.Type == "error":
	case p.Type == "unavailable":
		if f.brewery.jibris[nick] != nil {
			delete(f.brewery.jibris, nick)
			f.jibriGone(nick)
		}
	case p.Jibri != nil:
		j := f.brewery.jibris[nick]
		if j == nil {
			j = &instance{nick: nick}
			f.brewery.jibris[nick] = j
		}
		j.idle, j.healthy = p.Jibri.Busy.Status == "idle", p.Jibri.Health.Status == "healthy"
		j.failed = time.Time{} // a new presence makes good for a failure
	}
	f.changed.ring()
}

// Jibris returns how many Jibris the focus sees, and how many of them it could
// choose from.
func (f *Focus) Jibris() (all, selectable int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.brewery.jibris {
		if j.idle && j.healthy {
			selectable++
		}
	}
	return len(f.brewery.jibris), selectable
}

// isBrewery reports whether a stanza comes from the brewery.
func (f *Focus) isBrewery(start xml.StartElement) bool {
	for _, a := range start.Attr {
		if a.Name.Local == "from" {
			room, _, _ := strings.Cut(a.Value, "/")
			return f.brewery.address != "" && room == f.brewery.address
		}
	}
	return false
}
