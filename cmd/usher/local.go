package main

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
	"usher/internal/jitsisim"
	"usher/internal/stack"
	"usher/token"
)

// startPatience bounds the start of everything on loopback; it takes about a
// second on an idle machine.
const startPatience = time.Minute

// localSite is a whole Jitsi site on loopback as far as usher can tell: a real
// Prosody and a real Redis, a simulated focus, and usher itself.
type localSite struct {
	prosody *stack.Prosody
	sim     jitsisim.Site
	focus   *jitsisim.Focus
	args    []string // flags of `usher serve` for this site
	cfg     config.Config
	tokens  *token.Issuer
	at      addresses

	recordings   string            // directory of finished files
	recorderKeys map[string]string // by the names that Jibris of this site may have

	running context.Context // of the parts; ends with the first that fails
	cancel  context.CancelFunc
	parts   *errgroup.Group
}

// startLocal starts the site with its files in dir and blocks until usher is
// ready. extra are flags of `usher serve` that differ from the local site's.
func startLocal(ctx context.Context, dir string, log *slog.Logger, extra ...string) (_ *localSite, err error) {
	ctx, done := context.WithTimeoutCause(ctx, startPatience, errors.New("the local site did not start in time"))
	defer done()
	s, err := startSite(ctx, dir, log, extra...)
	if err != nil {
		return nil, err
	}
	if err = s.startUsher(ctx, log); err == nil {
		err = s.waitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// startSite starts the site without usher and blocks until it is up, or ctx
// ends.
func startSite(ctx context.Context, dir string, log *slog.Logger, extra ...string) (_ *localSite, err error) {
	s := &localSite{}
	// Stopping is ours: a child must not go before those who talk to it.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.parts, s.running = errgroup.WithContext(running)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()

	listen, err := stack.FreeAddr()
	if err != nil {
		return nil, err
	}
	s.prosody, err = stack.StartProsody(ctx, filepath.Join(dir, "prosody"), stack.ProsodyConfig{
		ReservationURL: "http://" + listen + "/reservations",
	})
	if err != nil {
		return nil, err
	}
	s.sim = jitsisim.Site{
		Domain: stack.Domain, ClientAddr: s.prosody.ClientAddr, ComponentAddr: s.prosody.ComponentAddr,
		CAFile: s.prosody.CAFile, Log: log.With("part", "sim"),
	}
	s.focus, err = jitsisim.NewFocus(jitsisim.FocusConfig{
		Site: s.sim, Password: stack.Focus.Password, Secret: stack.FocusSecret, Brewery: stack.Brewery,
	})
	if err != nil {
		return nil, err
	}
	s.parts.Go(func() error { return s.focus.Run(s.running) })

	s.recordings = filepath.Join(dir, "recordings")
	if err := os.MkdirAll(s.recordings, 0o700); err != nil {
		return nil, err
	}
	s.recorderKeys = map[string]string{"jibri-1": "key-" + rand.Text(), "jibri-2": "key-" + rand.Text()}

	s.args = append([]string{
		"--listen=" + listen, "--admin-listen=127.0.0.1:0",
		"--component-addr=" + s.prosody.ComponentAddr, "--component-secret=" + stack.ComponentSecret,
		"--client-addr=" + s.prosody.ClientAddr, "--occupant-password=" + stack.Usher.Password,
		"--tls-ca-file=" + s.prosody.CAFile, "--trust-identity",
		"--reservation-token=" + stack.ReservationToken, "--api-key=" + "key-" + rand.Text(),
		"--data-dir=" + filepath.Join(dir, "redis"),
		"--recordings-dir=" + s.recordings, "--seal-secret=" + rand.Text(), "--jibri-hook-secret=" + "hook-" + rand.Text(),
		"--recorder-key=jibri-1=" + s.recorderKeys["jibri-1"], "--recorder-key=jibri-2=" + s.recorderKeys["jibri-2"],
		"--jwt-app-id=" + stack.JWTAppID, "--jwt-secret=" + stack.JWTAppSecret,
	}, extra...)
	if s.cfg, err = localConfig(s.args); err != nil {
		return nil, err
	}
	if s.tokens, err = newIssuer(s.cfg.Jitsi); err != nil {
		return nil, err
	}
	if err := s.focus.WaitUp(ctx); err != nil {
		return nil, fmt.Errorf("simulated focus: %w", err)
	}
	return s, nil
}

// startUsher runs usher in this process and blocks until it listens, or ctx
// ends.
func (s *localSite) startUsher(ctx context.Context, log *slog.Logger) error {
	listening := make(chan struct{})
	s.parts.Go(func() error {
		return serve(s.running, s.cfg, log, func(at addresses) { s.at = at; close(listening) })
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

// hookEnv is added to the environment of recorders' hooks. Tests need it: their
// binary is not usher unless it is told to be.
var hookEnv []string

// startJibri starts a simulated recorder, whose hook is `usher finalize` with
// its own settings. It blocks until the recorder waits in the brewery.
func (s *localSite) startJibri(ctx context.Context, dir, name string, edit func(*jitsisim.JibriConfig)) (*jitsisim.Jibri, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg := jitsisim.JibriConfig{
		Site: s.sim, Name: name, Brewery: stack.Brewery, Dir: filepath.Join(dir, "jibri"),
		Password: stack.Jibri.Password, RecorderPassword: stack.Recorder.Password,
		Finalize:   []string{self, "finalize"},
		Subscriber: "http://" + s.at.api + "/internal/jibri/" + string(s.cfg.JibriHookSecret),
		Env: append([]string{
			"PATH=" + os.Getenv("PATH"), "USHER_URL=http://" + s.at.api, "USHER_RECORDER=" + name,
			"USHER_RECORDER_SECRET=" + s.recorderKeys[name], "USHER_SPOOL_DIR=" + filepath.Join(dir, "spool"),
			"USHER_HANDOVER=move", "USHER_TARGET_DIR=" + s.recordings,
		}, hookEnv...),
	}
	if edit != nil {
		edit(&cfg)
	}
	return jitsisim.StartJibri(ctx, cfg)
}

// stop ends everything that startLocal started, in reverse order.
func (s *localSite) stop() error {
	s.cancel()
	err := s.parts.Wait()
	if s.prosody != nil {
		err = errors.Join(err, s.prosody.Stop())
	}
	return err
}

// waitReady blocks until usher's /readyz says so, or ctx ends.
func (s *localSite) waitReady(ctx context.Context) error {
	for {
		resp, err := http.Get("http://" + s.at.admin + "/readyz")
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

// call sends a request to usher's API and decodes the answer into out, which
// may be nil.
func (s *localSite) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = strings.NewReader(string(text))
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.at.api+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(s.cfg.APIKeys[0]))
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

// writeEnv writes what curl, scripts and XMPP clients need to use the running
// system, as shell assignments.
func (s *localSite) writeEnv(path string) error {
	var b strings.Builder
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	for _, v := range [][2]string{
		{"USHER_API", "http://" + s.at.api},
		{"USHER_KEY", string(s.cfg.APIKeys[0])},
		{"USHER_WHEREBY", "http://" + s.at.api + "/whereby/v1"},
		{"USHER_ADMIN", "http://" + s.at.admin},
		{"USHER_JWT_APP_ID", stack.JWTAppID},
		{"USHER_JWT_SECRET", stack.JWTAppSecret},
		{"USHER_XMPP_DOMAIN", stack.Domain},
		{"USHER_MUC", s.cfg.MUC},
		{"USHER_COMPONENT_DOMAIN", s.cfg.ComponentDomain},
		{"USHER_COMPONENT_SECRET", stack.ComponentSecret},
		{"USHER_XMPP_COMPONENT_PORT", port(s.prosody.ComponentAddr)},
		{"USHER_XMPP_C2S_PORT", port(s.prosody.ClientAddr)},
		{"USHER_XMPP_HTTP_PORT", port(s.prosody.HTTPAddr)},
		{"USHER_REDIS", s.at.redis},
	} {
		fmt.Fprintf(&b, "%s='%s'\n", v[0], v[1])
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// localConfig reads flags of `usher serve`, and nothing of the environment.
func localConfig(args []string) (config.Config, error) {
	var c config.Config
	parser, err := kong.New(&c, kong.Name("usher serve"))
	if err != nil {
		return c, err
	}
	_, err = parser.Parse(args)
	return c, err
}
