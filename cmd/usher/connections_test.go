package main

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"
)

// TestStrangersConnections has a stranger hold three times as many connections
// as usher has file descriptors. Neither the API nor the admin listener is kept
// from answering, and requests that are under way are answered.
func TestStrangersConnections(t *testing.T) {
	t.Parallel()
	const descriptors = 1024
	s := newBareScene(t)
	s.runUsherAs(func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, descriptors), c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	})
	s.until("usher leads", func() bool { return s.notReady()["meetings"] == "" })
	for i := range 3 * descriptors {
		conn, err := net.Dial("tcp", s.at.api)
		must(t, err)
		defer conn.Close()
		// Some say nothing, some begin a header, and some a body.
		_, _ = conn.Write([]byte([]string{
			"", "GET / HTTP/1.1\r\nHost: a\r\n",
			"POST /internal/jibri/recordings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
			"POST /v1/meetings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
		}[i%4])) // it may be closed already
		if i%descriptors != descriptors-1 {
			continue
		}
		for what, url := range map[string]string{"the API": s.at.api + "/j/nowhere", "the admin listener": s.at.admin + "/livez"} {
			want := map[string]string{"the API": "404", "the admin listener": "200"}[what]
			begin := time.Now()
			got := (asked{method: "GET", url: "http://" + url}).status()
			if took := time.Since(begin); got != want || took > 2*time.Second {
				t.Errorf("beside %d connections %s answers %s after %v, want %s within 2s", i+1, what, got, took, want)
			}
		}
	}
	s.create("standup")
}
