package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"usher/api"
	"usher/internal/app"
)

// doctorCommand is `usher doctor`.
type doctorCommand struct {
	Settings
	JSON bool `name:"json" env:"-" help:"Print the list as JSON: name, state (ok, warn or fail), what was seen, what to do."`
}

// Run prints what was found and what mends it, and returns an error when a check
// fails. It blocks for ten seconds at most.
func (c *doctorCommand) Run(ctx context.Context) error { return c.look(ctx, os.Stdout) }

func (c *doctorCommand) look(ctx context.Context, out io.Writer) error {
	found := app.Doctor(ctx, c.Config)
	failed := 0
	for _, r := range found {
		if r.State == api.CheckFail {
			failed++
		}
	}
	if c.JSON {
		text, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", text)
	} else {
		for _, r := range found {
			fmt.Fprintf(out, "%-4s  %s: %s\n", r.State, r.Name, r.Seen)
			if r.Do != "" {
				fmt.Fprintf(out, "      -> %s\n", r.Do)
			}
		}
	}
	if failed > 0 {
		return errors.New(plural(failed, "check") + " failed, as said above")
	}
	return nil
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
