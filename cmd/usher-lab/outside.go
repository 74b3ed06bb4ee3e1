package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"usher/api"
	"usher/internal/localsite"
	"usher/internal/stack"
	"usher/webhook"
)

// Paths on the outside.
const (
	configPath  = "/config.js"
	inboxPath   = "/hooks/standard"
	wherebyPath = "/hooks/whereby" // of an app that was written for Whereby
	countsPath  = "/hooks/counts"  // of another, in the meeting that is counted
)

// outside is what stands around a real usher and is simulated in the demo: the
// web server of the Jitsi site, where links lead, and an app's webhook inbox.
type outside struct {
	url    string
	server *http.Server
	served sync.WaitGroup

	mu      sync.Mutex
	inboxes map[string]http.Handler // by path, once the app has its secret
}

// startOutside listens on loopback until it is stopped.
func startOutside(ctx context.Context) (*outside, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &outside{url: "http://" + ln.Addr().String(), inboxes: map[string]http.Handler{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+configPath, func(w http.ResponseWriter, _ *http.Request) {
		// What usher looks for in the web client's configuration.
		fmt.Fprintf(w, "var config = {};\nconfig.hiddenDomain = '%s';\n", stack.HiddenDomain)
	})
	mux.HandleFunc("POST /hooks/", func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		inbox := o.inboxes[r.URL.Path]
		o.mu.Unlock()
		if inbox == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		inbox.ServeHTTP(w, r)
	})
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: api.ReadTimeout}
	o.served.Go(func() { _ = o.server.Serve(ln) }) // ends when it is closed
	return o, nil
}

// receive lets the inbox take what is delivered to the path from now on.
func (o *outside) receive(path string, inbox http.Handler) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inboxes[path] = inbox
}

// stop ends the server.
func (o *outside) stop() error {
	err := o.server.Close()
	o.served.Wait()
	return err
}

// flags are those of `usher serve` that let it reach the outside.
func (o *outside) flags() []string {
	return []string{"--site-url=" + o.url, "--webhook-allow=127.0.0.0/8"}
}

// click opens a join link as a browser does and returns the token that it
// leads to.
func click(ctx context.Context, link string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, http.NoBody)
	if err != nil {
		return "", err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, api.MaxBody))
	_, ticket, ok := strings.Cut(resp.Header.Get("Location"), "#jwt=")
	if resp.StatusCode != http.StatusFound || !ok {
		return "", fmt.Errorf("the link answers %s and leads to no room", resp.Status)
	}
	return ticket, nil
}

// subscribe makes an endpoint over the API whose deliveries the inbox on the
// outside verifies and hands over.
func (o *outside) subscribe(ctx context.Context, site *localsite.Site, got func(body []byte, at time.Time), refused func(error)) error {
	var made api.Webhook
	err := site.Call(ctx, http.MethodPost, "/v1/webhooks", map[string]any{"url": o.url + inboxPath, "name": "demo"}, &made)
	if err != nil {
		return err
	}
	if made.Secret == "" {
		return errors.New("the new webhook endpoint has no secret")
	}
	in, err := webhook.NewInbox(made.Secret, got, refused)
	if err != nil {
		return err
	}
	o.receive(inboxPath, in)
	return nil
}
