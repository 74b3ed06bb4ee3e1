package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"usher/webhook"
)

// forward sends what happens at a running usher to a receiver until ctx ends. What
// the receiver refuses is said and not sent again.
func (c *webhooksListenCommand) forward(ctx context.Context, out, stderr io.Writer) error {
	if c.Key == "" {
		return errors.New("--key or USHER_KEY is needed to follow the events")
	}
	secret := cmp.Or(c.Secret, webhook.NewSecret().Key)
	if c.Secret == "" {
		fmt.Fprintf(stderr, "signed with the secret %s\n", string(secret))
	}
	d, id, err := receiver{URL: c.ForwardTo, Secret: secret, Dialect: c.Dialect}.deliverer()
	if err != nil {
		return err
	}
	tail := eventsTailCommand{API: c.API, Key: c.Key, Meeting: c.Meeting}
	return tail.follow(ctx, &forwarder{ctx, d, id, out}, stderr)
}

// forwarder sends each event that is written to it, one at a time and so in order.
type forwarder struct {
	ctx context.Context //nolint:containedctx // of the command
	*webhook.Deliverer
	id  string
	out io.Writer
}

func (f *forwarder) Write(event []byte) (int, error) {
	a, err := f.Send(f.ctx, f.id, event)
	if err == nil {
		err = refusal(a)
	}
	if err != nil && a.EventType != "" {
		_, err = fmt.Fprintf(f.out, "%s %s %v\n", a.EventType, a.EventID, err)
	} else if err == nil {
		err = sayTaken(f.out, a)
	}
	return len(event), err
}
