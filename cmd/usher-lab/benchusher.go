package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/internal/localsite"
	"usher/internal/sleep"
	"usher/internal/stack"
	"usher/meeting"
)

// benchKey is the API key of measured ushers, on loopback for some seconds.
const benchKey = "key-of-the-benchmarks"

// httpAtOnce is how many requests are under way while meetings are made.
const httpAtOnce = 8

// clockTick is the unit of CPU times in /proc, the same on every Linux (proc(5)).
const clockTick = 10 * time.Millisecond

// measuredUsher is an `usher serve` of its own process, so that its CPU time
// and memory are nobody else's.
type measuredUsher struct {
	program    string
	api, admin string
	redisURL   string
	env, flags []string
	log        string        // path
	cmd        *exec.Cmd     // of the present or last process; nil: there was none
	ended      chan struct{} // closed when that has ended
	client     *http.Client
}

// startUsher starts the program with `serve` and blocks until it is ready. env is all of
// its environment but the PATH.
func startUsher(ctx context.Context, program, dir, redisURL string, env []string, flags ...string) (*measuredUsher, error) {
	u, err := newUsher(program, filepath.Join(dir, "usher.log"), redisURL, env, flags...)
	if err != nil {
		return nil, err
	}
	if err := localsite.BeginStore(ctx, redisURL); err != nil {
		return nil, err
	}
	return u, u.start(ctx)
}

// newUsher returns an usher on free ports that is not started yet.
func newUsher(program, log, redisURL string, env []string, flags ...string) (*measuredUsher, error) {
	u := &measuredUsher{program: program, redisURL: redisURL, env: env, log: log}
	u.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: httpAtOnce}}
	var err1, err2 error
	u.api, err1 = stack.FreeAddr()
	u.admin, err2 = stack.FreeAddr()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	u.flags = append([]string{
		"serve", "--listen=" + u.api, "--admin-listen=" + u.admin, "--redis-url=" + redisURL,
		"--api-key=" + benchKey, "--reservation-token=" + stack.ReservationToken,
		"--component-secret=" + stack.ComponentSecret, "--log-level=warn",
		"--api-rate=0", // it is the API that is measured
	}, flags...)
	return u, nil
}

// start starts the process, anew after its end, and blocks until it is ready.
func (u *measuredUsher) start(ctx context.Context) error {
	if err := u.spawn(ctx); err != nil {
		return err
	}
	return u.until(ctx, func() (bool, error) {
		_, err := u.get(ctx, "/readyz?role=leader")
		return err == nil, nil // it does not listen at first, and then is not ready
	})
}

// spawn starts the process, anew after its end.
func (u *measuredUsher) spawn(ctx context.Context) error {
	log, err := os.OpenFile(u.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, u.program, u.flags...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, u.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	u.cmd, u.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // the state says the same
	}(u.ended)
	return nil
}

// stop ends the process in good order, kill as a crash does.
func (u *measuredUsher) stop() { _ = u.end(syscall.SIGTERM) }
func (u *measuredUsher) kill() { _ = u.end(syscall.SIGKILL) }

// end sends the signal and blocks until the process has ended; an error says
// that it did not end well.
func (u *measuredUsher) end(sig os.Signal) error {
	_ = u.cmd.Process.Signal(sig) // fails when it has ended by itself
	<-u.ended
	u.client.CloseIdleConnections()
	if state := u.cmd.ProcessState; !state.Success() {
		return errors.New(state.String())
	}
	return nil
}

// untilPatience is how long until waits; 5,000 rooms take a real Prosody tens
// of seconds.
const untilPatience = 2 * time.Minute

// until blocks until ok. It looks every 20 ms: looking costs usher time too.
func (u *measuredUsher) until(ctx context.Context, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, untilPatience, fmt.Errorf("usher did not get there within %v", untilPatience))
	defer cancel()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			text, _ := os.ReadFile(u.log)
			return fmt.Errorf("%w; its log: %s", context.Cause(ctx), text)
		}
	}
}

