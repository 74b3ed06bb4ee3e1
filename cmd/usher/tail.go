package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"usher/api"
	"usher/config"
	"usher/internal/sleep"
)

const (
	// tailSilence ends a stream that shows no sign of life: three heartbeats.
	tailSilence = 3 * api.StreamHeartbeat
	// tailRetry is the longest wait before the next connection; it is jittered
	// so that a restarted usher does not meet all listeners at once.
	tailRetry = 2 * time.Second
	// maxEventLine, in bytes, is far above any event's length.
	maxEventLine = 1 << 20
)

// eventsCommand is `usher events`.
type eventsCommand struct {
	Tail eventsTailCommand `cmd:"" help:"Follow the events of a running usher: one line of JSON each."`
}

// eventsTailCommand is `usher events tail`.
type eventsTailCommand struct {
	API     string        `name:"api" default:"http://127.0.0.1:8480" help:"URL of the API."`
	Key     config.Secret `required:"" help:"API key with the scope events:read."`
	Since   time.Duration `env:"-" placeholder:"10m" xor:"from" help:"Show first what happened in the time before, as far as the log goes back, which is seven days."`
	After   string        `env:"-" xor:"from" help:"Place in the log to go on after, as an earlier run printed it at its end; default: what happens from now on."`
	Meeting string        `env:"-" help:"Only events of the meeting with this id."`
}

// Run prints events until ctx ends. When the stream breaks it goes on where it
// was, so that nothing is missing and nothing comes twice.
func (c *eventsTailCommand) Run(ctx context.Context, stderr io.Writer) error {
	return c.follow(ctx, os.Stdout, stderr)
}

func (c *eventsTailCommand) follow(ctx context.Context, out, stderr io.Writer) error {
	defer func() {
		if c.After != "" {
			fmt.Fprintf(stderr, "to go on: --after=%s\n", c.After)
		}
	}()
	fmt.Fprintf(stderr, "following the events of %s until Ctrl-C\n", c.API)
	if c.Since > 0 {
		// A place in the log begins with its time.
		c.After = strconv.FormatInt(time.Now().Add(-c.Since).UnixMilli(), 10)
	}
	for {
		err := c.stream(ctx, out)
		if errors.Is(err, errFinal) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		fmt.Fprintf(stderr, "the stream broke, connecting again: %v\n", err)
		if !sleep.For(ctx, rand.N(tailRetry)) {
			return nil
		}
	}
}

// errFinal is an answer, or a broken output, that trying again does not change.
var errFinal = errors.New("cannot follow the events")

// stream prints the events of one connection until it ends; After follows them.
func (c *eventsTailCommand) stream(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(tailSilence, func() { cancel(fmt.Errorf("nothing came for %v", tailSilence)) })
	defer silence.Stop()
	target := strings.TrimRight(c.API, "/") + "/v1/events/stream"
	if c.Meeting != "" {
		target += "?meeting_id=" + url.QueryEscape(c.Meeting)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("%w: the API's URL makes no request", errFinal)
	}
	req.Header.Set("Authorization", "Bearer "+string(c.Key))
	if c.After != "" {
		req.Header.Set("Last-Event-ID", c.After)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxEventLine))
		err := fmt.Errorf("usher answers %s: %s", resp.Status, bytes.TrimSpace(text))
		if resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests {
			err = fmt.Errorf("%w: %w", errFinal, err)
		}
		return err
	}
	return c.print(ctx, resp.Body, out, silence)
}

// print reads server-sent events (HTML Standard, section 9.2.6) as usher writes
// them: data on one line.
func (c *eventsTailCommand) print(ctx context.Context, body io.Reader, out io.Writer, silence *time.Timer) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	place, data := "", ""
	for lines.Scan() {
		silence.Reset(tailSilence)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "id":
			place = value
		case field == "data":
			data = value
		case lines.Text() == "":
			if data != "" {
				if _, err := fmt.Fprintln(out, data); err != nil {
					return fmt.Errorf("%w: cannot write: %w", errFinal, err)
				}
			}
			if place != "" {
				c.After = place
			}
			place, data = "", ""
		}
	}
	return cmp.Or(context.Cause(ctx), lines.Err(), io.ErrUnexpectedEOF)
}
