package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"usher/webhook"
)

// chaosReceiver is an app that remembers every event that it accepted, and
// misbehaves when told to.
type chaosReceiver struct {
	name   string
	addr   string
	secret webhook.Secret
	server *http.Server
	served sync.WaitGroup

	mu       sync.Mutex
	status   int           // what it answers instead of accepting; 0: it accepts
	healed   chan struct{} // closed: requests do not hang
	accepted []arrival
	wrong    error // the first request that is none of usher's
}

func startReceiver(name string) (*chaosReceiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &chaosReceiver{name: name, addr: ln.Addr().String(), secret: webhook.NewSecret(), healed: make(chan struct{})}
	close(r.healed)
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: webhook.Timeout}
	r.served.Go(func() { _ = r.server.Serve(ln) }) // until close
	return r, nil
}

func (r *chaosReceiver) close() {
	_ = r.server.Close()
	r.served.Wait()
}

// ServeHTTP accepts an event, or does what it was told to do instead.
func (r *chaosReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // usher was killed, or its connection cut
	}
	r.mu.Lock()
	healed := r.healed
	r.mu.Unlock()
	select {
	case <-healed:
	case <-req.Context().Done():
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	text, gap := withoutGap(string(body))
	e, err := readEvent(text)
	if err != nil || e.ID == "" {
		r.wrong = fmt.Errorf("%s got what is no event: %q", r.name, body)
		return
	}
	if e.Type == string(webhook.TypeTest) {
		return
	}
	r.accepted = append(r.accepted, arrival{event: e, text: text, gap: gap, at: time.Now()})
}

// refuse lets it answer with the status until the function that it returns is called.
func (r *chaosReceiver) refuse(status int) (heal func()) {
	set := func(status int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.status = status
	}
	set(status)
	return func() { set(0) }
}

// hang lets requests wait until the function that it returns is called.
func (r *chaosReceiver) hang() (heal func()) {
	healed := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.healed = healed
	return func() { close(healed) }
}

// log returns what it has accepted so far.
func (r *chaosReceiver) log() ([]arrival, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.accepted), r.wrong
}
