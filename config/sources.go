package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Options are the kong options that settings are read with; lookup is
// os.LookupEnv outside tests.
func Options(lookup func(string) (string, bool)) []kong.Option {
	s := &sources{lookup: lookup}
	return []kong.Option{
		kong.DefaultEnvars("USHER"),
		kong.WithBeforeReset(readEnvironmentOurselves),
		kong.ValueFormatter(withVariable),
		kong.WithBeforeResolve(s.readFile),
		kong.Resolvers(s),
		kong.WithBeforeApply(func() error { return errors.Join(s.problems...) }),
	}
}

// File is the type of the flag that names a JSON file with settings.
type File string

// sources are where settings come from besides flags: the environment, and then the
// file. Everything that cannot be read is kept in problems, which name where it is.
type sources struct {
	lookup   func(string) (string, bool)
	file     *settingsFile // nil: none is named
	problems []error
}

// readEnvironmentOurselves has kong leave the variables of flags to [sources]: kong
// quotes those that it cannot read, secrets too, and lets the file beat them.
func readEnvironmentOurselves(ctx *kong.Context) error {
	for _, flag := range allFlags(ctx.Model) {
		flag.Tag.Envs = nil
	}
	return nil
}

// withVariable is the help of a setting, with the name of its variable.
func withVariable(v *kong.Value) string {
	if v.Flag == nil || len(v.Flag.Envs) == 0 {
		return v.Help
	}
	return fmt.Sprintf("%s ($%s).", strings.TrimSuffix(v.Help, "."), v.Flag.Envs[0])
}

// readFile reads the file that the command's flag of the type [File] names, or its
// variable. Kong calls it more than once.
func (s *sources) readFile(ctx *kong.Context) error {
	if s.file != nil {
		return nil
	}
	for _, path := range ctx.Path {
		for _, flag := range path.Flags {
			if flag.Target.Type() != reflect.TypeFor[File]() {
				continue
			}
			name, _ := ctx.FlagValue(flag).(File)
			if name == "" {
				text, _, err := s.variable(flag.Envs)
				if err != nil {
					return err
				}
				name = File(text)
			}
			if name == "" {
				continue
			}
			var err error
			if s.file, err = readSettings(string(name)); err != nil {
				return err
			}
			s.problems = append(s.problems, s.file.unknown(ctx.Model)...)
		}
	}
	return nil
}

// Validate implements [kong.Resolver].
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a setting that no flag gives (kong.Resolver).
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	var value any
	text, from, err := s.variable(flag.Envs)
	if text != "" {
		value = text
	} else if err == nil && s.file != nil {
		value, from = s.file.value(flag.Name)
	}
	if value != nil {
		if err = try(flag, value); err != nil {
			err = fmt.Errorf("%s: %w; it is: %s", from, err, flag.Help)
		}
	}
	if err != nil {
		s.problems = append(s.problems, err)
		return nil, nil //nolint:nilerr // all problems are said at once
	}
	return value, nil
}

// try reports whether a setting takes the value. Its error quotes no secret.
func try(flag *kong.Flag, value any) error {
	scratch := reflect.New(flag.Target.Type()).Elem()
	if _, own := scratch.Addr().Interface().(kong.MapperValue); !own {
		switch value.(type) {
		case []any, map[string]any: // kong would quote it
			return errors.New("it must be a text, or a list of texts")
		}
	}
	return flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: kong.Scan().PushTyped(value, kong.FlagValueToken)}, scratch)
}

// variable returns what the environment says of a setting, and the name of the
// variable: its value, or what is in the file that VARIABLE_FILE names, as container
// platforms hand out secrets. Empty ones count as unset: Compose files and
// container platforms pass those that nobody has set as empty ones.
func (s *sources) variable(names []string) (value, from string, err error) {
	for _, name := range names {
		value, _ = s.lookup(name)
		path, _ := s.lookup(name + "_FILE")
		switch {
		case value != "" && path != "":
			return "", "", fmt.Errorf("%s and %s_FILE are both set: unset the one that is not meant", name, name)
		case value != "":
			return value, name, nil
		case path == "":
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", "", fmt.Errorf("%s_FILE: %w", name, err)
		}
		if value = strings.TrimSpace(string(text)); value == "" {
			// Taken for no password, it would make people see usher.
			return "", "", fmt.Errorf("%s_FILE: %s is empty", name, path)
		}
		return value, name + "_FILE", nil
	}
	return "", "", nil
}

// foreignVariables are variables of the set-up around usher that begin as its own do.
var foreignVariables = []string{
	// usher.cfg.lua, in Prosody's environment
	"USHER_DOMAIN", "USHER_ACCOUNT", "USHER_COMPONENT_INTERFACE",
	// deploy/
	"USHER_IMAGE", "USHER_REDIS_IMAGE", "USHER_PROGRAM", "USHER_FINALIZE_LOG",
}

// UnknownVariables returns a sentence for each variable of the environment,
// NAME=VALUE, that looks like a setting and is none: a mistyped one has no effect.
func UnknownVariables(app *kong.Application, environ []string) (sentences []string) {
	var known []string
	for _, flag := range allFlags(app) {
		known = append(known, flag.Envs...)
	}
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		setting, isFile := strings.CutSuffix(name, "_FILE")
		switch {
		case value == "", !strings.HasPrefix(name, "USHER_"), slices.Contains(known, name), isFile && slices.Contains(known, setting):
		// Kubernetes names the addresses of a service so, and Prosody its ports.
		case strings.Contains(name, "_SERVICE_"), strings.Contains(name, "_PORT"), slices.Contains(foreignVariables, name):
		default:
			sentences = append(sentences, "there is no setting "+name+nearest(name, known))
		}
	}
	return sentences
}

// allFlags returns the flags of all commands; those that several have come again.
func allFlags(app *kong.Application) (flags []*kong.Flag) {
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			flags = append(flags, flag)
		}
		return next(nil)
	})
	return flags
}
