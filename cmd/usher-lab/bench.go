package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// benchCommand is `usher-lab bench`, for those who work on usher: it measures the
// figures of docs/benchmarks.md.
type benchCommand struct {
	usherFlag
	Only       string `help:"Measure only what has a figure whose name begins so."`
	CPUProfile string `name:"cpu-profile" help:"File for a CPU profile of usher during a replay, joins or deliveries, whichever --only names."`
}

// Run prints each figure as a line of JSON on stdout, and what it is doing on
// stderr. A figure over its budget is told, it is no error.
func (c *benchCommand) Run(ctx context.Context, stderr io.Writer) error {
	program, err := c.program()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{program: program, dir: dir, progress: stderr, cpuProfile: c.CPUProfile, begin: time.Now()}
	var errs []error
	for _, m := range measurements {
		if !slices.ContainsFunc(m.budgets, func(x budget) bool { return strings.HasPrefix(x.name, c.Only) }) {
			continue
		}
		b.say("%s", m.title)
		got, err := m.measure(b, ctx)
		if ctx.Err() != nil {
			return context.Canceled
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.title, err))
			b.say("failed: %v", err)
			continue
		}
		for _, x := range m.budgets {
			if err := x.print(os.Stdout, median(got[x.name])); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// bench is one run of the command.
type bench struct {
	program    string // the usher that is measured
	dir        string // files of the servers; thrown away
	progress   io.Writer
	cpuProfile string
	begin      time.Time
	folders    int
}

// say reports progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%6.1f s  "+format+"\n", append([]any{time.Since(b.begin).Seconds()}, args...)...)
}

// folder returns a new folder.
func (b *bench) folder() (string, error) {
	b.folders++
	path := fmt.Sprintf("%s/%d", b.dir, b.folders)
	return path, os.Mkdir(path, 0o700)
}

// measurement yields some figures together.
type measurement struct {
	title   string
	budgets []budget
	measure func(*bench, context.Context) (samples, error)
}

// samples are the outcomes of a figure's repeated runs, by its name.
type samples map[string][]float64

func (s samples) add(name string, value float64) { s[name] = append(s[name], value) }

// budget is what a figure should reach.
type budget struct {
	name, unit string
	limit      float64 // 0: none, the figure is there to be compared with
	atLeast    bool    // else at most
}

