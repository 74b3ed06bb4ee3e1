package muc

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"usher/meeting"
)

const (
	// probesPerSecond bounds the probes for rooms that the server did not announce;
	// each costs it about 0.1 ms.
	probesPerSecond = 50
	// coldShare is how many of so many probes go to rooms that nobody is known to be
	// about to enter, however many others wait.
	coldShare = 5
	// warmInterval is the time between two probes for a room that people are about
	// to enter, coldInterval for any other; more where probesPerSecond does not suffice.
	warmInterval = time.Second
	coldInterval = 10 * time.Second
	// warmFor is how long people are about to enter a room that they were handed a
	// token for or have left; freshFor is the same for one whose meeting is new.
	// It is shorter, so that thousands made at once delay nobody who was invited.
	warmFor  = meeting.PendingJoin
	freshFor = time.Minute
	// notByTime is the wait for something other than time.
	notByTime = time.Hour
)

// probeQueue holds the rooms that wait for a probe. Rooms that people are about to
// enter come first, the one with the latest sign of it before the others. All
// others have their turn one after the other.
type probeQueue struct {
	warm    []*probeTurn // in ascending order of until
	cold    []*probeTurn
	taken   int
	limiter *rate.Limiter
	wake    chan struct{} // of length 1
}

// probeTurn is a room's place in the queue.
type probeTurn struct {
	rm    *room
	until time.Time // how long the room is warm; zero for a cold one
}

func newProbeQueue() probeQueue {
	return probeQueue{limiter: rate.NewLimiter(probesPerSecond, probesPerSecond/coldShare), wake: make(chan struct{}, 1)}
}

// add has the room wait, at its old place unless it has become warmer.
func (q *probeQueue) add(rm *room, now time.Time) {
	turn := &probeTurn{rm: rm}
	if now.Before(rm.warmUntil) {
		turn.until = rm.warmUntil
	}
	if rm.turn != nil && !rm.turn.until.Before(turn.until) {
		return
	}
	rm.turn = turn // makes the old one invalid
	if turn.until.IsZero() {
		q.cold = append(q.cold, turn)
	} else {
		i, _ := slices.BinarySearchFunc(q.warm, turn, func(a, b *probeTurn) int { return a.until.Compare(b.until) })
		q.warm = slices.Insert(q.warm, i, turn)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next takes the room whose turn it is out of the queue; nil: none waits.
func (q *probeQueue) next(now time.Time) *room {
	for len(q.warm) > 0 && !now.Before(q.warm[0].until) {
		q.cold, q.warm = append(q.cold, q.warm[0]), q.warm[1:]
	}
	for len(q.warm)+len(q.cold) > 0 {
		var turn *probeTurn
		if n := len(q.warm) - 1; n >= 0 && (len(q.cold) == 0 || q.taken%coldShare > 0) {
			turn, q.warm = q.warm[n], q.warm[:n]
		} else {
			turn, q.cold = q.cold[0], q.cold[1:]
		}
		if turn.rm.turn == turn {
			turn.rm.turn = nil
			q.taken++
			return turn.rm
		}
	}
	return nil
}

// giveProbes has the rooms that wait for a probe looked for, probesPerSecond at
// most, until ctx ends.
func (r *Rooms) giveProbes(ctx context.Context) {
	for {
		select {
		case <-r.probes.wake:
		case <-ctx.Done():
			return
		}
		for r.probes.limiter.Wait(ctx) == nil {
			r.mu.Lock()
			rm := r.probes.next(time.Now())
			if rm != nil {
				rm.mayProbe = true
				r.schedule(rm, 0)
			}
			r.mu.Unlock()
			if rm == nil {
				break
			}
		}
	}
}
