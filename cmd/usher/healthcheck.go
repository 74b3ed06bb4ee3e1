package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"usher/api"
	"usher/internal/app"
)

const (
	// healthTimeout is twice what /readyz takes at most; container platforms
	// commonly give a check more than that.
	healthTimeout = 2 * api.CheckTimeout
	// maxHealth is how much of the answer is read, in bytes; it has a line per check.
	maxHealth = 1 << 20
)

// healthcheckCommand is `usher healthcheck`, for images that hold no curl.
type healthcheckCommand struct {
	AdminListen string `default:"127.0.0.1:9480" help:"Address of the running usher's admin listener, as usher serve has it."`
	Live        bool   `env:"-" help:"Ask only whether it runs, not whether it is ready."`
}

// Run prints whether usher is ready, and what somebody should look at. It returns an
// error with what is missing when it is not ready, or does not answer within four
// seconds.
func (c *healthcheckCommand) Run(ctx context.Context) error { return c.ask(ctx, os.Stdout) }

func (c *healthcheckCommand) ask(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	path := "/readyz"
	if c.Live {
		path = "/livez"
	}
	// An address without a host, or one that stands for all, is this machine here too.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "http", Host: c.AdminListen, Path: path}).String(), nil)
	if err != nil {
		return fmt.Errorf("USHER_ADMIN_LISTEN: %w", err)
	}
	resp, err := app.Direct.Do(req)
	if err != nil {
		return fmt.Errorf("usher does not answer at USHER_ADMIN_LISTEN: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("usher's answer at USHER_ADMIN_LISTEN breaks off: %w", err)
	}
	if c.Live && resp.StatusCode == http.StatusOK {
		_, err = fmt.Fprintln(out, strings.TrimSpace(string(text)))
		return err
	}
	var ready api.Readiness
	if err := json.Unmarshal(text, &ready); err != nil || len(ready.Checks) == 0 {
		return fmt.Errorf("what answers at USHER_ADMIN_LISTEN (%s) is not usher: %s", c.AdminListen, resp.Status)
	}
	if !ready.Ready {
		return errors.New("not ready" + complaints(ready))
	}
	_, err = fmt.Fprintf(out, "ready: %s, %s%s\n", ready.Role, ready.Mode, complaints(ready))
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
