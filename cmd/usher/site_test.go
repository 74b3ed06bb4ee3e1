package main

import (
	"context"
	"log/slog"
	"os"

	"usher/config"
	"usher/internal/app"
	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/token"
)

// localSite is a local site under short names.
type localSite struct {
	site    *localsite.Site
	prosody *stack.Prosody
	sim     sim.Site
	focus   *sim.Focus
	args    []string
	cfg     config.Config
	tokens  *token.Issuer
	at      addresses

	recordings   string
	recorderKeys map[string]string
}

type addresses struct{ api, admin, whereby, redis string }

func shortNames(at app.Addresses) addresses {
	return addresses{at.API, at.Admin, at.Whereby, at.Redis}
}

type logged = localsite.Event

// hookEnv is what makes a recorder's hook, which is the test binary, be usher.
var hookEnv []string

func newLocalSite(s *localsite.Site) (*localSite, error) {
	program, err := os.Executable()
	s.Program, s.HookEnv = program, hookEnv
	return &localSite{
		s, s.Prosody, s.Sim, s.Focus, s.Args, s.Config, s.Tokens, shortNames(s.At), s.Recordings, s.RecorderKeys,
	}, err
}

func startLocal(ctx context.Context, dir string, log *slog.Logger, extra ...string) (*localSite, error) {
	s, err := localsite.Start(ctx, dir, log, extra...)
	if err != nil {
		return nil, err
	}
	return newLocalSite(s)
}

func startSite(ctx context.Context, dir string, log *slog.Logger, edit func(*stack.ProsodyConfig), extra ...string) (*localSite, error) {
	s, err := localsite.StartOn(ctx, dir, log, edit, extra...)
	if err != nil {
		return nil, err
	}
	return newLocalSite(s)
}

func (s *localSite) startUsher(ctx context.Context, log *slog.Logger) error {
	err := s.site.StartUsher(ctx, log)
	s.at = shortNames(s.site.At)
	return err
}

func (s *localSite) startJibri(ctx context.Context, dir, name string, edit func(*sim.JibriConfig)) (*sim.Jibri, error) {
	s.site.At = app.Addresses{API: s.at.api, Admin: s.at.admin, Whereby: s.at.whereby, Redis: s.at.redis}
	return s.site.StartJibri(ctx, dir, name, edit)
}

func (s *localSite) call(ctx context.Context, method, path string, in, out any) error {
	return localsite.Call(ctx, s.at.api, string(s.cfg.APIKeys[0]), method, path, in, out)
}

func (s *localSite) stop() error { return s.site.Stop() }

func localConfig(args []string) (config.Config, error) { return localsite.ReadFlags(args) }

func beginStore(ctx context.Context, redisURL string) error {
	return localsite.BeginStore(ctx, redisURL)
}
