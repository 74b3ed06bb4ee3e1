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

// Run prints what usher says of itself, and returns an error with what is
// missing when it is not ready, or does not answer within four seconds.
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
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("usher does not answer at USHER_ADMIN_LISTEN: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("usher's answer at USHER_ADMIN_LISTEN breaks off: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		_, err = fmt.Fprintln(out, strings.TrimSpace(string(text)))
		return err
	}
	var ready struct {
		Checks []struct{ Name, Error string }
	}
	if err := json.Unmarshal(text, &ready); err != nil || len(ready.Checks) == 0 {
		return fmt.Errorf("what answers at USHER_ADMIN_LISTEN (%s) is not usher: %s", c.AdminListen, resp.Status)
	}
	missing := []error{errors.New("not ready")}
	for _, check := range ready.Checks {
		if check.Error != "" {
			missing = append(missing, fmt.Errorf("%s: %s", check.Name, check.Error))
		}
	}
	return errors.Join(missing...)
}
