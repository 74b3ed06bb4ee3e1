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
	Listen  webhooksListenCommand  `cmd:"" help:"Be a webhook receiver on this machine: verify what arrives, and show it. Or send a receiver on this machine what happens at a running usher."`
	Test    webhooksTestCommand    `cmd:"" help:"Send a signed webhook.test event to a receiver from here, without a running usher; exit 1 unless it takes it."`
	Trigger webhooksTriggerCommand `cmd:"" help:"Send a made-up event of a type to a receiver from here, without a running usher; exit 1 unless it takes it."`
}

// receiver is whom an event is sent to.
type receiver struct {
	URL     string        `name:"url" env:"-" required:"" help:"The receiver. Any address goes, private ones and http too: whoever types it may reach it anyhow."`
	Secret  config.Secret `required:"" env:"USHER_ENDPOINT_SECRET" placeholder:"whsec_..." help:"Secret of the endpoint, as the API showed it once."`
	Dialect string        `env:"-" default:"standard" help:"Shape of what is sent: standard, whereby, jitsi or event_sync."`
}

// webhooksListenCommand is `usher webhooks listen`.
type webhooksListenCommand struct {
	Addr      string        `env:"-" default:"127.0.0.1:4000" help:"Address to listen on, host:port; any path will do."`
	Secret    config.Secret `env:"USHER_ENDPOINT_SECRET" placeholder:"whsec_..." help:"Secret of the endpoint, as the API showed it once; with --forward-to a new one is shown if none is given."`
	ForwardTo string        `env:"-" placeholder:"http://127.0.0.1:3000/hooks" help:"Listen nowhere: follow the events of a running usher, and send each to this receiver, signed, as a webhook endpoint of usher's would get it. No endpoint is needed, nor that usher reaches the receiver."`
	API       string        `name:"api" default:"http://127.0.0.1:8480" help:"URL of the API, with --forward-to."`
	Key       config.Secret `help:"API key with the scope events:read, with --forward-to."`
	Dialect   string        `env:"-" default:"standard" help:"Shape of what is sent, with --forward-to: standard, whereby, jitsi or event_sync."`
	Meeting   string        `env:"-" help:"Only events of the meeting with this id, with --forward-to."`
}

// Run shows what arrives, or is sent on, until ctx ends.
func (c *webhooksListenCommand) Run(ctx context.Context, stderr io.Writer) error {
	switch {
	case c.ForwardTo != "":
		return c.forward(ctx, os.Stdout, stderr)
	case c.Secret == "":
		return errors.New("--secret or USHER_ENDPOINT_SECRET is needed to verify what arrives; with --forward-to it is not")
	}
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
type webhooksTestCommand struct{ receiver }

// Run sends the event and says what came of it.
func (c *webhooksTestCommand) Run(ctx context.Context) error {
	return c.send(ctx, os.Stdout)
}

func (c *webhooksTestCommand) send(ctx context.Context, out io.Writer) error {
	d, id, err := c.deliverer()
	if err != nil {
		return err
	}
	a, err := d.Test(ctx, id)
	if err == nil {
		err = refusal(a)
	}
	if err != nil {
		return err
	}
	return sayTaken(out, a)
}

// deliverer returns what sends to the receiver, and what it calls it.
func (r receiver) deliverer() (d *webhook.Deliverer, id string, err error) {
	registry, err := webhook.NewRegistry(webhook.Config{
		Endpoints:  []webhook.Endpoint{{Name: "test", URL: r.URL, Dialect: r.Dialect, Secrets: []webhook.Secret{{Key: r.Secret}}}},
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Dialects:   app.Dialects("main", "muc.meet.jitsi"),
	})
	if err != nil {
		return nil, "", err
	}
	return webhook.NewDeliverer(registry), registry.List()[0].ID, nil
}

// refusal returns why a receiver has not taken an event.
func refusal(a webhook.Attempt) error {
	switch {
	case a.Status == 0:
		return fmt.Errorf("no answer: %s, after %d ms", a.Error, a.DurationMS)
	case a.Result != meeting.Delivered:
		return fmt.Errorf("refused: the answer was %d %s, after %d ms", a.Status, http.StatusText(a.Status), a.DurationMS)
	}
	return nil
}

func sayTaken(out io.Writer, a webhook.Attempt) error {
	_, err := fmt.Fprintf(out, "%s %s taken with %d, after %d ms\n", a.EventType, a.EventID, a.Status, a.DurationMS)
	return err
}
