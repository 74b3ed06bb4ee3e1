package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/webhook"
)

const (
	// A busy site: 100 joins and as many leaves a second, in rooms of ten.
	churnRooms, churnPer = 50, 10
	churnRate            = 200
	churnRuns            = 3
	churnFor             = 8 * time.Second

	// churnRest is what a window's last changes need until the app has them.
	churnRest = time.Second
	// churnPatience is how long they may need on a busy machine.
	churnPatience = 10 * time.Second
)

// postingModule is what usher is compared with.
//
//go:embed comparison/mod_bench_post.lua
var postingModule []byte

// joinBench is a site on which windows of the same load take turns.
type joinBench struct {
	*benchSite
	receiver *joinReceiver
	urlFile  string           // of the posting module
	rate     float64          // changes a second
	changed  func(sim.Change) // hears of each
}

// churnWindow is what was seen while people left and joined.
type churnWindow struct {
	changes int
	muc     []float64 // ms from a person's join until the room has confirmed it
	app     []float64 // ms from a person's join until the app has read of it
	prosody float64   // µs of CPU for each change
	usher   float64
	redis   float64
}

// joins measures what usher's being there costs Prosody, usher and Redis for
// each join and leave, and how long the app waits for them; and the same of a
// module in Prosody that posts them over HTTP.
func (b *bench) joins(ctx context.Context) (samples, error) {
	j, err := b.newJoinBench(ctx)
	if err != nil {
		return nil, err
	}
	defer j.receiver.close()
	defer j.stop()
	u, err := j.startHooked(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { u.kill() }()
	if err := u.follow(ctx, j.rooms); err != nil {
		return nil, err
	}
	got := samples{}
	for run := range churnRuns {
		if run > 0 {
			if err := errors.Join(u.start(ctx), u.inSync(ctx, len(j.rooms))); err != nil {
				return nil, err
			}
		}
		time.Sleep(churnRest) // what the start set off is over
		with, err := j.churn(ctx, u)
		if err != nil {
			return nil, err
		}
		if b.cpuProfile != "" {
			written := b.profile(ctx, u)
			_, err := j.churn(ctx, u)
			if err := errors.Join(err, written()); err != nil {
				return nil, err
			}
		}
		u.stop()
		time.Sleep(churnRest)
		without, err := j.churn(ctx, nil)
		if err != nil {
			return nil, err
		}
		posting, err := j.post(ctx)
		if err != nil {
			return nil, err
		}
		for _, w := range []struct {
			name string
			churnWindow
		}{{"usher", with}, {"neither", without}, {"posting", posting}} {
			b.say("  %-7s %d changes, CPU of Prosody %.0f, usher %.0f, Redis %.0f µs; MUC p50 %.1f, p99 %.1f ms", w.name,
				w.changes, w.prosody, w.usher, w.redis, percentile(w.muc, 50), percentile(w.muc, 99))
		}
		for p, name := range map[int]string{50: "p50", 90: "p90", 99: "p99"} {
			got.add("join_to_webhook_"+name, percentile(with.app, p))
			got.add("join_to_post_"+name, percentile(posting.app, p))
		}
		got.add("join_usher_cpu", with.usher)
		got.add("join_redis_cpu", with.redis)
		got.add("join_prosody_cpu_ratio", with.prosody/without.prosody)
		got.add("join_prosody_cpu_ratio_posting", posting.prosody/without.prosody)
		got.add("join_muc_p99_ratio", percentile(with.muc, 99)/percentile(without.muc, 99))
		got.add("join_muc_p99_ratio_posting", percentile(posting.muc, 99)/percentile(without.muc, 99))
	}
	return got, nil
}

// newJoinBench starts the site with its people in it, whose Prosody has the
// posting module, and the app.
func (b *bench) newJoinBench(ctx context.Context) (_ *joinBench, err error) {
	folder, err := b.folder()
	if err != nil {
		return nil, err
	}
	j := &joinBench{urlFile: filepath.Join(folder, "url"), rate: churnRate, changed: func(sim.Change) {}}
	module := filepath.Join(folder, "mod_bench_post.lua")
	if err := os.WriteFile(module, postingModule, 0o600); err != nil {
		return nil, err
	}
	if j.receiver, err = newJoinReceiver(); err != nil {
		return nil, err
	}
	j.benchSite, err = b.newSite(ctx, churnRooms, churnPer, stack.ProsodyConfig{MUCModule: module, MUCModuleFile: j.urlFile})
	if err != nil {
		j.receiver.close()
		j.stop()
		return nil, err
	}
	return j, nil
}

// startHooked starts an usher that posts all events to the receiver.
func (j *joinBench) startHooked(ctx context.Context, env ...string) (*measuredUsher, error) {
	return j.startUsher(ctx, append(env,
		fmt.Sprintf(`USHER_WEBHOOKS=[{"name":"bench","url":"http://%s/","secrets":[%q]}]`, j.receiver.addr, string(webhook.NewSecret().Key)),
		"USHER_WEBHOOK_ALLOW=127.0.0.0/8")...)
}

// post is churn while the module posts.
func (j *joinBench) post(ctx context.Context) (w churnWindow, err error) {
	if err := os.WriteFile(j.urlFile, []byte("http://"+j.receiver.addr+"/"), 0o600); err != nil {
		return w, err
	}
	time.Sleep(churnRest) // the module has looked
	w, err = j.churn(ctx, nil)
	err = errors.Join(err, os.Remove(j.urlFile))
	time.Sleep(churnRest)
	return w, err
}

// churn lets people leave and join, with an usher that runs, or none.
func (j *joinBench) churn(ctx context.Context, u *measuredUsher) (w churnWindow, err error) {
	j.receiver.take()
	j.crowd.TakeJoined()
	pids := []int{j.prosody.PID(), j.redis.PID()}
	if u != nil {
		pids = append(pids, u.cmd.Process.Pid)
	}
	before, err := cpuTimes(pids)
	if err != nil {
		return w, err
	}
	sent := map[string]time.Time{}
	window, cancel := context.WithTimeout(ctx, churnFor)
	defer cancel()
	err = j.crowd.Churn(window, j.rate, func(c sim.Change) {
		w.changes++
		j.changed(c)
		if c.Joined {
			sent[c.Nick] = c.At
		}
	})
	if err != nil {
		return w, err
	}
	time.Sleep(churnRest)
	after, err := cpuTimes(pids)
	if err != nil {
		return w, err
	}
	used := make([]float64, 3)
	for i := range after {
		used[i] = float64((after[i] - before[i]).Microseconds()) / float64(w.changes)
	}
	w.prosody, w.redis, w.usher = used[0], used[1], used[2]
	confirmed, read := map[string]time.Time{}, map[string]time.Time{}
	for deadline := time.Now().Add(churnPatience); ; time.Sleep(20 * time.Millisecond) {
		maps.Copy(confirmed, j.crowd.TakeJoined())
		maps.Copy(read, j.receiver.take())
		w.muc, w.app = latencies(sent, confirmed), latencies(sent, read)
		late := len(w.muc) < len(sent) || (len(read) > 0 || u != nil) && len(w.app) < len(sent)
		if !late && len(sent) > 0 {
			return w, nil
		}
		if time.Now().After(deadline) {
			return w, fmt.Errorf("rooms confirmed %d of %d joins, and the app has read of %d", len(w.muc), len(sent), len(w.app))
		}
	}
}

// cpuTimes is cpuTime for each of the processes.
func cpuTimes(pids []int) ([]time.Duration, error) {
	var errs error
	times := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		times[i], err = cpuTime(pid)
		errs = errors.Join(errs, err)
	}
	return times, errs
}

