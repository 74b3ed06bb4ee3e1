package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"usher/jibri/handover"
)

// finalizeCommand is `usher finalize`.
type finalizeCommand struct {
	Dir string `arg:"" optional:"" help:"Session directory, the one argument that Jibri gives its finalize script."`
	handover.Settings
	Resume     bool            `env:"-" help:"Without a directory: go on with what was left, as after a reboot."`
	Check      bool            `env:"-" help:"Only ask usher whether it accepts the recorder's name and secret."`
	Foreground bool            `env:"-" help:"Work here and not detached, until all is done."`
	LogLevel   slog.Level      `default:"info" help:"debug, info, warn or error."`
	File       kong.ConfigFlag `name:"config" help:"JSON file with settings, named like the flags."`
}

// Run notes the directory and leaves the rest to a process of its own.
func (c *finalizeCommand) Run(ctx context.Context, stderr io.Writer) error {
	if c.Recorder == "" {
		c.Recorder, _ = os.Hostname()
	}
	if c.Check {
		if err := c.Settings.Check(); err != nil {
			return err
		}
		if err := handover.Check(ctx, c.Settings); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "%s takes what %s hands over\n", c.URL, c.Recorder)
		return nil
	}
	if c.Dir == "" && !c.Resume {
		return errors.New("finalize needs a session directory, or --resume")
	}
	spool, err := handover.OpenSpool(c.SpoolDir)
	if err != nil {
		return err
	}
	if c.Dir != "" {
		if err := spool.Add(c.Dir); err != nil {
			return err
		}
	}
	if err := c.Settings.Check(); err != nil {
		return noted(err, c.Dir, c.SpoolDir)
	}
	if c.Foreground {
		return handover.NewWorker(spool, c.Settings, newLog(stderr, c.LogLevel), nil).Run(ctx)
	}
	if more, err := spool.Pending(); err != nil || !more {
		return err
	}
	return noted(spool.Detach(detached(os.Args[1:], c.Dir)...), c.Dir, c.SpoolDir)
}

// detached are the arguments of the process that works: the same settings, but
// no directory, which is in the spool already.
func detached(args []string, dir string) []string {
	args = slices.Clone(args)
	for i := len(args) - 1; i >= 0 && dir != ""; i-- {
		if args[i] == dir { // the last one: it may be the value of a flag as well
			args = slices.Delete(args, i, i+1)
			break
		}
	}
	return append(args, "--resume", "--foreground")
}

// noted adds to an error that the directory is not forgotten.
func noted(err error, dir, spool string) error {
	if err == nil || dir == "" {
		return err
	}
	return fmt.Errorf("%w\n%s is noted in %s; once this is put right, `usher finalize --resume` goes on with it", err, dir, spool)
}

// noteAnyway notes the directory of a finalize command that could not be read,
// for want of a file that holds a setting, say. Jibri calls its hook once.
func noteAnyway(args []string, lookup func(string) (string, bool), err error) error {
	if len(args) < 2 || args[0] != "finalize" {
		return err
	}
	dir, dirs := args[len(args)-1], handover.SpoolDir
	if strings.HasPrefix(dir, "-") {
		return err
	}
	if env, ok := lookup("USHER_SPOOL_DIR"); ok && env != "" {
		dirs = env
	}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--spool-dir="); ok {
			dirs = value
		} else if arg == "--spool-dir" && i+1 < len(args)-1 {
			dirs = args[i+1]
		}
	}
	spool, err2 := handover.OpenSpool(dirs)
	if err2 == nil {
		err2 = spool.Add(dir)
	}
	if err2 != nil {
		return errors.Join(err, err2)
	}
	return noted(err, dir, dirs)
}
