// Command usher follows the meetings of a Jitsi site. See `usher --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"usher/config"
	"usher/internal/app"
)

type cli struct {
	Serve    serveCommand    `cmd:"" help:"Run usher."`
	Finalize finalizeCommand `cmd:"" help:"Hand a finished recording over: what Jibri's finalize script calls."`
	Token    tokenCommand    `cmd:"" help:"Make and examine the tokens that let people into rooms."`
	Webhooks webhooksCommand `cmd:"" help:"Receive webhooks here, or try a receiver."`
	Events   eventsCommand   `cmd:"" help:"Follow the events of a running usher."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	Config      configCommand      `cmd:"" help:"Write and check the settings of usher serve."`
	Doctor      doctorCommand      `cmd:"" help:"Look at usher, Prosody, Jicofo, Redis, the web client and webhook receivers, and say what is wrong and the line that mends it; exit 1 if something fails. A running usher is not disturbed."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask a running usher whether it is ready; exit 1 if it is not."`
}

// Settings are those of usher serve, with where they come from. It is exported for
// kong, which does not call hooks of others.
type Settings struct {
	config.Config
	File config.File `name:"config" help:"JSON file with settings, named like the flags."`
}

// AfterApply notes variables that look like settings and are none. Kong calls it.
func (s *Settings) AfterApply(ctx *kong.Context) error {
	s.Warnings = append(s.Warnings, config.UnknownVariables(ctx.Model, os.Environ())...)
	return nil
}

// serveCommand is `usher serve`.
type serveCommand struct{ Settings }

// Run serves until a signal comes.
func (c *serveCommand) Run(ctx context.Context, stderr io.Writer) error {
	log := newLog(stderr, c.LogLevel)
	slog.SetDefault(log) // for libraries that log by themselves, net/http among them
	// Whoever reads the log may end. usher goes on without.
	signal.Ignore(syscall.SIGPIPE)
	return app.Run(ctx, c.Config, log, nil)
}

// versionCommand is `usher version`.
type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run() error {
	_, err := fmt.Println("usher", app.Version())
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stderr := app.NewLogWriter(os.Stderr)
	err := run(ctx, os.Args[1:], os.LookupEnv, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "usher:", err)
	}
	stderr.Close()
	if err != nil {
		os.Exit(1)
	}
}

// run parses the arguments and runs the command they name until it is done or
// ctx ends.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), stderr io.Writer) error {
	line := commandLine{args, lookup}
	_, command, err := line.parse(
		kong.Bind(line),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stderr, (*io.Writer)(nil)),
	)
	if err != nil {
		return noteAnyway(line, err)
	}
	if err := command.Run(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// commandLine is what usher was called with.
type commandLine struct {
	args   []string
	lookup func(string) (string, bool) // of the environment
}

// parse reads it, and the files that it names as they are now.
func (l commandLine) parse(options ...kong.Option) (*cli, *kong.Context, error) {
	c := &cli{}
	parser, err := kong.New(c, slices.Concat(config.Options(l.lookup), []kong.Option{
		kong.Name("usher"),
		kong.Description("usher follows the meetings of a Jitsi site: who is in, since when, and until when."),
	}, options)...)
	if err != nil {
		return nil, nil, fmt.Errorf("define the command line: %w", err)
	}
	command, err := parser.Parse(l.args)
	return c, command, err
}

func newLog(w io.Writer, level slog.Level) *slog.Logger { return app.NewLog(w, level) }
