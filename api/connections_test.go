package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// limited serves on a listener of three connections. Requests to /slow are
// answered once something has come from slow.
func limited(t *testing.T) (ln *Connections, started, slow chan struct{}) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, slow = make(chan struct{}, 10), make(chan struct{})
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err != nil || len(text) > 0 && string(text) != "body" {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		if r.URL.Path == "/slow" {
			started <- struct{}{}
			<-slow
		}
		_, _ = io.WriteString(w, "answer")
	}), slog.New(slog.DiscardHandler))
	ln = LimitConnections(inner, 3)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("served until %v, want %v", err, http.ErrServerClosed)
		}
	})
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return ln, started, slow
}

// dialed is a connection whose answers are read with answer.
type dialed struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dial(t *testing.T, ln net.Listener, send string) *dialed {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &dialed{conn, t, bufio.NewReader(conn)}
	c.send(send)
	return c
}

func (c *dialed) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer returns the status of the next answer, or why there is none.
func (c *dialed) answer() string {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "answer" {
		return resp.Status + ", but " + string(text)
	}
	return resp.Status
}

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	slow = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
	post = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
)

// untilIdle waits until so many connections are idle.
func untilIdle(t *testing.T, ln *Connections, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		ln.mu.Lock()
		got := ln.idle.Len()
		ln.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are idle, want %d", got, want)
		}
	}
}

// TestConnectionsMakePlace: the connection that has gone without a whole request
// for longest makes place for the next; one at work does not.
func TestConnectionsMakePlace(t *testing.T) {
	ln, started, free := limited(t)
	atWork := dial(t, ln, post+"bo")
	atWork.send("dy")
	<-started
	kept := dial(t, ln, get)
	if got := kept.answer(); got != "200 OK" {
		t.Fatal(got)
	}
	for _, begun := range []string{"", "GET", post, post + "bo", get} {
		untilIdle(t, ln, 1)
		stranger := dial(t, ln, begun)
		if begun == get {
			_ = stranger.answer()
		}
		untilIdle(t, ln, 2)
		kept.send(get)
		if got := kept.answer(); got != "200 OK" {
			t.Fatalf("beside %q a connection is answered %s, want 200 OK", begun, got)
		}
		untilIdle(t, ln, 2)
		next := dial(t, ln, get)
		if got := next.answer(); got != "200 OK" {
			t.Fatalf("beside %q a new connection is answered %s, want 200 OK", begun, got)
		}
		if got := stranger.answer(); strings.Contains(got, "OK") || strings.Contains(got, "timeout") {
			t.Fatalf("after %q a stranger sees %s, want the end of the connection", begun, got)
		}
		kept.Close()
		kept = next
	}
	close(free)
	if got := atWork.answer(); got != "200 OK" {
		t.Errorf("the request that was under way is answered %s, want 200 OK", got)
	}
}

// TestConnectionsAllAtWork: while all are at work a new connection waits, gets
// the first place that is free, and no answer is cut off for it.
func TestConnectionsAllAtWork(t *testing.T) {
	ln, started, free := limited(t)
	var working []*dialed
	for range 3 {
		working = append(working, dial(t, ln, slow))
		<-started
	}
	next := dial(t, ln, slow)
	select {
	case <-started:
		t.Fatal("four requests are under way, want three")
	case <-time.After(50 * time.Millisecond): // nothing says that somebody waits
	}
	for range 3 {
		free <- struct{}{}
	}
	for i, c := range working {
		if got := c.answer(); got != "200 OK" {
			t.Errorf("request %d is answered %s, want 200 OK", i, got)
		}
	}
	<-started
	free <- struct{}{}
	if got := next.answer(); got != "200 OK" {
		t.Errorf("the one that waited is answered %s, want 200 OK", got)
	}
}

// TestConnectionsCloseWhileAllAreAtWork: a server can be shut down while nobody
// can be let in.
func TestConnectionsCloseWhileAllAreAtWork(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := LimitConnections(inner, 0)
	dial(t, ln, "")
	accepted := make(chan error, 1)
	go func() { _, err := ln.Accept(); accepted <- err }()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case err := <-accepted:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept returns %v, want %v", err, net.ErrClosed)
		}
	case <-ctx.Done():
		t.Error("Accept does not return")
	}
}

// TestConnectionThatMadePlace: a request whose connection was closed when it had
// come is not carried out.
func TestConnectionThatMadePlace(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := LimitConnections(inner, 1)
	t.Cleanup(func() { _ = ln.Close() })
	dial(t, inner, "")
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	dial(t, inner, "")
	if _, err := ln.Accept(); err != nil {
		t.Fatal(err)
	}
	done := 0
	srv := NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			done++
		}
	}), slog.New(slog.DiscardHandler))
	for _, text := range []string{"", "{}"} {
		r, err := http.NewRequestWithContext(srv.ConnContext(t.Context(), conn), http.MethodPost, "/", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			srv.Handler.ServeHTTP(nil, r)
		}()
	}
	if done != 0 {
		t.Errorf("%d requests are carried out, want none", done)
	}
}
