package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endWithin is how long usher may take to end when nobody reads its log. It only
// says when to give up: nothing is under way.
const endWithin = 20 * time.Second

// TestNobodyReadsTheLog runs usher with a pipe for stderr that nobody reads.
// However much a stranger makes it log, it answers; what it could not write is
// counted, and said once somebody reads; and it ends when it is told to.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	s := newBareScene(t, "--log-level=debug")
	unread, stderr, err := os.Pipe()
	must(t, err)
	defer unread.Close()
	p := s.runUsherAs(func(c *exec.Cmd) { c.Stderr = stderr })
	must(t, stderr.Close())
	s.until("usher leads", s.leads)

	s.click(t, 6000) // 1.5 MB of lines; the pipe holds 64 kB, usher 1 MB
	if got := (asked{method: "GET", url: "http://" + s.at.admin + "/livez"}).status(); got != "200" {
		t.Errorf("/livez is answered %s, want 200", got)
	}
	s.create("standup")
	if n := s.metric("usher_log_lines_dropped_total"); n == 0 {
		t.Error("no lines are counted as dropped")
	}

	said := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(unread)
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"msg":"lines of the log were dropped because they could not be written","lines":`) {
				said <- true
				return
			}
		}
		said <- false
	}()
	select {
	case is := <-said:
		if !is {
			t.Error("the log does not say that lines are missing")
		}
	case <-within(t).Done():
		t.Error("the log goes on, but does not say that lines are missing")
	}

	s.click(t, 1000) // and again nobody reads
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.endsWithin(t, endWithin)
}

// TestReaderOfTheLogEnds ends whoever reads usher's stderr, which makes writes
// to it fail. usher goes on without a log.
func TestReaderOfTheLogEnds(t *testing.T) {
	t.Parallel()
	s := newBareScene(t, "--log-level=debug")
	reader, stderr, err := os.Pipe()
	must(t, err)
	p := s.runUsherAs(func(c *exec.Cmd) { c.Stderr = stderr })
	must(t, stderr.Close())
	must(t, reader.Close())
	s.click(t, 10)
	s.until("usher leads", s.leads)
	s.create("standup")
	if n := s.metric("usher_log_lines_dropped_total"); n == 0 {
		t.Error("no lines are counted as dropped")
	}
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.endsWithin(t, endWithin)
}

// click follows a link that leads nowhere so many times; each is a line of a
// debug log.
func (s *scene) click(t *testing.T, times int) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	for i := range times {
		resp, err := client.Get("http://" + s.at.api + "/j/nowhere")
		if err != nil {
			t.Fatalf("click %d: %v, want an answer", i, err)
		}
		must(t, resp.Body.Close())
	}
}

// endsWithin waits until the process has ended by itself, without an error.
func (p *process) endsWithin(t *testing.T, limit time.Duration) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("usher ended with %v, want 0", err)
		}
	case <-time.After(limit):
		must(t, p.Process.Kill())
		t.Errorf("usher has not ended %v after SIGTERM; killed: %v", limit, <-ended)
	}
}
