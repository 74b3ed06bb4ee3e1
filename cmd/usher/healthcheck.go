package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"usher/api"
	"usher/internal/app"
)

// healthcheckCommand is `usher healthcheck`, for images that hold no curl.
type healthcheckCommand struct {
	AdminListen string `default:"127.0.0.1:9480" help:"Address of the running usher's admin listener, as usher serve has it."`
	Live        bool   `env:"-" help:"Ask only whether it runs, not whether it is ready."`
}

// Run prints whether usher is ready, and what somebody should look at. It returns an
// error with what is missing when it is not ready, or does not answer within three
// seconds.
func (c *healthcheckCommand) Run(ctx context.Context) error { return c.ask(ctx, os.Stdout) }

func (c *healthcheckCommand) ask(ctx context.Context, out io.Writer) error {
	var ready *api.Readiness
	var err error
	said := "ok"
	if c.Live {
		err = app.Livez(ctx, c.AdminListen)
	} else if ready, err = app.Readyz(ctx, c.AdminListen); err == nil {
		said = fmt.Sprintf("ready: %s, %s%s", ready.Role, ready.Mode, complaints(*ready))
	}
	switch {
	case err != nil:
		return fmt.Errorf("usher does not answer at USHER_ADMIN_LISTEN (%s): %w", c.AdminListen, err)
	case !c.Live && !ready.Ready:
		return errors.New("not ready" + complaints(*ready))
	}
	_, err = fmt.Fprintln(out, said)
	return err
}

// complaints returns a line, with a newline in front, for each check that is not
// ok, the worst first.
func complaints(ready api.Readiness) string {
	lines := map[api.CheckState]string{}
	for _, c := range ready.Checks {
		line := fmt.Sprintf("\n%-4s %s: %s", c.State, c.Name, c.Seen)
		if c.Do != "" {
			line += "\n     -> " + c.Do
		}
		lines[c.State] += line
	}
	return lines[api.CheckFail] + lines[api.CheckWarn]
}
