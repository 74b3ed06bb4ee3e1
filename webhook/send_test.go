package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// post makes one try at a URL.
func post(t *testing.T, url string, g *guard, timeout time.Duration) outcome {
	t.Helper()
	s := newSender(g)
	s.timeout = timeout
	t.Cleanup(s.close)
	return postWith(t, s, url)
}

func postWith(t *testing.T, s *sender, url string) outcome {
	t.Helper()
	target, err := parseTarget(url, &guard{allowed: loopback})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), s.timeout)
	defer cancel()
	r, err := render(ctx, Endpoint{target: target}, &delivery{event: readEvent(json.RawMessage(`{"id":"evt_1"}`))}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.post(r)
}

// listen runs raw on each connection.
func listen(t *testing.T, raw func(c net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				raw(c)
			}()
		}
	}()
	return l.Addr().String()
}

// Timeouts of a try that is to run into it, and of one that runs into it once it
// has its answer, also on a machine that is busy. The others have patience.
const (
	shortTimeout = 500 * time.Millisecond
	longTimeout  = 3 * time.Second
)

// TestBadReceivers posts to receivers that behave badly: each try is over
// within its patience, and what came of it is told.
func TestBadReceivers(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	readRequest := func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}
	serve := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	var elsewhere atomic.Int32
	target := serve(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	withTLS := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(withTLS.Close)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	open := &guard{allowed: loopback}
	const dripping = "takes it and drips its body"

	tests := []struct {
		name, url string
		g         *guard
		status    int
		reason    string
	}{
		{"takes it", serve(func(http.ResponseWriter, *http.Request) {}), open, 200, ""},
		{"hangs", "http://" + listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), open, 0, reasonTimeout},
		{"drips its header", "http://" + listen(t, func(c net.Conn) {
			readRequest(c)
			for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + strings.Repeat("x", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}), open, 0, reasonTimeout},
		{dripping, serve(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}), open, 200, ""},
		{"takes it and answers 1 GB", serve(func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 1 << 10 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
			t.Error("all of the answer was read")
		}), open, 200, ""},
		{"has an endless header", "http://" + listen(t, func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprintf(c, "X-Filler: %s\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}), open, 0, reasonBroken},
		{"redirects", serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		}), open, 307, ""},
		{"closes", "http://" + listen(t, func(c net.Conn) { readRequest(c) }), open, 0, reasonBroken},
		{"speaks something else", "http://" + listen(t, func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "220 mail.example ESMTP\r\n")
		}), open, 0, reasonBroken},
		{"has a bad certificate", withTLS.URL, open, 0, reasonTLS},
		{"speaks no TLS", strings.Replace(target, "http:", "https:", 1), open, 0, reasonTLS},
		{"is not there", dead.URL, open, 0, reasonConnect},
		{"has no address", "https://no..name/", open, 0, reasonDNS},
		{"is private", "https://127.0.0.1:8443/", &guard{}, 0, reasonBlocked},
		{"is private by name", "https://localhost:8443/", &guard{}, 0, reasonBlocked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			timeout := patience
			if tt.reason == reasonTimeout {
				timeout = shortTimeout
			} else if tt.name == dripping {
				timeout = longTimeout
			}
			o := post(t, strings.TrimSuffix(tt.url, "/")+"/"+hiddenPart+"?key="+hiddenPart, tt.g, timeout)
			if o.status != tt.status || o.reason != tt.reason {
				t.Errorf("outcome = %d %q (%v), want %d %q", o.status, o.reason, o.err, tt.status, tt.reason)
			}
			if o.took > patience {
				t.Errorf("took %v", o.took)
			}
			if o.err != nil && strings.Contains(o.err.Error(), hiddenPart) {
				t.Errorf("error quotes the URL: %v", o.err)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// patience is more than any step may take on a machine that is busy.
const patience = 20 * time.Second

// TestClosedConnection closes the connection between two requests, as servers
// do that wait for the next one only for so long.
func TestClosedConnection(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer srv.Close()
	s := newSender(&guard{allowed: loopback})
	defer s.close()
	for range 20 {
		if o := postWith(t, s, srv.URL); o.status != 200 {
			t.Fatalf("outcome = %+v, want 200", o)
		}
		srv.CloseClientConnections()
	}
	if n := requests.Load(); n != 20 {
		t.Errorf("%d requests, want 20", n)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"30", 30 * time.Second},
		{" 30 ", 30 * time.Second},
		{"86400", time.Hour},
		{"18446744073709551615", time.Hour},
		{"99999999999999999999", 0},
		{"-5", 0},
		{"soon", 0},
		{"Sun, 22 Nov 2026 10:02:00 GMT", 2 * time.Minute},
		{"Sun, 22 Nov 2026 09:00:00 GMT", 0},
		{"Mon, 23 Nov 2026 10:00:00 GMT", time.Hour},
	}
	for _, tt := range tests {
		if got := retryAfter(tt.value, now); got != tt.want {
			t.Errorf("retryAfter(%q) = %v, want %v", tt.value, got, tt.want)
		}
	}
}
