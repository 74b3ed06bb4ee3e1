// Package localsite runs a whole Jitsi site with usher on loopback: for the demo
// and for tests.
package localsite

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"usher/config"
	"usher/internal/app"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/store"
	"usher/token"
)

// startPatience bounds the start of everything on loopback; it takes about a
// second on an idle machine.
const startPatience = time.Minute

// Site is a whole Jitsi site on loopback as far as usher can tell: a real
// Prosody and a real Redis, a simulated focus, and usher itself.
type Site struct {
	Prosody *stack.Prosody
	Sim     sim.Site
	Focus   *sim.Focus
	Args    []string // flags of `usher serve` for this site
	Config  config.Config
	Tokens  *token.Issuer
	At      app.Addresses

	// Program is the usher that recorders run as their hook, and HookEnv what
	// its environment has besides their settings.
	Program string
	HookEnv []string

	Recordings   string            // directory of finished files
	RecorderKeys map[string]string // by the names that Jibris of this site may have

	running context.Context // of the parts; ends with the first that fails
	cancel  context.CancelFunc
	parts   *errgroup.Group
}

// Start starts the site with its files in dir and blocks until usher is
// ready. extra are flags of `usher serve` that differ from the local site's.
func Start(ctx context.Context, dir string, log *slog.Logger, extra ...string) (_ *Site, err error) {
	ctx, done := context.WithTimeoutCause(ctx, startPatience, errors.New("the local site did not start in time"))
	defer done()
	s, err := StartWithoutUsher(ctx, dir, log, extra...)
	if err != nil {
		return nil, err
	}
	if err = s.StartUsher(ctx, log); err == nil {
		err = s.WaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// StartWithoutUsher starts the site without usher and blocks until it is up, or ctx
// ends.
func StartWithoutUsher(ctx context.Context, dir string, log *slog.Logger, extra ...string) (*Site, error) {
	return StartOn(ctx, dir, log, func(*stack.ProsodyConfig) {}, extra...)
}

// StartOn is StartWithoutUsher with another Prosody: edit changes its configuration.
func StartOn(ctx context.Context, dir string, log *slog.Logger, edit func(*stack.ProsodyConfig), extra ...string) (_ *Site, err error) {
	s := &Site{}
	// Stopping is ours: a child must not go before those who talk to it.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.parts, s.running = errgroup.WithContext(running)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()

	listen, err := stack.FreeAddr()
	if err != nil {
		return nil, err
	}
	prosody := stack.ProsodyConfig{ReservationURL: "http://" + listen + "/reservations", KeepPoolOut: true}
	edit(&prosody)
	s.Prosody, err = stack.StartProsody(ctx, filepath.Join(dir, "prosody"), prosody)
	if err != nil {
		return nil, err
	}
	s.Sim = sim.Site{
		Domain: stack.Domain, ClientAddr: s.Prosody.ClientAddr, ComponentAddr: s.Prosody.ComponentAddr,
		CAFile: s.Prosody.CAFile, Log: log.With("part", "sim"),
	}
	s.Focus, err = sim.NewFocus(sim.FocusConfig{
		Site: s.Sim, Password: stack.Focus.Password, Secret: stack.FocusSecret, Brewery: stack.Brewery,
		// As JICOFO_TRUSTED_DOMAINS says where usher has no account and people see it.
		TrustedDomains: []string{stack.HiddenDomain, stack.ComponentDomain},
	})
	if err != nil {
		return nil, err
	}
	s.parts.Go(func() error { return s.Focus.Run(s.running) })

	s.Recordings = filepath.Join(dir, "recordings")
	if err := os.MkdirAll(s.Recordings, 0o700); err != nil {
		return nil, err
	}
	s.RecorderKeys = map[string]string{"jibri-1": "key-" + rand.Text(), "jibri-2": "key-" + rand.Text()}

	s.Args = append([]string{
		"--listen=" + listen, "--admin-listen=127.0.0.1:0",
		"--component-addr=" + s.Prosody.ComponentAddr, "--component-secret=" + stack.ComponentSecret,
		"--client-addr=" + s.Prosody.ClientAddr, "--occupant-password=" + stack.Usher.Password, "--brewery-password=" + stack.Watcher.Password,
		"--tls-ca-file=" + s.Prosody.CAFile, "--trust-identity",
		"--reservation-token=" + stack.ReservationToken, "--api-key=" + "key-" + rand.Text(),
		"--data-dir=" + filepath.Join(dir, "redis"),
		"--recording-delay=0s", // nobody comes in the first moments unless the script says so
		"--recordings-dir=" + s.Recordings, "--seal-secret=" + rand.Text(), "--jibri-hook-secret=" + "hook-" + rand.Text(),
		"--recorder-key=jibri-1=" + s.RecorderKeys["jibri-1"], "--recorder-key=jibri-2=" + s.RecorderKeys["jibri-2"],
		"--jwt-app-id=" + stack.JWTAppID, "--jwt-secret=" + stack.JWTAppSecret,
	}, extra...)
	if s.Config, err = ReadFlags(s.Args); err != nil {
		return nil, err
	}
	if s.Tokens, err = app.NewIssuer(s.Config.Jitsi); err != nil {
		return nil, err
	}
	if err := s.Focus.WaitUp(ctx); err != nil {
		return nil, fmt.Errorf("simulated focus: %w", err)
	}
	return s, nil
}

// StartUsher runs usher in this process and blocks until it listens, or ctx
// ends.
func (s *Site) StartUsher(ctx context.Context, log *slog.Logger) error {
	listening := make(chan struct{})
	s.parts.Go(func() error {
		return app.Run(s.running, s.Config, log, func(at app.Addresses) { s.At = at; close(listening) })
	})
	select {
	case <-listening:
		return nil
	case <-s.running.Done():
		return s.parts.Wait()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// StartJibri starts a simulated recorder, whose hook is `usher finalize` with
// its own settings. It blocks until the recorder waits in the brewery.
func (s *Site) StartJibri(ctx context.Context, dir, name string, edit func(*sim.JibriConfig)) (*sim.Jibri, error) {
	cfg := sim.JibriConfig{
		Site: s.Sim, Name: name, Brewery: stack.Brewery, Dir: filepath.Join(dir, "jibri"),
		Password: stack.Jibri.Password, RecorderPassword: stack.Recorder.Password,
		BrowserDelay: 50 * time.Millisecond, // a machine whose Chrome is quick
		Finalize:     []string{s.Program, "finalize"},
		Subscriber:   "http://" + s.At.API + "/internal/jibri/" + string(s.Config.JibriHookSecret),
		Env: append([]string{
			"PATH=" + os.Getenv("PATH"), "USHER_URL=http://" + s.At.API, "USHER_RECORDER=" + name,
			"USHER_RECORDER_SECRET=" + s.RecorderKeys[name], "USHER_SPOOL_DIR=" + filepath.Join(dir, "spool"),
			"USHER_HANDOVER=move", "USHER_TARGET_DIR=" + s.Recordings,
		}, s.HookEnv...),
	}
	if edit != nil {
		edit(&cfg)
	}
	return sim.StartJibri(ctx, cfg)
}

// SpoolEmpty reports whether nothing is left to hand over of what recorders with files
// in dir have recorded.
func SpoolEmpty(dir string) bool {
	for _, folder := range []string{"new", "work"} {
		if notes, _ := os.ReadDir(filepath.Join(dir, "spool", folder)); len(notes) > 0 {
			return false
		}
	}
	return true
}

// StartJVB starts the site's only video bridge, and blocks until it is in its
// brewery. usher sees it at once if it was there first, else within ten seconds.
func (s *Site) StartJVB(ctx context.Context) (*sim.JVB, error) {
	jvb, err := sim.StartJVB(ctx, sim.JVBConfig{Site: s.Sim, Name: "jvb1", Brewery: stack.BridgeBrewery, User: stack.JVB.User, Password: stack.JVB.Password})
	if err == nil {
		jvb.BeginAll()
	}
	return jvb, err
}

// StopUsher ends usher and the simulated focus and leaves Prosody running.
func (s *Site) StopUsher() error {
	s.cancel()
	return s.parts.Wait()
}

// Stop ends everything that Start started, in reverse order.
func (s *Site) Stop() error {
	err := s.StopUsher()
	if s.Prosody != nil {
		err = errors.Join(err, s.Prosody.Stop())
	}
	return err
}

// WaitReady blocks until usher leads, and is ready by its /readyz, or ctx ends.
func (s *Site) WaitReady(ctx context.Context) error {
	for {
		resp, err := http.Get("http://" + s.At.Admin + "/readyz?role=leader")
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("not ready: %s", body)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// Call sends a request to usher's API and decodes the answer into out, which
// may be nil.
func (s *Site) Call(ctx context.Context, method, path string, in, out any) error {
	return Call(ctx, s.At.API, string(s.Config.APIKeys[0]), method, path, in, out)
}

// Call sends a request to the API at an address, host:port, and decodes the
// answer into out, which may be nil.
func Call(ctx context.Context, api, key, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = strings.NewReader(string(text))
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+api+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// WriteEnv writes what curl, scripts and XMPP clients need to use the running
// system, as shell assignments.
func (s *Site) WriteEnv(path string) error {
	var b strings.Builder
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	for _, v := range [][2]string{
		{"USHER_API", "http://" + s.At.API},
		{"USHER_KEY", string(s.Config.APIKeys[0])},
		{"USHER_WHEREBY", "http://" + s.At.API + "/whereby/v1"},
		{"USHER_ADMIN", "http://" + s.At.Admin},
		{"USHER_JWT_APP_ID", stack.JWTAppID},
		{"USHER_JWT_SECRET", stack.JWTAppSecret},
		{"USHER_XMPP_DOMAIN", stack.Domain},
		{"USHER_MUC", s.Config.MUC},
		{"USHER_COMPONENT_DOMAIN", s.Config.ComponentDomain},
		{"USHER_COMPONENT_SECRET", stack.ComponentSecret},
		{"USHER_XMPP_COMPONENT_PORT", port(s.Prosody.ComponentAddr)},
		{"USHER_XMPP_C2S_PORT", port(s.Prosody.ClientAddr)},
		{"USHER_XMPP_HTTP_PORT", port(s.Prosody.HTTPAddr)},
		{"USHER_REDIS", s.At.Redis},
	} {
		fmt.Fprintf(&b, "%s='%s'\n", v[0], v[1])
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// BeginStore makes an empty Redis that was started just now ready for its first
// usher, which else waits for another that might hold what is lost.
func BeginStore(ctx context.Context, redisURL string) error {
	rdb, err := store.NewRedis(store.Config{URL: redisURL, Site: "main"})
	if err != nil {
		return err
	}
	return errors.Join(rdb.Begin(ctx), rdb.Close())
}

// ReadFlags reads flags of `usher serve`, and nothing of the environment.
func ReadFlags(args []string) (config.Config, error) {
	var c config.Config
	parser, err := kong.New(&c, kong.Name("usher serve"))
	if err != nil {
		return c, err
	}
	_, err = parser.Parse(args)
	return c, err
}
