package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/config"
	"usher/internal/app"
	"usher/internal/sim"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// TestWrongSettings proves that a setting which the server refuses is said
// once, by /readyz and in the log, is not answered with a tight loop, and
// never makes people see usher. TestEachWrongSetting has more of them.
func TestWrongSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		flag, check, text, reason string
	}{
		"component secret": {"--component-secret=not-the-secret", "component", "secret or password refused", "not_authorized"},
		"certificate":      {"--tls-server-name=elsewhere.example", "occupant", "TLS refused", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, tt.flag)
			must(t, s.startUsher(t.Context(), newLog(s.log, slog.LevelInfo)))
			s.until("the refusal is known", func() bool { return strings.Contains(s.notReady()[tt.check], tt.text) })
			s.waitReady(tt.check)
			time.Sleep(2 * time.Second)
			s.waitReady(tt.check)
			if got := s.notReady()[tt.check]; !strings.Contains(got, tt.text) {
				t.Errorf("/readyz says %q, want %q in it", got, tt.text)
			}
			if n := s.metric(`usher_xmpp_connects_total{link="` + tt.check + `",result="` + tt.reason); n < 1 || n > 8 {
				t.Errorf("%v tries in 2 s, want a few", n)
			}
			if n := s.log.lines(`"link":"`+tt.check, tt.reason); n != 1 {
				t.Errorf("%d log lines about it, want one", n)
			}
			if s.log.lines("labelled") > 0 {
				t.Error("usher has changed its mode")
			}
			for _, secret := range []string{"not-the-secret", "not-the-password", string(s.cfg.APIKeys[0])} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("the log holds %q", secret)
				}
			}
			s.create("standup") // the API needs no stream
		})
	}
}

// TestTakenPortNamesItsSetting starts usher where another program has one of its
// addresses, or where the address is none.
func TestTakenPortNamesItsSetting(t *testing.T) {
	stacktest.Needed(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for setting, set := range map[string]func(c *config.Config, addr string){
		"USHER_LISTEN":       func(c *config.Config, addr string) { c.Listen = addr },
		"USHER_ADMIN_LISTEN": func(c *config.Config, addr string) { c.AdminListen = addr },
		"USHER_WHEREBY_ADDR": func(c *config.Config, addr string) { c.WherebyAddr = addr },
	} {
		for addr, says := range map[string]string{taken.Addr().String(): "address already in use", "8480": "missing port"} {
			cfg := config.Config{
				Site: "main", RedisURL: "redis://127.0.0.1:1", APIKeys: []config.Secret{"a-key-of-some-length"}, ComponentSecret: "x", ComponentAddr: "127.0.0.1:1", ComponentDomain: "usher.meet.jitsi",
				Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Whereby: config.Whereby{WherebyAddr: "127.0.0.1:0"},
			}
			set(&cfg, addr)
			err := app.Run(t.Context(), cfg, newLog(io.Discard, 0), func(app.Addresses) { t.Error("it listens") })
			if err == nil || !strings.HasPrefix(err.Error(), setting+": listen tcp") || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s=%s: %v; want it to name both, and %q", setting, addr, err, says)
			}
		}
	}
}

// TestWithoutAccount proves that a site that has no account for usher in its
// hidden domain is followed all the same: people see usher, which the log warns
// of, and counts do not include it.
func TestWithoutAccount(t *testing.T) {
	s := newScene(t, "--occupant-password=")
	ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
	s.enter(ada, bob)
	s.counts(2)
	if n := s.log.lines("WARN", "labelled", "USHER_OCCUPANT_PASSWORD"); n != 1 {
		t.Errorf("%d warnings about the mode, want one", n)
	}
	if ada.Occupants()["usher"].Name != s.cfg.DisplayName {
		t.Errorf("Ada sees %+v, want usher among them by its name", ada.Occupants())
	}
	must(t, bob.Leave(within(t)))
	must(t, ada.Leave(within(t)))
	s.tells("session.started", "joined Ada", "joined Bob", "left Bob left", "left Ada left")
	// It does not keep the conference alive either.
	must(t, s.focus.WaitLeft(within(t), s.room))
}

