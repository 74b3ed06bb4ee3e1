package deploy_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"usher/internal/child"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
	prosodyconfig "usher/prosody-config"
)

const (
	debianDomain  = "meet.example.org"
	focusPassword = "focus-password"
)

// Debian's own file, as far as it matters here: hosts of conf.d come last, and
// behind a host.
const debianProsody = `
admins = { }
plugin_paths = { "%[1]s/var/lib/none" }
modules_enabled = { "disco"; "roster"; "saslauth"; "tls"; "limits"; "ping"; "posix"; "private"; "smacks"; "version" }
modules_disabled = { "s2s" }
limits = { c2s = { rate = "10kb/s" } }
authentication = "internal_hashed"
certificates = "certs"
data_path = "%[1]s/var/lib/prosody"
interfaces = { "127.0.0.1" }
c2s_ports = { %[2]d }
run_as_root = true
log = { { levels = { min = "info" }, to = "file", filename = "%[1]s/prosody.log" } }
VirtualHost "localhost"
Include "conf.d/*.cfg.lua"
`

// A site's file in the layout of Jitsi's package, which names the focus as the
// rooms' only admin.
const debianSite = `
plugin_paths = { "%[1]s/testplugins" }
unlimited_jids = { "focus@auth.%[2]s", "jvb@auth.%[2]s" }

VirtualHost "%[2]s"
    authentication = "anonymous" -- do not delete me
    --app_id="example_app_id"
    --app_secret="example_app_secret"
    ssl = {
        key = "%[1]s/etc/prosody/certs/%[2]s.key";
        certificate = "%[1]s/etc/prosody/certs/%[2]s.crt";
    }
    modules_enabled = {
        "ping";
        "muc_breakout_rooms";
    }
    c2s_require_encryption = false
    main_muc = "conference.%[2]s"

Component "conference.%[2]s" "muc"
    restrict_room_creation = true
    storage = "memory"
    modules_enabled = {
        "muc_meeting_id";
        --"token_verification";
    }
    admins = { "focus@auth.%[2]s" }
    muc_room_locking = false
    muc_room_default_public_jids = true

Component "internal.auth.%[2]s" "muc"
    storage = "memory"
    admins = { "focus@auth.%[2]s", "jvb@auth.%[2]s" }
    muc_room_locking = false
    muc_room_default_public_jids = true

VirtualHost "auth.%[2]s"
    ssl = {
        key = "%[1]s/etc/prosody/certs/auth.%[2]s.key";
        certificate = "%[1]s/etc/prosody/certs/auth.%[2]s.crt";
    }
    authentication = "internal_hashed"

Component "focus.%[2]s" "client_proxy"
    target_address = "focus@auth.%[2]s"
`

// debianMachine is one with Jitsi's packages, below a folder.
type debianMachine struct {
	t         *testing.T
	root, bin string
}

