// Command usher-lab shows usher on this machine and measures it; it is not part
// of what a site runs. The usher that it uses is the program beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"usher/internal/app"
)

type cli struct {
	Demo  demoCommand  `cmd:"" help:"Start Prosody, Redis and usher on loopback and play one meeting."`
	Bench benchCommand `cmd:"" help:"Measure the figures of docs/benchmarks.md."`
	Chaos chaosCommand `cmd:"" help:"Let things go wrong, and compare what apps got with what happened."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := kong.Parse(&cli{}, kong.Name("usher-lab"),
		kong.Description("usher-lab shows usher on this machine and measures it."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(os.Stderr, (*io.Writer)(nil)))
	if err := command.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "usher-lab:", err)
		os.Exit(1)
	}
}

// usherFlag is the flag that names the program to show or to measure.
type usherFlag struct {
	Usher string `placeholder:"FILE" help:"The usher to use; default: the one beside this program."`
}

// program returns the path of the usher.
func (f usherFlag) program() (string, error) {
	path := f.Usher
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "usher")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no usher to use (`make build` makes one): %w", err)
	}
	return filepath.Abs(path)
}

func newLog(w io.Writer, level slog.Level) *slog.Logger { return app.NewLog(w, level) }
