package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"usher/config"
	"usher/internal/app"
	"usher/meeting"
	"usher/webhook"
)

// webhooksCommand is `usher webhooks`.
type webhooksCommand struct {
	Listen webhooksListenCommand `cmd:"" help:"Be a webhook receiver on this machine: verify what arrives, and show it."`
	Test   webhooksTestCommand   `cmd:"" help:"Send a signed webhook.test event to a receiver from here, without a running usher; exit 1 unless it takes it."`
}

// hookSecret is the flag that both have.
type hookSecret struct {
	Secret config.Secret `required:"" env:"USHER_ENDPOINT_SECRET" placeholder:"whsec_..." help:"Secret of the endpoint, as the API showed it once."`
}

// webhooksListenCommand is `usher webhooks listen`.
type webhooksListenCommand struct {
	Addr string `env:"-" default:"127.0.0.1:4000" help:"Address to listen on, host:port; any path will do."`
	hookSecret
}

// Run shows what arrives until ctx ends.
func (c *webhooksListenCommand) Run(ctx context.Context, stderr io.Writer) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "listening on http://%s/\n", ln.Addr())
	return listenForHooks(ctx, ln, c.Secret, os.Stdout)
}

// maxSeen is how many ids of events the inbox remembers, to mark what comes
// again; then it begins anew.
const maxSeen = 10_000

// listenForHooks serves until ctx ends, and closes ln.
func listenForHooks(ctx context.Context, ln net.Listener, secret config.Secret, out io.Writer) error {
	var mu sync.Mutex // one line at a time
	show := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.WriteString(out, printable(fmt.Sprintf(format, args...)))
	}
	seen := map[string]bool{}
	in, err := webhook.NewInbox(string(secret), func(body []byte, at time.Time) {
		var n meeting.Event
		if err := json.Unmarshal(body, &n); err != nil {
			show("verified, but no event: %v\n", err)
			return
		}
		mu.Lock()
		again := ""
		if seen[n.ID] {
			again = "  again"
		}
		if len(seen) >= maxSeen {
			clear(seen)
		}
		seen[n.ID] = true
		mu.Unlock()
		show("%s  %-20s  %s  seq %-4d  %s  %.1f ms%s\n", at.UTC().Format("15:04:05.000"), n.Type, n.ID, n.Seq, n.MeetingID,
			float64(at.Sub(n.Timestamp.Time).Microseconds())/1000, again)
	}, func(err error) { show("%s  refused: %v\n", time.Now().UTC().Format("15:04:05.000"), err) })
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	return app.ServeHTTP(ctx, ln, in, slog.New(slog.DiscardHandler))
}

// webhooksTestCommand is `usher webhooks test`.
type webhooksTestCommand struct {
	URL string `name:"url" env:"-" required:"" help:"The receiver. Any address goes, private ones and http too: whoever types it may reach it anyhow."`
	hookSecret
}

// Run sends the event and says what came of it.
func (c *webhooksTestCommand) Run(ctx context.Context) error {
	return c.send(ctx, os.Stdout)
}

func (c *webhooksTestCommand) send(ctx context.Context, out io.Writer) error {
	registry, err := webhook.NewRegistry(webhook.Config{
		Endpoints:  []webhook.Endpoint{{Name: "test", URL: c.URL, Secrets: []webhook.Secret{{Key: c.Secret}}}},
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	})
	if err != nil {
		return err
	}
	a, err := webhook.NewDeliverer(registry).Test(ctx, registry.List()[0].ID)
	switch {
	case err != nil:
		return err
	case a.Status == 0:
		return fmt.Errorf("no answer: %s, after %d ms", a.Error, a.DurationMS)
	case a.Result != meeting.Delivered:
		return fmt.Errorf("refused: the answer was %d %s, after %d ms", a.Status, http.StatusText(a.Status), a.DurationMS)
	}
	_, err = fmt.Fprintf(out, "%s %s taken with %d, after %d ms\n", a.EventType, a.EventID, a.Status, a.DurationMS)
	return err
}
