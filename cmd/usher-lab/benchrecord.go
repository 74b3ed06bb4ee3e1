package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	recordRuns = 3
	// recordEach requests in a run, recordRate a second.
	recordEach = 200
	recordRate = 100

	// As in the aim: so many meetings ask for so many recorders.
	queueMeetings, queueRecorders = 200, 20
	// priorities they have between them; equal ones go by who asked first, which
	// requests made at once leave open.
	priorities = 20
)

// starts notes when the focus was asked for each room.
type starts struct {
	mu    sync.Mutex
	at    map[string]time.Time
	order []string
	twice []string
}

func (s *starts) started(room string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.at[room]; again {
		s.twice = append(s.twice, room)
	}
	s.at[room] = at
	s.order = append(s.order, room)
}

func (s *starts) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order)
}

// recordRig starts an usher that follows so many rooms, with a pool of
// recorders; stop it. It returns the meetings' ids by room.
func (b *bench) recordRig(ctx context.Context, rooms, recorders int) (*rig, *starts, map[string]string, error) {
	pool := newFakePool(recorders)
	s := &starts{at: map[string]time.Time{}}
	pool.started = s.started
	r, err := b.openRig(ctx, rooms, 1, pool)
	if err != nil {
		return nil, nil, nil, err
	}
	fail := func(err error) (*rig, *starts, map[string]string, error) {
		r.stop()
		return nil, nil, nil, err
	}
	ids := map[string]string{}
	for _, room := range r.server.names() {
		text, err := r.usher.post(ctx, "/v1/meetings", "application/json", benchKey, `{"room":"`+room+`"}`)
		if err != nil {
			return fail(err)
		}
		var m struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return fail(err)
		}
		ids[room] = m.ID
		if err := r.usher.reserve(ctx, room); err != nil {
			return fail(err)
		}
	}
	if err := r.usher.inSync(ctx, rooms); err != nil {
		return fail(err)
	}
	return r, s, ids, nil
}

func (u *measuredUsher) record(ctx context.Context, meetingID string, priority int) error {
	_, err := u.post(ctx, "/v1/meetings/"+meetingID+"/recordings", "application/json", benchKey, fmt.Sprintf(`{"priority":%d}`, priority))
	return err
}

// recordingRequests measures how long usher takes from an app's request for a
// recording until it asks the focus: two commits, and the request itself.
func (b *bench) recordingRequests(ctx context.Context) (samples, error) {
	r, s, ids, err := b.recordRig(ctx, recordRuns*recordEach, recordRuns*recordEach)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	rooms := r.server.names()
	for run := range recordRuns {
		sent := map[string]time.Time{}
		begin := time.Now()
		g, asking := errgroup.WithContext(ctx)
		for i, room := range rooms[run*recordEach : (run+1)*recordEach] {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / recordRate)))
			sent[room] = time.Now()
			g.Go(func() error { return r.usher.record(asking, ids[room], 0) })
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		if err := r.usher.until(ctx, func() (bool, error) { return s.count() == (run+1)*recordEach, nil }); err != nil {
			return nil, err
		}
		var took []float64
		s.mu.Lock()
		for room, at := range sent {
			took = append(took, milliseconds(s.at[room].Sub(at)))
		}
		s.mu.Unlock()
		b.say("  p50 %.2f, p90 %.2f, p99 %.2f, max %.2f ms", percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100))
		got.add("recording_request_p50", percentile(took, 50))
		got.add("recording_request_p99", percentile(took, 99))
	}
	return got, nil
}

// recordShuffled asks at once for a recording in each of the rooms, with
// priorities in a random order, and returns their rank; 0 is first.
func (u *measuredUsher) recordShuffled(ctx context.Context, rooms []string, ids map[string]string) (map[string]int, error) {
	rank := map[string]int{}
	for place, i := range rand.Perm(len(rooms)) {
		rank[rooms[i]] = place
	}
	g, asking := errgroup.WithContext(ctx)
	for _, room := range rooms {
		g.Go(func() error {
			return u.record(asking, ids[room], priorities-rank[room]/(len(rooms)/priorities))
		})
	}
	return rank, g.Wait()
}

// recordingQueue lets queueMeetings ask at once for queueRecorders that are
// taken, in an order of twenty priorities, and measures how long they take to be
// recorded once the recorders are free, each for as long as it takes to say so.
// A lost recording, one too many, or one out of turn is an error.
func (b *bench) recordingQueue(ctx context.Context) (samples, error) {
	r, s, ids, err := b.recordRig(ctx, queueRecorders+queueMeetings, queueRecorders)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	rooms := r.server.names()
	for _, room := range rooms[:queueRecorders] {
		if err := r.usher.record(ctx, ids[room], 0); err != nil {
			return nil, err
		}
	}
	if err := r.usher.until(ctx, func() (bool, error) { return s.count() == queueRecorders, nil }); err != nil {
		return nil, err
	}
	rank, err := r.usher.recordShuffled(ctx, rooms[queueRecorders:], ids)
	if err != nil {
		return nil, err
	}
	err = r.usher.until(ctx, func() (bool, error) {
		m, err := r.usher.metrics(ctx)
		return m[`usher_recordings{state="queued"}`] == queueMeetings, err
	})
	if err != nil {
		return nil, err
	}

	begin := time.Now()
	for ended := 0; ended < queueMeetings+queueRecorders; {
		s.mu.Lock()
		over := s.order[ended:]
		s.mu.Unlock()
		for _, room := range over {
			r.server.write(func(out *bufio.Writer) { r.server.pool.end(out, r.server.rooms[room]) })
		}
		ended += len(over)
		if time.Since(begin) > untilPatience {
			return nil, fmt.Errorf("%d of %d recordings began within %v", s.count(), queueMeetings+queueRecorders, untilPatience)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(begin)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.twice) > 0 {
		return nil, fmt.Errorf("recorded twice: %v", s.twice)
	}
	// Those that were asked for at once, at most one for each recorder, have no
	// order among them, and nor have those of one priority.
	const slack = queueRecorders + queueMeetings/priorities
	for place, room := range s.order[queueRecorders:] {
		if off := place - rank[room]; off >= slack || -off >= slack {
			return nil, fmt.Errorf("%s was recorded as number %d, its turn was %d", room, place, rank[room])
		}
	}
	return samples{"recording_queue_200x20": {took.Seconds()}}, nil
}
