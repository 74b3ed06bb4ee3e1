package jibri

import (
	"slices"
	"time"

	"usher/meeting"
)

const (
	// unmonitoredInterval is how often the focus is asked for a recorder while
	// all are busy and usher cannot see them. Each time costs it next to nothing.
	unmonitoredInterval = 5 * time.Second
	// unmonitoredTimeout is how long the other meetings then wait for the answer
	// to one of them. Most answers come at once, but the focus gives each recorder
	// 15 s.
	unmonitoredTimeout = 3 * time.Second
	// After the focus found all recorders busy although usher sees an idle one,
	// it is asked again after busyRetryMin, doubling up to busyRetryMax: it does
	// not choose one within 0.2 s of the last time, nor within a minute of a
	// failure.
	busyRetryMin = time.Second
	busyRetryMax = 10 * time.Second
	// settleTime is how long a recorder that was just found counts as taken unless
	// one has become busy meanwhile: its presence comes within milliseconds,
	// before the focus's answer or after it.
	settleTime = 2 * time.Second
	// stopInterval is how often the focus is asked to stop until it says off.
	stopInterval = 2 * time.Second
)

// task is what is to be done for one meeting.
type task struct {
	id        string // of the meeting
	m         meeting.Meeting
	calling   bool      // a request, or a report of its outcome, is under way
	startedAt time.Time // when the focus was asked for a recorder; zero: it is not being asked
	stopAt    time.Time // the next time it is asked to stop
}

// recording returns the recording of the task that is to be started.
func (t *task) recording() meeting.Recording {
	r, _, _ := t.m.ToStart()
	return r
}

// recorderCount is what the pool knows of the recorders.
type recorderCount struct {
	visible    bool // usher sees some; otherwise the focus has to be asked
	idle       int  // the focus would choose from
	turnedBusy int  // have become busy within settleTime
}

// situation is all that decides what is done next.
type situation struct {
	now       time.Time
	tasks     map[string]*task // by meeting
	recorders recorderCount
	// taken says of each recorder that the focus has found until when it counts
	// as taken, whatever the pool says: settleTime from then on.
	taken    []time.Time
	retryAt  time.Time               // no start before that: all were busy
	shortage meeting.RecordingReason // why the focus found no recorder; empty once it did
}

// plan is what is to be done now.
type plan struct {
	stop, start []*task // the focus is to be asked; start in this order
	wait        []*task // are to know that they wait, for this reason
	reason      meeting.RecordingReason
	next        time.Time // when to plan again if nothing happens; zero: never
}

// by sets the time of the next plan to at, if that is earlier.
func (p *plan) by(at time.Time) {
	if p.next.IsZero() || at.Before(p.next) {
		p.next = at
	}
}

// plan decides which recordings are to be stopped and started now: as many
// starts as recorders are free, in the order of [meeting.BeforeInQueue]. It
// changes nothing and reads no clock.
func (s situation) plan() (p plan) {
	var queue []*task
	starting, recent := 0, 0 // requests for a recorder under way; those that hold up others
	for _, t := range s.tasks {
		_, stop := t.m.ToStop()
		_, from, start := t.m.ToStart()
		switch {
		case t.calling && t.startedAt.IsZero():
		case t.calling:
			starting++
			if until := t.startedAt.Add(unmonitoredTimeout); s.now.Before(until) {
				recent++
				p.by(until)
			}
		case stop && s.now.Before(t.stopAt):
			p.by(t.stopAt)
		case stop:
			p.stop = append(p.stop, t)
		case start && s.now.Before(from):
			p.by(from)
		case start:
			queue = append(queue, t)
		}
	}
	slices.SortFunc(queue, func(a, b *task) int { return meeting.BeforeInQueue(a.recording(), b.recording()) })
	n := min(s.places(starting, recent), len(queue))
	p.start = queue[:n]
	s.planWaiting(&p, queue[n:])
	return p
}

// places returns how many more recorders may be asked for now.
func (s situation) places(starting, recent int) int {
	switch {
	case s.now.Before(s.retryAt):
		return 0
	case !s.recorders.visible:
		return max(1-recent, 0) // one after the other, or the order of the queue is lost
	}
	return max(s.recorders.idle-max(len(s.taken)-s.recorders.turnedBusy, 0)-starting, 0)
}

// planWaiting plans for those who get no recorder now.
func (s situation) planWaiting(p *plan, waiting []*task) {
	if len(waiting) == 0 {
		return
	}
	if s.now.Before(s.retryAt) {
		p.by(s.retryAt)
	}
	if len(s.taken) > 0 {
		p.by(s.taken[0])
	}
	p.reason = s.shortage
	if s.recorders.visible {
		p.reason = meeting.ReasonBusy
	}
	if p.reason == "" {
		return // nobody knows yet
	}
	p.wait = slices.DeleteFunc(slices.Clone(waiting), func(t *task) bool {
		r := t.recording()
		known := r.State == meeting.RecordingQueued && r.Waits == p.reason
		return known || r.State == meeting.RecordingStarting
	})
}

// retryWait returns how long no recorder is asked for after the focus found none.
func retryWait(last time.Duration, visible bool) time.Duration {
	if !visible {
		return unmonitoredInterval
	}
	return min(max(2*last, busyRetryMin), busyRetryMax)
}