func newDebianMachine(t *testing.T) *debianMachine {
	t.Helper()
	stacktest.Needed(t)
	m := &debianMachine{t, t.TempDir(), t.TempDir()}
	if err := prosodyconfig.WriteLocal(m.root); err != nil { // the stand-ins for Jitsi's plugins
		t.Fatal(err)
	}
	write(t, m.path("etc/prosody/prosody.cfg.lua"), fmt.Sprintf(debianProsody, m.root, 5222), 0o600)
	write(t, m.path("etc/prosody/conf.avail", debianDomain+".cfg.lua"), fmt.Sprintf(debianSite, m.root, debianDomain), 0o600)
	for _, folder := range []string{"etc/prosody/conf.d", "etc/prosody/certs", "var/lib/prosody", "etc/jitsi/meet"} {
		if err := os.MkdirAll(m.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(m.path("etc/prosody/conf.avail", debianDomain+".cfg.lua"), m.path("etc/prosody/conf.d", debianDomain+".cfg.lua")); err != nil {
		t.Fatal(err)
	}
	// As `prosodyctl cert generate` makes them.
	for _, name := range []string{debianDomain, "auth." + debianDomain} {
		base := m.path("etc/prosody/certs", name)
		output(t, exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "365", "-subj", "/CN="+name,
			"-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=digitalSignature,keyEncipherment", "-addext", "subjectAltName=DNS:"+name,
			"-keyout", base+".key", "-out", base+".crt"))
	}
	m.prosodyctl()
	fake(t, m.bin, "systemctl", `echo "$*" >>`+m.bin+`/systemctl.calls`)
	fake(t, m.bin, "useradd", `echo "$*" >>`+m.bin+`/useradd.calls`)
	fakeRoot(t, m.bin)
	fake(t, m.bin, "usher", "exit 0")
	return m
}

func (m *debianMachine) path(names ...string) string {
	return filepath.Join(append([]string{m.root}, names...)...)
}

func (m *debianMachine) prosodyctl(env ...string) {
	m.t.Helper()
	fakeProsodyctl(m.t, m.bin, m.path("etc/prosody/prosody.cfg.lua"), env)
}

func (m *debianMachine) setup(args ...string) *exec.Cmd {
	m.t.Helper()
	script, err := filepath.Abs("debian/setup.sh")
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := command(m.t, m.root, m.bin, script, args...)
	cmd.Env = append(cmd.Env, "DESTDIR="+m.root, "USHER_PROGRAM="+filepath.Join(m.bin, "usher"))
	return cmd
}

func (m *debianMachine) env() map[string]string {
	return variables(read(m.t, m.path("etc/usher/usher.env")))
}

// prosody starts Prosody with what is in /etc/prosody.
func (m *debianMachine) prosody() *stack.Prosody {
	m.t.Helper()
	p := &stack.Prosody{}
	process, err := child.Start(m.t.Context(), m.root, 2, func(_ string, ports []int) (child.Program, error) {
		p.ComponentAddr, p.ClientAddr = child.Loopback(ports[0]), child.Loopback(ports[1])
		main := m.path("etc/prosody/prosody.cfg.lua")
		write(m.t, main, fmt.Sprintf(debianProsody, m.root, ports[1]), 0o600)
		return child.Program{
			Name: "prosody", Args: []string{"-F", "--config", main}, Env: []string{fmt.Sprintf("USHER_COMPONENT_PORT=%d", ports[0])},
			Timeout: patience, BindFailure: "Failed to open server port", OnDeath: syscall.SIGKILL,
			Answers: func(ctx context.Context) error {
				for _, addr := range []string{p.ComponentAddr, p.ClientAddr} {
					conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
					if err != nil {
						return err
					}
					_ = conn.Close()
				}
				return nil
			},
		}, nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	p.Process = process
	m.t.Cleanup(func() {
		p.Kill()
		if m.t.Failed() {
			m.t.Logf("Prosody's log:\n%s", read(m.t, m.path("prosody.log")))
		}
	})
	return p
}

// TestDebianSite follows the guide for Debian's packages: setup.sh beside a site as
// they leave it, Prosody as it is configured then, and an usher with the file that
// its unit reads, which becomes ready, is hidden, and comes into rooms of the focus.
func TestDebianSite(t *testing.T) {
	m := newDebianMachine(t)
	hidden := "hidden." + debianDomain
	output(t, command(t, m.root, m.bin, "prosodyctl", "register", "focus", "auth."+debianDomain, focusPassword))
	write(t, m.path("etc/usher/usher.env"), "USHER_SITE_URL="+webClient(t, hidden)+"\n", 0o600)
	out := output(t, m.setup())
	env := m.env()
	for name, value := range env {
		if (strings.HasSuffix(name, "SECRET") || strings.HasSuffix(name, "PASSWORD") || strings.HasSuffix(name, "KEY")) && strings.Contains(out, value) {
			t.Errorf("setup.sh prints %s:\n%s", name, out)
		}
	}
	if env["USHER_TLS_CA_FILE"] != "/etc/usher/ca.pem" {
		t.Errorf("USHER_TLS_CA_FILE = %q, want the file that setup.sh has written", env["USHER_TLS_CA_FILE"])
	}
	env["USHER_TLS_CA_FILE"] = m.path("etc/usher/ca.pem")
	env["USHER_DATA_DIR"] = t.TempDir()
	comesUp(t, env, m.prosody(), "auth."+debianDomain, focusPassword)
}

// TestDebianSetupTwice: run again it changes nothing, restarts Prosody only for a
// reason, and names what is left to do until it is done.
func TestDebianSetupTwice(t *testing.T) {
	m := newDebianMachine(t)
	first := output(t, m.setup())
	if !strings.HasSuffix(first, "usher healthcheck\n") {
		t.Errorf("setup.sh ends with\n%s", first)
	}
	// The commands that it prints are those that satisfy it.
	write(t, m.path("etc/nginx/sites-available", debianDomain+".conf"), "server {\n    root /usr/share/jitsi-meet;\n}\n", 0o600)
	write(t, m.path("etc/jitsi/jicofo/jicofo.conf"), "jicofo {\n}\n", 0o600)
	fake(t, m.bin, "hocon", `[ "$1 $3 $4" = "-f set jicofo.xmpp.trusted-domains" ] && echo "$4 = $5" >>"$2"`)
	commands := regexp.MustCompile(`(?m)^  (.* (?:>>|&&|-i) ?.*)$`).FindAllStringSubmatch(first, -1)
	if len(commands) != 4 {
		t.Fatalf("%d commands in\n%s\nwant four", len(commands), first)
	}
	for _, line := range commands {
		output(t, command(t, m.root, m.bin, "sh", "-eu", "-c", line[1]))
	}
	site := read(t, m.path("etc/prosody/conf.avail", debianDomain+".cfg.lua"))
	if want := "        \"muc_breakout_rooms\";\n        \"presence_identity\";\n        \"reservations\";\n    }"; !strings.Contains(site, want) {
		t.Errorf("the site's file is\n%s\nwant %s in it", site, want)
	}
	if nginx := read(t, m.path("etc/nginx/sites-available", debianDomain+".conf")); !strings.Contains(nginx, "\n    include /etc/usher/nginx.conf;\n") {
		t.Errorf("nginx's file is\n%s", nginx)
	}
	second := output(t, m.setup(debianDomain))
	if strings.Contains(second, "left to you") || m.env()["USHER_TRUST_IDENTITY"] != "true" {
		t.Errorf("setup.sh, when nothing is left to do, says\n%s\nand has USHER_TRUST_IDENTITY=%s", second, m.env()["USHER_TRUST_IDENTITY"])
	}
	write(t, filepath.Join(m.bin, "systemctl.calls"), "", 0o600)
	before := files(t, m.path("etc"))
	output(t, m.setup())
	if after := files(t, m.path("etc")); !equal(before, after) {
		t.Errorf("a third run changes %q", difference(before, after))
	}
	if calls := read(t, filepath.Join(m.bin, "systemctl.calls")); strings.Contains(calls, "restart prosody") {
		t.Errorf("a third run restarts Prosody: %s", calls)
	}
}

// TestDebianSetupReadsTheSite: names, tokens and certificates of the site's own.
func TestDebianSetupReadsTheSite(t *testing.T) {
	m := newDebianMachine(t)
	path := m.path("etc/prosody/conf.avail", debianDomain+".cfg.lua")
	text := strings.NewReplacer(
		`authentication = "anonymous"`, `authentication = "token"`,
		`--app_id="example_app_id"`, `app_id="ours"`, `--app_secret="example_app_secret"`, `app_secret="0123456789abcdef0123456789abcdef"`,
		"conference.", "rooms.", "internal.auth."+debianDomain, "internal-muc."+debianDomain,
	).Replace(read(t, path)) + "\nVirtualHost \"recorder." + debianDomain + "\"\n"
	write(t, path, text, 0o600)
	output(t, m.setup())
	env := m.env()
	for name, want := range map[string]string{
		"USHER_XMPP_DOMAIN":   debianDomain,
		"USHER_MUC":           "rooms." + debianDomain,
		"USHER_HIDDEN_DOMAIN": "recorder." + debianDomain,
		"USHER_FOCUS_JID":     "focus@auth." + debianDomain,
		"USHER_BREWERY":       "jibribrewery@internal-muc." + debianDomain,
		"USHER_JWT_APP_ID":    "ours",
		"USHER_JWT_SECRET":    "0123456789abcdef0123456789abcdef",
		"USHER_SITE_URL":      "https://" + debianDomain,
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	for _, want := range []string{`local ENV_XMPP_MUC_DOMAIN = "rooms.` + debianDomain + `"`, `local ENV_XMPP_HIDDEN_DOMAIN = "recorder.` + debianDomain + `"`, read(t, "../prosody-config/usher.cfg.lua")} {
		if !strings.Contains(read(t, m.path("etc/prosody/usher.cfg.lua")), want) {
			t.Errorf("usher.cfg.lua is without %.80q", want)
		}
	}
}

// TestDebianSetupRefuses: each reason is said in one line.
func TestDebianSetupRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(m *debianMachine)
		args   []string
		says   []string
	}{
		"another domain":    {func(*debianMachine) {}, []string{"elsewhere.example"}, []string{"elsewhere.example.cfg.lua"}},
		"no site":           {func(m *debianMachine) { must(m.t, os.RemoveAll(m.path("etc/prosody/conf.avail"))) }, nil, []string{"conf.avail", "install jitsi-meet"}},
		"no certificate":    {func(m *debianMachine) { must(m.t, os.Remove(m.path("etc/prosody/certs", debianDomain+".crt"))) }, nil, []string{debianDomain + ".crt", "cert generate"}},
		"no rooms":          {func(m *debianMachine) { m.edit(`Component "conference`, `Component "others`) }, nil, []string{"conference." + debianDomain, "rooms"}},
		"half-written file": {func(m *debianMachine) { write(m.t, m.path("etc/usher/usher.env"), "USHER_API_K", 0o600) }, nil, []string{"usher.env:1", "NAME=VALUE"}},
		"a short secret":    {func(m *debianMachine) { write(m.t, m.path("etc/usher/usher.env"), "USHER_API_KEY=short\n", 0o600) }, nil, []string{"USHER_API_KEY", "5 characters"}},
		"no program":        {func(m *debianMachine) { must(m.t, os.Remove(filepath.Join(m.bin, "usher"))) }, nil, []string{"make build"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newDebianMachine(t)
			tt.damage(m)
			out, err := m.setup(tt.args...).CombinedOutput()
			if err == nil {
				t.Fatalf("setup.sh takes it:\n%s", out)
			}
			for _, want := range tt.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("setup.sh says %q, want %q in it", out, want)
				}
			}
			if _, err := os.Stat(m.path("etc/prosody/usher.cfg.lua")); err == nil {
				t.Error("it has written for Prosody")
			}
		})
	}
}

// edit changes the site's file.
func (m *debianMachine) edit(old, text string) {
	m.t.Helper()
	path := m.path("etc/prosody/conf.avail", debianDomain+".cfg.lua")
	write(m.t, path, strings.ReplaceAll(read(m.t, path), old, text), 0o600)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnit has systemd read the unit, which must have next to no way to do harm.
func TestUnit(t *testing.T) {
	stacktest.Needed(t)
	// verify looks for the program.
	unit := filepath.Join(t.TempDir(), "usher.service")
	write(t, unit, strings.Replace(read(t, "debian/usher.service"), "/usr/local/bin/usher", "/bin/true", 1), 0o600)
	if out := output(t, exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit)); strings.Contains(out, "usher.service") {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	// In tenths: 0 is harmless, 100 is root without bounds.
	output(t, exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit))
}
