package main

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"usher/meeting"
)

// TestStopInOrder proves that commands in flight at SIGTERM are answered with
// their result, which is in the store, before usher ends. A Redis that hangs for
// a moment keeps them in flight.
func TestStopInOrder(t *testing.T) {
	t.Parallel()
	s := newBareScene(t)
	p := s.runUsher()
	s.until("usher leads", s.leads)

	const commands = 5
	answers := make(chan error, commands)
	s.redis.Signal(syscall.SIGSTOP)
	for range commands {
		go func() {
			var m meeting.MeetingInfo
			answers <- s.call(t.Context(), http.MethodPost, "/v1/meetings", map[string]any{}, &m)
		}()
	}
	time.Sleep(200 * time.Millisecond) // they get as far as Redis
	must(t, p.Process.Signal(syscall.SIGTERM))
	time.Sleep(200 * time.Millisecond) // what is stopped too early ends
	s.redis.Signal(syscall.SIGCONT)
	for range commands {
		if err := <-answers; err != nil {
			t.Errorf("a command in flight is answered with %v, want its result", err)
		}
	}
	if err := p.Wait(); err != nil {
		t.Errorf("usher ended with %v, want 0", err)
	}
	if n := len(s.wholeLog()); n != commands {
		t.Errorf("%d meetings in the log, want %d", n, commands)
	}
}
