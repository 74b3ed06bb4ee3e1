package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"usher/config"
	"usher/jibri/handover"
)

// finalizeCommand is `usher finalize`.
type finalizeCommand struct {
	Dir string `arg:"" optional:"" help:"Session directory, the one argument that Jibri gives its finalize script."`
	handover.Settings
	Resume     bool        `env:"-" help:"Without a directory: go on with what was left, as after a reboot."`
	Check      bool        `env:"-" help:"Only check the settings: ask usher whether it accepts the recorder's name and secret, and try the directories."`
	Foreground bool        `env:"-" help:"Work here and not detached, until all is done."`
	Worker     bool        `env:"-" hidden:"" help:"Be the detached process."`
	LogLevel   slog.Level  `default:"info" help:"debug, info, warn or error."`
	File       config.File `name:"config" help:"JSON file with settings, named like the flags."`
}

// Run notes the directory and leaves the rest to a process of its own.
func (c *finalizeCommand) Run(ctx context.Context, line commandLine, stderr io.Writer) error {
	if c.Check {
		return check(ctx, line, stderr)
	}
	if c.Dir == "" && !c.Resume && !c.Worker {
		return errors.New("finalize needs a session directory, or --resume")
	}
	spool, err := handover.OpenSpool(c.SpoolDir)
	if err != nil {
		return err
	}
	work := func() error {
		return handover.NewWorker(spool, line.finalizeSettings, newLog(stderr, c.LogLevel), nil).Run(ctx)
	}
	if c.Worker {
		if err := json.Unmarshal([]byte(os.Getenv(workerArgs)), &line.args); err != nil {
			return fmt.Errorf("read %s: %w", workerArgs, err)
		}
		return work()
	}
	if c.Dir != "" {
		if err := spool.Add(c.Dir); err != nil {
			return err
		}
	}
	if _, err := line.finalizeSettings(); err != nil {
		return noted(err, c.Dir, c.SpoolDir)
	}
	if c.Foreground {
		return work()
	}
	args, err := json.Marshal(line.args)
	if err == nil {
		err = spool.Detach(workerArgs+"="+string(args), "finalize", "--worker", "--spool-dir="+c.SpoolDir, "--log-level="+c.LogLevel.String())
	}
	return noted(err, c.Dir, c.SpoolDir)
}

// workerArgs is the variable with the arguments of the call that started a
// detached worker. They may hold secrets, so they are not among its own.
const workerArgs = "USHER_WORKER_ARGS"

// finalizeSettings returns the settings of `usher finalize` as they are now: the
// file of --config is read anew.
func (l commandLine) finalizeSettings() (handover.Settings, error) {
	c, _, err := l.parse()
	if err != nil {
		return handover.Settings{}, err
	}
	s := c.Finalize.Settings
	if s.Recorder == "" {
		s.Recorder, _ = os.Hostname()
	}
	return s, s.Check()
}

func check(ctx context.Context, line commandLine, stderr io.Writer) error {
	s, err := line.finalizeSettings()
	if err != nil {
		return err
	}
	version, err := handover.Check(ctx, s)
	if err == nil {
		fmt.Fprintf(stderr, "%s is usher %s and takes what %s hands over\n", s.URL, version, s.Recorder)
	}
	return err
}

// noted adds to an error that the directory is not forgotten.
func noted(err error, dir, spool string) error {
	if err == nil || dir == "" {
		return err
	}
	return fmt.Errorf("%w\n%s is noted in %s; once this is put right, `usher finalize --resume --spool-dir=%s` goes on with it, as does the next recording", err, dir, spool, spool)
}

// spoolSetting finds the spool in a configuration file that cannot be read as a
// whole.
var spoolSetting = regexp.MustCompile(`"spool[_-]dir"\s*:\s*"([^"\\]+)"`)

// noteAnyway notes the directory of a finalize command that could not be read,
// for want of a file that holds a setting, say. Jibri calls its hook once.
func noteAnyway(line commandLine, err error) error {
	if len(line.args) < 2 || line.args[0] != "finalize" {
		return err
	}
	var dir string
	given := map[string]string{} // flags and their values
	for i, arg := range line.args[1:] {
		before := line.args[i]
		name, value, isOne := strings.Cut(arg, "=")
		switch {
		case strings.HasPrefix(arg, "--") && isOne:
			given[name] = value
		case strings.HasPrefix(arg, "-"):
		case strings.HasPrefix(before, "--") && !strings.Contains(before, "=") && !slices.Contains([]string{"--resume", "--check", "--foreground"}, before):
			given[before] = arg
		default:
			dir = arg
		}
	}
	if dir == "" {
		return err
	}
	config, _ := os.ReadFile(given["--config"]) // it may be what is missing
	inConfig := ""
	if m := spoolSetting.FindSubmatch(config); m != nil {
		inConfig = string(m[1])
	}
	env, _ := line.lookup("USHER_SPOOL_DIR")
	spools := cmp.Or(given["--spool-dir"], env, inConfig, handover.SpoolDir)
	spool, err2 := handover.OpenSpool(spools)
	if err2 == nil {
		err2 = spool.Add(dir)
	}
	if err2 != nil {
		return errors.Join(err, err2)
	}
	return noted(err, dir, spools)
}
