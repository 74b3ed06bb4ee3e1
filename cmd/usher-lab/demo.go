package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/internal/stack"
)

// demoCommand is `usher-lab demo`.
type demoCommand struct {
	usherFlag
	Once bool   `help:"Stop after the meeting; exit 0 only if everything was recorded, in order."`
	Dir  string `default:".run" help:"Folder for demo.env, and for a folder with the files of Prosody, Redis and usher."`
}

// Run plays the meeting and, without Once, stays up until ctx ends.
func (c *demoCommand) Run(ctx context.Context) error {
	return demo(ctx, *c, os.Stdout)
}

// runDir makes a folder for one run, so that nothing of an earlier one that was
// killed is taken for this one's. Only demo.env has a place that others can know.
func (c *demoCommand) runDir() (string, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(c.Dir, "demo-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

func demo(ctx context.Context, c demoCommand, out io.Writer) (err error) {
	program, err := c.program()
	if err != nil {
		return err
	}
	dir, err := c.runDir()
	if err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(dir, "usher.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()

	begin := time.Now()
	fmt.Fprintf(out, "starting Prosody, Redis and usher in %s\n", dir)
	around, err := startOutside(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, around.stop()) }()
	bridges, err := stack.FreeAddr()
	if err != nil {
		return err
	}
	flags := append(around.flags(), "--tracks-listen="+bridges, "--tracks-url=ws://"+bridges, "--tracks-notice=app")
	site, err := localsite.Start(ctx, dir, newLog(logFile, slog.LevelInfo), flags...)
	if err != nil {
		return err
	}
	site.Program = program
	defer func() {
		err = errors.Join(err, site.Stop())
		if err == nil {
			err = os.RemoveAll(dir) // nothing went wrong that its logs could explain
		}
	}()
	env := filepath.Join(c.Dir, "demo.env")
	if err := site.WriteEnv(env); err != nil {
		return err
	}
	defer os.Remove(env)
	fmt.Fprintf(out, `ready after %d ms

Times are from the stanza or request until its events were seen in Redis, which
is looked at every millisecond, and at the end of each line until an app had
them over signed webhooks. They include Prosody's own limit on browsers, 10 kB/s
each as in docker-jitsi-meet.

`, time.Since(begin).Milliseconds())

	jvb, err := site.StartJVB(ctx)
	if err != nil {
		return err
	}
	defer jvb.Close()
	if err := play(ctx, site, around, jvb, dir, out); err != nil {
		return err
	}
	if !c.Once {
		fmt.Fprintf(out, `
Still up until Ctrl-C, and people come and go every %v. To try it, in another shell:

  . %s
  curl -s -H "Authorization: Bearer $USHER_KEY" $USHER_API/v1/meetings
  curl -s -H "Authorization: Bearer $USHER_KEY" -H 'Content-Type: application/json' \
    -d '{"name_prefix":"standup"}' $USHER_API/v1/meetings
  curl -s -H "Authorization: Bearer $USHER_KEY" $USHER_API/v1/recordings
  curl -s -H "Authorization: Bearer $USHER_KEY" $USHER_WHEREBY/insights/room-sessions
  curl -s -H "Authorization: Bearer $USHER_KEY" $USHER_API/v1/webhooks
  USHER_API=$USHER_API USHER_KEY=$USHER_KEY %s events tail --since=1m
  curl -s $USHER_ADMIN/readyz
  curl -s $USHER_ADMIN/metrics | grep ^usher_

API %s, metrics and health %s, OpenAPI at %s/openapi.json
`, comingInterval, env, program, "http://"+site.At.API, "http://"+site.At.Admin, "http://"+site.At.API)
		living, stop := context.WithCancel(ctx)
		defer stop()
		people := make(chan error, 1)
		go func() { people <- keepComing(living, site, comingInterval) }()
		select {
		case err := <-people:
			if err != nil {
				return err
			}
		case <-site.Prosody.Exited():
			stop()
			return errors.Join(errors.New("prosody ended"), <-people)
		}
		fmt.Fprintln(out, "\nstopping")
	}
	return nil
}

// play plays one meeting after the other and prints what came of them.
func play(ctx context.Context, site *localsite.Site, around *outside, jvb *sim.JVB, dir string, out io.Writer) error {
	result, err := playMeeting(ctx, site, around, out)
	if err != nil {
		return err
	}
	recorded, err := playRecordings(ctx, site, dir, out)
	if err != nil {
		return err
	}
	if err := playWhereby(ctx, site, around, out); err != nil {
		return err
	}
	tracks, err := playTracks(ctx, site, jvb, out)
	if err != nil {
		return err
	}
	counted, err := playCounts(ctx, site, around, dir, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s %s %s %s\n", result, recorded, counted, tracks)
	return nil
}
