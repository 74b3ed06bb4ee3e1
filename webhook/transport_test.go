package webhook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestConnections makes two requests of receivers that do with their connections
// what servers do: both are answered, on one connection where it is fit for both.
func TestConnections(t *testing.T) {
	const ok, empty = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	tests := []struct {
		name, answer string
		idle         time.Duration // between the requests
		behind       string        // what the server says once it has answered
		connections  int32
	}{
		{"keeps it", empty, 0, "", 1},
		{"keeps it and has a body", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 0, "", 1},
		{"says what comes first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + empty, 0, "", 1},
		{"is quiet", empty, 2 * quietConnection, "", 1},
		{"is quiet for long", empty, idleConnection + time.Second, "", 2},
		{"says 408 when it was idle", empty, 2 * quietConnection, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", 2},
		{"wants it closed", ok + "Content-Length: 0\r\nConnection: close\r\n\r\n", 0, "", 2},
		{"is of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0, "", 2},
		{"says more than it was asked", empty + empty, 0, "", 2},
		{"answers too much", ok + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 2*maxAnswer, strings.Repeat("x", 2*maxAnswer)), 0, "", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var connections atomic.Int32
			addr := listen(t, func(c net.Conn) {
				connections.Add(1)
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(c, tt.answer+tt.behind)
				}
			})
			s := newSender(&guard{allowed: loopback})
			defer func() { s.tidy(time.Now()) }()
			for range 2 {
				if o := postWith(t, s, "http://"+addr+"/"); o.status != http.StatusOK {
					t.Fatalf("outcome = %+v, want 200", o)
				}
				for _, c := range s.transports["http"].(*transport).idle[addr] {
					c.used = c.used.Add(-tt.idle)
				}
			}
			if n := connections.Load(); n != tt.connections {
				t.Errorf("%d connections, want %d", n, tt.connections)
			}
		})
	}
}

// TestUnicodeHost dials a name with letters that DNS has not.
func TestUnicodeHost(t *testing.T) {
	for raw, want := range map[string]string{
		"https://b\u00fccher.example/":  "xn--bcher-kva.example:443",
		"https://a_b.example:8443/":     "a_b.example:8443",
		"https://[2001:db8::1]/":        "[2001:db8::1]:443",
		"https://192.0.2.1:8443/?q=a/b": "192.0.2.1:8443",
	} {
		dialled := ""
		tr := &transport{port: "443", dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = address
			return nil, net.ErrClosed
		}}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.connect(t.Context(), u); !errors.Is(err, net.ErrClosed) || dialled != want {
			t.Errorf("%s is dialled as %q (%v), want %q", raw, dialled, err, want)
		}
	}
}