// follow makes a meeting for each room, announces the room as Prosody does,
// and blocks until usher is in all of them and has stored who is there.
func (u *measuredUsher) follow(ctx context.Context, rooms []string) error {
	g, making := errgroup.WithContext(ctx)
	g.SetLimit(httpAtOnce)
	for _, room := range rooms {
		g.Go(func() error {
			if err := u.create(making, `{"room":"`+room+`"}`); err != nil {
				return err
			}
			return u.reserve(making, room)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return u.inSync(ctx, len(rooms))
}

// create makes a meeting.
func (u *measuredUsher) create(ctx context.Context, body string) error {
	_, err := u.post(ctx, "/v1/meetings", "application/json", benchKey, body)
	return err
}

// reserve asks for a room as Prosody does before its first join.
func (u *measuredUsher) reserve(ctx context.Context, room string) error {
	_, err := u.post(ctx, "/reservations/conference", "application/x-www-form-urlencoded",
		stack.ReservationToken, url.Values{"name": {room}}.Encode())
	return err
}

// inSync blocks until usher is in so many rooms and sees all of them.
func (u *measuredUsher) inSync(ctx context.Context, rooms int) error {
	return u.until(ctx, func() (bool, error) {
		m, err := u.metrics(ctx)
		return m["usher_rooms_followed"] == float64(rooms) && m["usher_meetings_stale"] == 0, err
	})
}

func (u *measuredUsher) post(ctx context.Context, path, kind, token, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.api+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+token)
	var text []byte
	err = u.do(req, &text)
	return text, err
}

// do sends a request and returns the body of a good answer in text, which may
// be nil.
func (u *measuredUsher) do(req *http.Request, text *[]byte) error {
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, body)
	}
	if text != nil {
		*text = body
	}
	return err
}

// metrics returns the present values of usher's series, by name and labels.
func (u *measuredUsher) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := u.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values, nil
}

func (u *measuredUsher) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.admin+path, nil)
	if err != nil {
		return nil, err
	}
	var text []byte
	err = u.do(req, &text)
	return text, err
}

// cpuTime returns the CPU time that a process has used, its own and the
// kernel's for it, to 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, which may hold blanks.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read CPU times in %q", text)
	}
	user, err1 := strconv.Atoi(string(fields[11]))
	system, err2 := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// resident returns the memory of a process that is in RAM, in MB of 10⁶ bytes.
func resident(pid int) (float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var kib float64
		if n, _ := fmt.Sscanf(lines.Text(), "VmRSS: %f kB", &kib); n == 1 {
			return kib * 1024 / 1e6, nil
		}
	}
	return 0, errors.New("cannot read the resident memory")
}

// profileSeconds is about as long as one run takes.
const profileSeconds = 3

// profile begins a CPU profile of usher and returns what blocks until it is
// written. Profiling costs time too, so it gets a run of its own.
func (b *bench) profile(ctx context.Context, u *measuredUsher) (written func() error) {
	done := make(chan error, 1)
	go func() {
		text, err := u.get(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", profileSeconds))
		if err == nil {
			err = os.WriteFile(b.cpuProfile, text, 0o600)
		}
		done <- err
	}()
	return func() error { return <-done }
}

// event is what the measurements read of an event in the event log or a webhook.
type event struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	MeetingID string `json:"meeting_id"`
	Seq       int64  `json:"seq"`
	Data      struct {
		Participant struct {
			ID       string    `json:"id"`
			Kind     string    `json:"kind"`
			Endpoint string    `json:"endpoint_id"`
			Hand     time.Time `json:"hand_raised_at"`
		} `json:"participant"`
		Recording struct {
			ID    string                 `json:"id"`
			State meeting.RecordingState `json:"state"`
		} `json:"recording"`
	} `json:"data"`
}

func readEvent(text string) (n event, err error) {
	err = json.Unmarshal([]byte(text), &n)
	return n, err
}