// TestNeverVisibleByMistake proves that an usher whose account is set wrongly
// stays out of a live meeting, whatever the mistake, and that /readyz and the
// log name the setting and what the server said; and that it comes in unseen
// once the setting is right.
func TestNeverVisibleByMistake(t *testing.T) {
	s := newSite(t)
	first := s.runUsher()
	s.waitReady("")
	s.create("standup")
	ada := s.person("Ada", "u-ada")
	s.enter(ada)
	s.seesHidden(ada, stack.HiddenDomain)
	first.kill()
	s.seesNobodyElse(ada, 0)

	nowhere := freeAddr(t)
	for _, tt := range []struct {
		flags []string
		want  []string // in /readyz and in the log
	}{
		{[]string{"--hidden-domain=nowhere.meet.jitsi"}, []string{"USHER_HIDDEN_DOMAIN", "does not know the domain nowhere.meet.jitsi", "restart Prosody"}},
		{[]string{"--hidden-domain=" + stack.GuestDomain}, []string{"USHER_HIDDEN_DOMAIN", "refuses usher@guest.meet.jitsi"}},
		{[]string{"--occupant-user=somebody"}, []string{"USHER_OCCUPANT_USER", "refuses somebody@hidden.meet.jitsi", "prosodyctl register somebody hidden.meet.jitsi"}},
		{[]string{"--occupant-password=not-the-password"}, []string{"USHER_OCCUPANT_PASSWORD", "refuses usher@hidden.meet.jitsi"}},
		{[]string{"--tls-ca-file="}, []string{"USHER_TLS_CA_FILE", "USHER_TLS_INSECURE", "certificate signed by unknown authority"}},
		{[]string{"--tls-server-name=elsewhere.example"}, []string{"USHER_TLS_SERVER_NAME", "not elsewhere.example"}},
		{[]string{"--client-addr=" + s.cfg.ComponentAddr}, []string{"USHER_CLIENT_ADDR", s.cfg.ComponentAddr, "port for clients"}},
		{[]string{"--client-addr=" + nowhere}, []string{"USHER_CLIENT_ADDR", "listens on " + nowhere}},
	} {
		p := s.runUsher(tt.flags...)
		s.until(fmt.Sprintf("%v: /readyz says %q", tt.flags, tt.want), func() bool { return containsAll(s.notReady()["occupant"], tt.want) })
		s.waitReady("occupant")
		if s.log.lines(append([]string{`"link":"occupant"`}, tt.want...)...) == 0 {
			t.Errorf("%v: no log line with %q", tt.flags, tt.want)
		}
		// The component is up, and its occupant would be in within milliseconds.
		s.seesNobodyElse(ada, time.Second)
		p.kill()
	}
	if n := s.log.lines("labelled"); n != 0 {
		t.Errorf("%d log lines speak of the labelled mode, want none", n)
	}
	s.runUsher()
	s.waitReady("")
	s.seesHidden(ada, stack.HiddenDomain)
	s.counts(1)
	s.oneSession()
}

// TestHiddenDomainThatComesLater proves that an usher whose hidden domain the
// server does not serve yet waits for it, out of sight, and comes in unseen as
// soon as it does.
func TestHiddenDomainThatComesLater(t *testing.T) {
	const late = "late.meet.jitsi"
	s := newSite(t, "--hidden-domain="+late)
	must(t, s.startUsher(t.Context(), newLog(s.log, slog.LevelInfo)))
	s.until("/readyz names the domain and its setting", func() bool {
		return containsAll(s.notReady()["occupant"], []string{"does not know the domain " + late, "USHER_HIDDEN_DOMAIN"})
	})
	s.create("standup")
	ada := s.person("Ada", "u-ada")
	must(t, ada.Join(within(t)))
	s.seesNobodyElse(ada, 2*time.Second)
	s.waitReady("occupant")

	dir := filepath.Dir(s.prosody.CAFile)
	account := filepath.Join(dir, "data", strings.ReplaceAll(late, ".", "%2e"), "accounts")
	must(t, os.MkdirAll(account, 0o700))
	must(t, os.WriteFile(filepath.Join(account, stack.Usher.User+".dat"), fmt.Appendf(nil, "return { password = %q; };\n", stack.Usher.Password), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "conf.d", "late.cfg.lua"), fmt.Appendf(nil, "VirtualHost %q\n    authentication = \"internal_hashed\"\n", late), 0o600))
	s.prosody.Kill()
	must(t, s.prosody.Restart(t.Context()))
	must(t, s.focus.WaitUp(within(t)))
	bob := s.person("Bob", "u-bob")
	s.until("Bob is in", func() bool { return bob.Join(within(t)) == nil })
	s.waitReady("")
	s.counts(1)
	s.seesHidden(bob, late)
	if n := s.log.lines("labelled"); n != 0 {
		t.Errorf("%d log lines speak of the labelled mode, want none", n)
	}
}

