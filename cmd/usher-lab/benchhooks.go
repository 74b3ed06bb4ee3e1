package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/store"
	"usher/webhook"
)

const (
	hookRuns = 3

	firstByteRate = 200 // changes a second
	firstByteFor  = 3 * time.Second

	// What piles up is committed well below what one core commits, so that no
	// presence is dropped.
	pileRate       = 5000 // changes a second
	deliveriesPile = 12_000
	drainPile      = 36_000 // an hour of ten changes a second

	// hookEndpoint is the id of the endpoint that is configured as "bench".
	hookEndpoint = "whk_bench"
)

// benchReceiver is a fast webhook receiver in this process. It checks that the
// events of a meeting come one after the other, from the first one on.
type benchReceiver struct {
	server *http.Server
	addr   string
	served sync.WaitGroup

	mu      sync.Mutex
	held    chan struct{} // closed: answers are not held back
	dead    bool          // answers 503
	last    map[string]int64
	arrived map[string]time.Time // by the event's id, since taken the last time
	wrong   error
}

func newBenchReceiver() (*benchReceiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &benchReceiver{
		addr: ln.Addr().String(), held: make(chan struct{}),
		last: map[string]int64{}, arrived: map[string]time.Time{},
	}
	close(h.held)
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: webhook.Timeout}
	h.served.Go(func() { _ = h.server.Serve(ln) }) // until close
	return h, nil
}

func (h *benchReceiver) close() {
	_ = h.server.Close()
	h.served.Wait()
}

// ServeHTTP takes an event.
func (h *benchReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	text, err := io.ReadAll(r.Body)
	h.mu.Lock()
	held, dead := h.held, h.dead
	h.mu.Unlock()
	if dead {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	select {
	case <-held:
	case <-r.Context().Done():
		return
	}
	n, err2 := readEvent(string(text))
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.last[n.MeetingID]
	switch err := errors.Join(err, err2); {
	case err != nil:
		h.wrong = err
	case n.Seq == last+1:
		h.last[n.MeetingID] = n.Seq
		h.arrived[n.ID] = at
	case n.Seq > last: // others may come again
		h.wrong = fmt.Errorf("%s: event %d arrived after %d", n.MeetingID, n.Seq, last)
	}
}

// hold lets requests hang until the function it returns is called.
func (h *benchReceiver) hold() (release func()) {
	held := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = held
	return func() { close(held) }
}

// die makes it refuse everything until the function it returns is called.
func (h *benchReceiver) die() (revive func()) {
	set := func(dead bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dead = dead
	}
	set(true)
	return func() { set(false) }
}

// take returns what has arrived since the last time, which has to be so many
// events.
func (h *benchReceiver) take(want int) (map[string]time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.arrived
	h.arrived = map[string]time.Time{}
	if h.wrong == nil && len(got) != want {
		return nil, fmt.Errorf("%d events arrived, want %d", len(got), want)
	}
	return got, h.wrong
}

// hookRig is a rig with a receiver of all events.
type hookRig struct {
	*rig
	receiver *benchReceiver
	store    *store.Redis
}

// newHookRig starts one whose usher has one core, and blocks until the receiver
// has been told of all that came of the start; stop it.
func (b *bench) newHookRig(ctx context.Context) (_ *hookRig, err error) {
	r := &hookRig{}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	if r.receiver, err = newBenchReceiver(); err != nil {
		return nil, err
	}
	r.rig, err = b.newRig(ctx, replayRooms, replayPer, oneCore,
		fmt.Sprintf(`USHER_WEBHOOKS=[{"name":"bench","url":"http://%s/","secrets":[%q]}]`, r.receiver.addr, string(webhook.NewSecret().Key)),
		"USHER_WEBHOOK_ALLOW=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	if r.store, err = store.NewRedis(store.Config{URL: r.redis.URL, Site: "main"}); err != nil {
		return nil, err
	}
	if err := r.delivered(ctx); err != nil {
		return nil, err
	}
	events, err := r.rdb.XLen(ctx, eventLog).Result()
	if err != nil {
		return nil, err
	}
	_, err = r.receiver.take(int(events))
	return r, err
}

func (r *hookRig) stop() {
	if r.store != nil {
		_ = r.store.Close()
	}
	if r.rig != nil {
		r.rig.stop()
	}
	if r.receiver != nil {
		r.receiver.close()
	}
}

// delivered blocks until nothing waits for the receiver and all that was
// delivered is settled in Redis.
func (r *hookRig) delivered(ctx context.Context) error {
	return r.usher.until(ctx, func() (bool, error) {
		backlog, err := r.store.Backlog(ctx, hookEndpoint)
		return backlog.Meetings == 0, err
	})
}

// change raises so many hands and blocks until all are committed.
func (r *hookRig) change(ctx context.Context, changes, rate int) error {
	before, err := r.rdb.XLen(ctx, eventLog).Result()
	if err != nil {
		return err
	}
	r.raiseHands(changes, rate, func(int) {})
	return r.usher.until(ctx, func() (bool, error) {
		now, err := r.rdb.XLen(ctx, eventLog).Result()
		return now >= before+int64(changes), err
	})
}

// firstByte measures the time from a commit until the receiver has read the
// head of the request that tells of it.
func (b *bench) firstByte(ctx context.Context) (samples, error) {
	const changes = int(firstByteRate * firstByteFor / time.Second)
	r, err := b.newHookRig(ctx)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	for range hookRuns {
		if err := errors.Join(r.change(ctx, changes, firstByteRate), r.delivered(ctx)); err != nil {
			return nil, err
		}
		arrived, err := r.receiver.take(changes)
		if err != nil {
			return nil, err
		}
		entries, err := r.rdb.XRevRangeN(ctx, eventLog, "+", "-", int64(changes)).Result()
		if err != nil {
			return nil, err
		}
		var took []float64
		for _, entry := range entries {
			id, committed, err := readEntry(entry)
			if err != nil {
				return nil, err
			}
			at, ok := arrived[id]
			if !ok {
				return nil, fmt.Errorf("%s of the event log did not arrive", id)
			}
			took = append(took, milliseconds(at.Sub(committed)))
		}
		b.say("  p50 %.2f, p90 %.2f, p99 %.2f, max %.2f ms", percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100))
		got.add("webhook_first_byte_p99", percentile(took, 99))
	}
	return got, nil
}

