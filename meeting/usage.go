package meeting

import (
	"slices"
	"time"
)

// Usage is what one session, or several, came to.
type Usage struct {
	// Minutes present, those begun counted whole for each person and session.
	HumanMinutes    int64 `json:"human_minutes" doc:"Minutes that humans were present, each one's rounded up"`
	RecorderMinutes int64 `json:"recorder_minutes" doc:"The same for recorders"`
	StreamerMinutes int64 `json:"streamer_minutes" doc:"The same for streamers"`
	Humans          int   `json:"humans" doc:"Different humans: users of tokens, and guests, who are others in each session"`
	Recorders       int   `json:"recorders" doc:"Recorders that came in; one that comes back counts again"`
	Streamers       int   `json:"streamers" doc:"The same for streamers"`
}

// Tally adds up sessions. A user of a token who was in several is one human.
type Tally struct {
	Usage
	users map[string]bool
}

// UsageOf adds up the people of one session, as of the given time.
func UsageOf(people []Participant, at time.Time) Usage {
	var t Tally
	t.Add(people, at)
	return t.Usage
}

// Add adds the people of a session, as of the given time.
func (u *Tally) Add(people []Participant, at time.Time) {
	if u.users == nil {
		u.users = map[string]bool{}
	}
	for i := range people {
		p := &people[i]
		minutes := int64((p.PresentFor(at) + time.Minute - 1) / time.Minute)
		switch p.Kind {
		case KindHuman:
			u.HumanMinutes += minutes
			if p.UserID == "" || !u.users[p.UserID] {
				u.Humans++
			}
			u.users[p.UserID] = true
		case KindRecorder:
			u.RecorderMinutes += minutes
			u.Recorders++
		case KindStreamer:
			u.StreamerMinutes += minutes
			u.Streamers++
		}
	}
}

// PresentFor returns how long the person was in by the given time: in all
// visits of the session, without the time between them.
func (p *Participant) PresentFor(at time.Time) time.Duration {
	if !p.Present() {
		return p.Stayed
	}
	return p.Stayed + max(0, at.Sub(p.ArrivedAt))
}

// KnownAt returns as of when usher knows the room: now, or when it lost sight.
func (m Meeting) KnownAt(now time.Time) time.Time {
	if !m.StaleSince.IsZero() {
		return m.StaleSince
	}
	return now
}

// Expected reports whether somebody who was handed a token or a link is on the
// way at the given time.
func (m Meeting) Expected(now time.Time) bool {
	return slices.ContainsFunc(m.Pending, func(p Pending) bool { return now.Before(p.Until) })
}