// TestWrongLoginsAreRefusedAtOnce proves that settings with which no login can
// be tried end usher before it has started anything.
func TestWrongLoginsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	noCertificate := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(noCertificate, []byte("no certificate"), 0o600))
	for _, tt := range []struct{ flag, setting, text string }{
		{"--tls-ca-file=" + filepath.Join(dir, "nowhere.pem"), "USHER_TLS_CA_FILE", "nowhere.pem: no such file"},
		{"--tls-ca-file=" + noCertificate, "USHER_TLS_CA_FILE", "holds no certificate"},
		{"--tls-pin=abc", "USHER_TLS_PIN", "not a SHA-256"},
		{"--occupant-user=us&er", "USHER_OCCUPANT_USER", "us&er@hidden.meet.jitsi"},
	} {
		data := filepath.Join(dir, "data")
		cfg, err := localConfig([]string{"--component-secret=s", "--api-key=0123456789abcdef", "--occupant-password=p",
			"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--data-dir=" + data, tt.flag})
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // ends what should not have begun
		err = app.Run(ctx, cfg, newLog(io.Discard, slog.LevelInfo), func(app.Addresses) { t.Errorf("%s: usher listens", tt.flag) })
		cancel()
		if err == nil || !containsAll(err.Error(), []string{tt.setting, tt.text}) {
			t.Errorf("%s: %v, want an error with %s and %q", tt.flag, err, tt.setting, tt.text)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s: a redis-server was started", tt.flag)
		}
	}
}

// seesNobodyElse checks that for some time the person shares the room with the
// focus alone. It waits until a former usher has gone.
func (s *scene) seesNobodyElse(p *sim.Person, during time.Duration) {
	s.t.Helper()
	alone := func(o sim.Occupants) bool { return len(o) == 2 }
	must(s.t, p.WaitFor(within(s.t), alone))
	ctx, cancel := context.WithTimeout(s.t.Context(), during)
	defer cancel()
	if p.WaitFor(ctx, func(o sim.Occupants) bool { return !alone(o) }) == nil {
		s.t.Fatalf("the person sees %+v, want nobody but itself and the focus", p.Occupants())
	}
}

// seesHidden waits until usher is in with the person, and checks that it came
// by its login in the domain that web clients hide.
func (s *scene) seesHidden(p *sim.Person, domain string) {
	s.t.Helper()
	must(s.t, p.WaitFor(within(s.t), func(o sim.Occupants) bool { return len(o) == 3 }))
	if got, want := p.Occupants()["usher"].JID, stack.Usher.User+"@"+domain+"/usher"; got != want {
		s.t.Fatalf("usher is in as %q, want %q", got, want)
	}
}

func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

// TestOwnRedis proves that usher without a Redis URL keeps its state in its
// data directory over a restart.
func TestOwnRedis(t *testing.T) {
	s := newSite(t, "--redis-url=")
	first := s.runUsher()
	s.waitReady("")
	s.create("standup")
	must(t, first.Process.Signal(os.Interrupt))
	if err := first.Wait(); err != nil {
		t.Errorf("usher ended with %v, want 0", err)
	}
	second := s.runUsher()
	s.waitReady("")
	if m := s.meeting(); m == nil || m.Room != "standup" {
		t.Errorf("after a restart the meeting is %+v", m)
	}
	second.kill() // and its redis-server with it
	s.runUsher()
	s.waitReady("")
	if m := s.meeting(); m == nil || m.Room != "standup" {
		t.Errorf("after a kill the meeting is %+v", m)
	}
}
