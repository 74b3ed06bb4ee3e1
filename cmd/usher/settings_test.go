package main

import (
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher/config"
	"usher/internal/app"
	"usher/internal/stack/stacktest"
)

// TestWrongSettings proves that a setting which the server refuses is said
// once, by /readyz and in the log, is not answered with a tight loop, and
// never makes people see usher.
func TestWrongSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		flag, check, text, reason string
	}{
		"component secret":  {"--component-secret=not-the-secret", "component", "secret or password refused", "not_authorized"},
		"component domain":  {"--component-domain=nobody.meet.jitsi", "component", "domain unknown", "host_unknown"},
		"occupant password": {"--occupant-password=not-the-password", "occupant", "secret or password refused", "not_authorized"},
		"certificate":       {"--tls-server-name=elsewhere.example", "occupant", "TLS refused", "tls"},
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
			if n := s.metric(`usher_xmpp_connects_total{link="` + link(tt.check) + `",result="` + tt.reason); n < 1 || n > 8 {
				t.Errorf("%v tries in 2 s, want a few", n)
			}
			if n := s.log.lines(`"link":"`+link(tt.check), tt.reason); n != 1 {
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
				Store: "memory", APIKeys: []config.Secret{"a-key-of-some-length"}, ComponentSecret: "x",
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

// link is the name of the check's stream in logs and metrics.
func link(check string) string {
	if check == "occupant" {
		return "client"
	}
	return check
}

// TestWithoutHiddenDomain proves that a site that has no hidden domain, or no
// account for usher in it, is followed all the same: people see usher, which
// the log warns of, and counts do not include it.
func TestWithoutHiddenDomain(t *testing.T) {
	for name, flag := range map[string]string{
		"unknown domain": "--hidden-domain=nowhere.meet.jitsi",
		"no password":    "--occupant-password=",
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, flag)
			ada, bob := s.person("Ada", "u-ada"), s.person("Bob", "")
			s.enter(ada, bob)
			s.counts(2)
			if n := s.log.lines("WARN", "labelled"); n != 1 {
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
		})
	}
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
