package main

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// TestStrangersConnections has a stranger hold three times as many connections
// as usher has file descriptors, to either listener. Neither is kept from
// answering, and requests that are under way are answered.
func TestStrangersConnections(t *testing.T) {
	const descriptors = 1024
	// The admin side answers what has a header at once, which ends a stranger's hold.
	for held, ways := range map[string]int{"the API": 4, "the admin listener": 2} {
		t.Run(held, func(t *testing.T) {
			t.Parallel()
			s := newBareScene(t)
			s.runUsherAs(func(c *exec.Cmd) {
				c.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, descriptors), c.Path}, c.Args[1:]...)
				c.Path = "/bin/sh"
			})
			s.until("usher leads", s.leads)
			fresh := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			addr := map[string]string{"the API": s.at.api, "the admin listener": s.at.admin}[held]
			for i := range 3 * descriptors {
				conn, err := net.Dial("tcp", addr)
				must(t, err)
				defer conn.Close()
				// Some say nothing, some begin a header, and some a body.
				_, _ = conn.Write([]byte([]string{
					"", "GET / HTTP/1.1\r\nHost: a\r\n",
					"POST /internal/jibri/recordings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
					"POST /v1/meetings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
				}[i%ways])) // it may be closed already
				if i%descriptors != descriptors-1 {
					continue
				}
				for what, url := range map[string]string{"the API": s.at.api + "/j/nowhere", "the admin listener": s.at.admin + "/livez"} {
					want := map[string]string{"the API": "404", "the admin listener": "200"}[what]
					begin := time.Now()
					got := "no answer"
					if resp, err := fresh.Get("http://" + url); err == nil {
						resp.Body.Close()
						got = strconv.Itoa(resp.StatusCode)
					}
					if took := time.Since(begin); got != want || took > 2*time.Second {
						t.Errorf("beside %d connections to %s %s answers %s after %v, want %s within 2s", i+1, held, what, got, took, want)
					}
				}
			}
			s.create("standup")
		})
	}
}