// readEntry returns the id of an event in the event log and when Redis ran the
// commit, which the entry's own id says in whole milliseconds.
func readEntry(entry redis.XMessage) (id string, committed time.Time, err error) {
	text, _ := entry.Values["notice"].(string)
	n, err1 := readEvent(text)
	ms, _, _ := strings.Cut(entry.ID, "-")
	at, err2 := strconv.ParseInt(ms, 10, 64)
	return n.ID, time.UnixMilli(at), errors.Join(err1, err2)
}

// deliveries measures how many deliveries a second one core makes, and how long
// it takes to make up for a receiver that was down.
func (b *bench) deliveries(ctx context.Context) (samples, error) {
	r, err := b.newHookRig(ctx)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	got := samples{}
	for range hookRuns {
		used, wall, err := r.pileUp(ctx, deliveriesPile, r.receiver.hold)
		if err != nil {
			return nil, err
		}
		b.say("  %d deliveries: %.2f s CPU in %.2f s", deliveriesPile, used.Seconds(), wall.Seconds())
		got.add("webhook_deliveries", deliveriesPile/used.Seconds())
	}
	if b.cpuProfile != "" {
		var written func() error
		_, _, err := r.pileUp(ctx, deliveriesPile, func() func() {
			release := r.receiver.hold()
			return func() {
				written = b.profile(ctx, r.usher)
				release()
			}
		})
		if err := errors.Join(err, written()); err != nil {
			return nil, err
		}
	}
	used, wall, err := r.pileUp(ctx, drainPile, r.receiver.die)
	if err != nil {
		return nil, err
	}
	b.say("  %d deliveries after an outage: %.2f s CPU in %.2f s", drainPile, used.Seconds(), wall.Seconds())
	got.add("webhook_drain", wall.Seconds())
	return got, nil
}

// pileUp commits so many changes while the receiver takes nothing, and returns
// what it takes from its taking again until all is delivered, in order, and
// settled.
func (r *hookRig) pileUp(ctx context.Context, changes int, block func() (unblock func())) (cpu, wall time.Duration, err error) {
	unblock := block()
	if err := r.change(ctx, changes, pileRate); err != nil {
		return 0, 0, err
	}
	pid := r.usher.cmd.Process.Pid
	before, err := cpuTime(pid)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	unblock()
	if err := r.delivered(ctx); err != nil {
		return 0, 0, err
	}
	wall = time.Since(begin)
	after, err := cpuTime(pid)
	if err != nil {
		return 0, 0, err
	}
	_, err = r.receiver.take(changes)
	return after - before, wall, err
}