// latencies returns how many milliseconds each join that arrived took.
func latencies(sent, arrived map[string]time.Time) []float64 {
	took := make([]float64, 0, len(sent))
	for nick, at := range sent {
		if end, ok := arrived[nick]; ok {
			took = append(took, milliseconds(end.Sub(at)))
		}
	}
	return took
}

// joinReceiver is an app in this process: it notes when it has read of each
// join, in usher's event or in that of the posting module.
type joinReceiver struct {
	server *http.Server
	addr   string
	served sync.WaitGroup

	mu     sync.Mutex
	joined map[string]time.Time // by nick, since take
}

func newJoinReceiver() (*joinReceiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &joinReceiver{addr: ln.Addr().String(), joined: map[string]time.Time{}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: webhook.Timeout}
	r.served.Go(func() { _ = r.server.Serve(ln) }) // until close
	return r, nil
}

func (r *joinReceiver) close() {
	_ = r.server.Close()
	r.served.Wait()
}

// ServeHTTP accepts an event.
func (r *joinReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	text, err := io.ReadAll(req.Body)
	at := time.Now()
	event, err2 := readEvent(string(text))
	if errors.Join(err, err2) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if event.Type == "participant.joined" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.joined[event.Data.Participant.Endpoint] = at
	}
}

// take returns the joins that it has read of since the last time.
func (r *joinReceiver) take() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	joined := r.joined
	r.joined = map[string]time.Time{}
	return joined
}
