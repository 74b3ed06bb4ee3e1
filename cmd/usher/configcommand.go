package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"usher/internal/app"
)

// configCommand is `usher config`.
type configCommand struct {
	Init  configInitCommand  `cmd:"" help:"Write a file of variables for usher serve, with the names of a Jitsi site and new secrets."`
	Check configCheckCommand `cmd:"" help:"Check the settings of usher serve, and start nothing; exit 1 if something is wrong."`
}

// configInitCommand is `usher config init`.
type configInitCommand struct {
	SiteURL string `name:"site-url" required:"" help:"URL of the site, whose config.js is read."`
	Out     string `env:"-" default:"usher.env" help:"File to write, which must not be there yet."`
}

// initSecrets are the settings that config init makes up.
var initSecrets = []string{
	"USHER_COMPONENT_SECRET", "USHER_OCCUPANT_PASSWORD", "USHER_BREWERY_PASSWORD", "USHER_RESERVATION_TOKEN", "USHER_SEAL_SECRET", "USHER_API_KEY",
}

// Run writes the file, readable by its owner alone, and prints what to do with it.
// It overwrites nothing.
func (c *configInitCommand) Run(ctx context.Context) error { return c.write(ctx, os.Stdout) }

func (c *configInitCommand) write(ctx context.Context, out io.Writer) error {
	names, err := app.ReadSite(ctx, c.SiteURL)
	if err != nil {
		return fmt.Errorf("site-url: %w", err)
	}
	if names.Domain == "" || names.MUC == "" {
		return fmt.Errorf("site-url: config.js of %s names no domain and rooms (hosts.domain, hosts.muc); is it a Jitsi site?", c.SiteURL)
	}
	site := strings.TrimSuffix(c.SiteURL, "/")
	read, assumed := names.Variables()
	text := "# From " + site + "/config.js.\n" + lines(read) + "USHER_SITE_URL=" + site + "\n" +
		"\n# Not in it: as the site's packages have it unless somebody has changed them.\n" + lines(assumed) +
		"USHER_PUBLIC_URL=" + site + "\n" +
		"\n# Prosody has the first four too: prosody-config/README.md.\n"
	for _, name := range initSecrets {
		text += name + "=" + rand.Text() + rand.Text() + "\n"
	}
	file, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("out: %w", err)
	}
	_, err = io.WriteString(file, text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("out: %w", err)
	}
	if names.Hidden == "" {
		fmt.Fprintln(out, "the web client hides no domain, so people would see usher: set hiddenDomain in config.js, or ENABLE_RECORDING=1 in docker-jitsi-meet")
	}
	path := c.Out
	if !strings.Contains(path, "/") {
		path = "./" + path // a shell looks for it in its path otherwise
	}
	_, err = fmt.Fprintf(out, "wrote %s; look at these, which config.js does not say:\n%sthen: set -a; . %s; usher config check\n", c.Out, lines(assumed), path)
	return err
}

// lines puts each variable on a line of its own.
func lines(variables []string) string { return strings.Join(variables, "\n") + "\n" }

// configCheckCommand is `usher config check`.
type configCheckCommand struct{ Settings }

// Run prints that all is well, or returns all that is not. With a site-url it asks
// the site's web server, for ten seconds at most, and nobody else.
func (c *configCheckCommand) Run(ctx context.Context) error { return c.check(ctx, os.Stdout) }

func (c *configCheckCommand) check(ctx context.Context, out io.Writer) error {
	problems := []error{app.Check(c.Config)}
	for _, text := range c.Warnings {
		fmt.Fprintln(out, "warning:", text)
	}
	if c.SiteURL == "" {
		fmt.Fprintln(out, "without a site-url nothing compares usher's names with the site's")
	} else if names, err := app.ReadSite(ctx, c.SiteURL); err != nil {
		problems = append(problems, fmt.Errorf("site-url: %w", err))
	} else {
		for _, difference := range app.Differences(c.Config, names) {
			problems = append(problems, errors.New(difference.String()))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "the settings are well formed; usher doctor tries whether they work")
	return err
}