var measurements = []measurement{
	{"replay of a mix of presences", []budget{
		{name: "replay_mix", unit: "stanzas/s/core", limit: 30_000, atLeast: true},
	}, (*bench).replay},
	{"from a stanza to Redis", []budget{
		{name: "stanza_to_commit_p50", unit: "ms", limit: 0.4},
		{name: "stanza_to_commit_p99", unit: "ms", limit: 2},
	}, (*bench).stanzaToCommit},
	{"joins and leaves on a real Prosody, with usher, with a module that posts them, with neither", []budget{
		{name: "join_to_webhook_p50", unit: "ms", limit: 3},
		{name: "join_to_webhook_p90", unit: "ms", limit: 10},
		{name: "join_to_webhook_p99", unit: "ms", limit: 50},
		{name: "join_to_post_p50", unit: "ms"},
		{name: "join_to_post_p90", unit: "ms"},
		{name: "join_to_post_p99", unit: "ms"},
		{name: "join_usher_cpu", unit: "µs/change", limit: 500},
		{name: "join_redis_cpu", unit: "µs/change", limit: 200},
		{name: "join_prosody_cpu_ratio", unit: "ratio", limit: 1.10},
		{name: "join_prosody_cpu_ratio_posting", unit: "ratio"},
		{name: "join_muc_p99_ratio", unit: "ratio", limit: 1.15},
		{name: "join_muc_p99_ratio_posting", unit: "ratio"},
	}, (*bench).joins},
	{"coming back to 1,000 rooms of 10", []budget{
		{name: "resync_1000x10", unit: "s", limit: 2},
	}, func(b *bench, ctx context.Context) (samples, error) { return b.resync(ctx, "resync_1000x10", 1000, 10) }},
	{"coming back to 5,000 rooms of 2", []budget{
		{name: "resync_5000x2", unit: "s", limit: 5},
	}, func(b *bench, ctx context.Context) (samples, error) { return b.resync(ctx, "resync_5000x2", 5000, 2) }},
	{"making meetings", []budget{
		{name: "create_meeting_p99", unit: "ms", limit: 10},
		{name: "create_meeting_rate", unit: "meetings/s", limit: 2000, atLeast: true},
	}, (*bench).createMeetings},
	{"reservations", []budget{
		{name: "reservation_p99", unit: "ms", limit: 5},
	}, (*bench).reservations},
	{"from a commit to a webhook's receiver", []budget{
		{name: "webhook_first_byte_p99", unit: "ms", limit: 100},
	}, (*bench).firstByte},
	{"webhooks that piled up", []budget{
		{name: "webhook_deliveries", unit: "deliveries/s/core", limit: 14_000, atLeast: true},
		{name: "webhook_drain", unit: "s", limit: 120},
	}, (*bench).deliveries},
	{"a webhook's body as Python writes it", []budget{
		{name: "python_json_us_per_kb", unit: "µs/kB", limit: 5},
	}, (*bench).pythonJSON},
	{"an app that was written for Whereby, with 10,000 meetings", []budget{
		{name: "whereby_create_p99", unit: "ms", limit: 10},
		{name: "whereby_sessions_p99", unit: "ms", limit: 10},
	}, (*bench).whereby},
	{"meetings made at Whereby, through usher and without it", []budget{
		{name: "whereby_upstream_p50_more", unit: "ms", limit: 3},
		{name: "whereby_upstream_p99_more", unit: "ms", limit: 3},
	}, (*bench).upstream},
	{"asking for recordings", []budget{
		{name: "recording_request_p50", unit: "ms", limit: 5},
		{name: "recording_request_p99", unit: "ms", limit: 5},
	}, (*bench).recordingRequests},
	{"200 meetings that wait for 20 recorders", []budget{
		{name: "recording_queue_200x20", unit: "s", limit: 10},
	}, (*bench).recordingQueue},
	{"joins while 50 meetings are recorded as tracks, and while none is", []budget{
		{name: "tracks_muc_p50_ratio", unit: "ratio", limit: 1.2},
		{name: "tracks_muc_p99_ratio", unit: "ratio", limit: 1.2},
		{name: "tracks_join_p50_ratio", unit: "ratio", limit: 1.2},
		{name: "tracks_join_p99_ratio", unit: "ratio", limit: 1.2},
		{name: "tracks_packet_cpu", unit: "µs/packet", limit: 20},
	}, (*bench).tracks},
	{"memory with 5,000 rooms of 10", []budget{
		{name: "rss_5000x10", unit: "MB", limit: 120},
	}, (*bench).fullMemory},
	{"memory when idle", []budget{
		{name: "idle_rss", unit: "MB", limit: 25},
		{name: "binary_size", unit: "MB", limit: 30},
	}, (*bench).idle},
}

// print writes the figure as one line of JSON.
func (x budget) print(w io.Writer, value float64) error {
	line := struct {
		Name   string      `json:"name"`
		Value  json.Number `json:"value"`
		Unit   string      `json:"unit"`
		Budget float64     `json:"budget,omitempty"`
		OK     *bool       `json:"ok,omitempty"`
	}{Name: x.name, Value: rounded(value), Unit: x.unit, Budget: x.limit}
	if x.limit != 0 {
		line.OK = new(x.atLeast == (value >= x.limit) || value == x.limit)
	}
	return json.NewEncoder(w).Encode(line)
}

// rounded keeps three digits behind the point of small values, none of large.
func rounded(v float64) json.Number {
	if v >= 1000 {
		return json.Number(fmt.Sprintf("%.0f", v))
	}
	return json.Number(fmt.Sprintf("%.3f", v))
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile returns the value that p percent of the values do not exceed; the
// values may be in any order, and there is at least one.
func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*p/100]
}

// milliseconds is how latencies are told.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
