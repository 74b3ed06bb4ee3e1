package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/stack"
	"usher/internal/stack/stacktest"
	prosodyconfig "usher/prosody-config"
)

// The folder of docker-jitsi-meet, as far as ours builds on it.
const (
	siteCompose = `
services:
    web:
        image: web
        environment:
            - ENABLE_RECORDING
            - PUBLIC_URL
        networks:
            meet.jitsi:
    prosody:
        image: prosody
        environment:
            - ENABLE_RECORDING
            - XMPP_DOMAIN
            - XMPP_AUTH_DOMAIN
            - XMPP_MUC_DOMAIN
            - XMPP_HIDDEN_DOMAIN
            - XMPP_MODULES
            - PROSODY_RESERVATION_ENABLED
            - PROSODY_RESERVATION_REST_BASE_URL
        networks:
            meet.jitsi:
                aliases:
                    - ${XMPP_SERVER:-xmpp.meet.jitsi}
    jicofo:
        image: jicofo
        environment:
            - ENABLE_RECORDING
        networks:
            meet.jitsi:
networks:
    meet.jitsi:
`
	siteJibri = `
services:
    jibri:
        image: jibri
        volumes:
            - ${CONFIG}/jibri:/config:Z
            - ${CONFIG}/storage/jibri:/storage:Z
        environment:
            - JIBRI_FINALIZE_RECORDING_SCRIPT_PATH
            - JIBRI_WEBHOOK_SUBSCRIBERS
        networks:
            meet.jitsi:
`
	siteEnv = `# a site's own
CONFIG=./cfg
PUBLIC_URL="https://meet.example.com"
JICOFO_AUTH_PASSWORD=jicofo-password
JVB_AUTH_PASSWORD=jvb-password
JIBRI_RECORDER_PASSWORD=recorder-password
JIBRI_XMPP_PASSWORD=jibri-password
XMPP_MODULES=polls_of_ours`
)

// dockerSite is a folder of docker-jitsi-meet with a docker that runs nothing.
type dockerSite struct {
	t        *testing.T
	dir, bin string
}

func newDockerSite(t *testing.T, env string) *dockerSite {
	t.Helper()
	stacktest.Needed(t)
	s := &dockerSite{t: t, dir: t.TempDir(), bin: t.TempDir()}
	write(t, filepath.Join(s.dir, "docker-compose.yml"), siteCompose, 0o644)
	write(t, filepath.Join(s.dir, "jibri.yml"), siteJibri, 0o644)
	write(t, filepath.Join(s.dir, ".env"), env, 0o644)
	// exec runs what it would in the container, and up waits for the test's Prosody.
	fake(t, s.bin, "docker", `
echo "$*" >>`+s.bin+`/calls
case $* in
"compose version" | "image inspect "* | "rm "*) ;;
"create "*) echo container ;;
"cp container:/usher "*) echo program >"$3" ;;
*" up -d "*"prosody") while [ ! -e `+s.bin+`/started ]; do sleep 0.02; done ;;
*" exec -T prosody "*)
	while [ "$1" != prosody ]; do shift; done
	shift
	exec "$@"
	;;
*) echo "docker $* was not expected" >&2; exit 1 ;;
esac`)
	fakeRoot(t, s.bin)
	fake(t, s.bin, "prosodyctl", "exit 0")
	return s
}

// setup returns the command, for a Prosody that is there at once.
func (s *dockerSite) setup() *exec.Cmd {
	s.t.Helper()
	write(s.t, filepath.Join(s.bin, "started"), "", 0o600)
	script, err := filepath.Abs("docker-jitsi-meet/setup.sh")
	if err != nil {
		s.t.Fatal(err)
	}
	return command(s.t, s.dir, s.bin, script)
}

// env is what the site's .env says now.
func (s *dockerSite) env() map[string]string {
	return variables(read(s.t, filepath.Join(s.dir, ".env")))
}

// service is what Compose makes of one.
type service struct {
	Environment map[string]string
	Volumes     []string
	Networks    map[string]any
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	Command     any
	Ports       []string
}

// compose returns the services as Compose 1.29 reads them.
func (s *dockerSite) compose() map[string]service {
	s.t.Helper()
	cmd := command(s.t, s.dir, s.bin, "docker-compose", "-f", "docker-compose.yml", "-f", "jibri.yml", "-f", "usher.yml", "config")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	rendered, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("docker-compose config: %v\n%s", err, stderr.String())
	}
	// docker-compose brings the module, for Debian's own Python.
	toJSON := exec.CommandContext(s.t.Context(), "/usr/bin/python3", "-c", "import sys, json, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)")
	toJSON.Stdin = strings.NewReader(string(rendered))
	var project struct{ Services map[string]service }
	if err := json.Unmarshal([]byte(output(s.t, toJSON)), &project); err != nil {
		s.t.Fatalf("%v in:\n%s", err, rendered)
	}
	return project.Services
}

// ushers returns usher's environment, with the paths of this machine in the place
// of the container's.
func (s *dockerSite) ushers(services map[string]service) map[string]string {
	env := services["usher"].Environment
	for name, value := range env {
		for _, volume := range services["usher"].Volumes {
			if parts := strings.Split(volume, ":"); value == parts[1] {
				env[name] = parts[0]
			}
		}
	}
	return env
}

// TestDockerSite follows the guide for docker-jitsi-meet: setup.sh, which creates the
// accounts in a real Prosody that shows the certificates it has made, and an usher
// with the environment that Compose gives it, which becomes ready and is hidden.
func TestDockerSite(t *testing.T) {
	url := webClient(t, stack.HiddenDomain)
	s := newDockerSite(t, strings.Replace(siteEnv, "https://meet.example.com", url, 1))
	cmd := s.setup()
	if err := os.Remove(filepath.Join(s.bin, "started")); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for waiting := true; waiting; time.Sleep(20 * time.Millisecond) {
		calls, err := os.ReadFile(filepath.Join(s.bin, "calls"))
		waiting = err != nil || !strings.Contains(string(calls), " up -d ")
		select {
		case err := <-done:
			t.Fatalf("setup.sh ends before Prosody is up: %v\n%s", err, out.String())
		default:
		}
	}

	cfg := filepath.Join(s.dir, "cfg")
	services := s.compose()
	prosodyEnv := stack.ProsodyConfig{Certificates: filepath.Join(cfg, "prosody/config/certs")}
	for name, value := range services["prosody"].Environment {
		// Modules of the site's own, and where reservations go, are not this Prosody's.
		if strings.HasPrefix(name, "USHER_") && name != "USHER_COMPONENT_INTERFACE" {
			prosodyEnv.Env = append(prosodyEnv.Env, name+"="+value)
		}
	}
	p := stacktest.Prosody(t, prosodyEnv)
	fakeProsodyctl(t, s.bin, filepath.Join(filepath.Dir(p.Log()), prosodyconfig.LocalFile), p.Env)
	write(t, filepath.Join(s.bin, "started"), "", 0o600)
	if err := <-done; err != nil {
		t.Fatalf("setup.sh: %v\n%s", err, out.String())
	}
	env := s.env()
	for name, value := range env {
		if strings.HasPrefix(name, "USHER_") && name != "USHER_PUBLIC_URL" && strings.Contains(out.String(), value) {
			t.Errorf("setup.sh prints %s:\n%s", name, out.String())
		}
	}
	if got, want := read(t, filepath.Join(cfg, "prosody/config/conf.d/usher.cfg.lua")), read(t, "../prosody-config/usher.cfg.lua"); got != want {
		t.Errorf("conf.d/usher.cfg.lua differs from prosody-config/usher.cfg.lua")
	}
	// Docker would make them for root, and web does not start then.
	for _, name := range []string{"prosody", "web", "transcripts", "jibri"} {
		if _, err := os.Stat(filepath.Join(cfg, "storage", name)); err != nil {
			t.Errorf("a folder that a container writes to: %v", err)
		}
	}
	if got, want := services["prosody"].Environment["XMPP_MODULES"], "presence_identity,reservations,polls_of_ours"; got != want {
		t.Errorf("XMPP_MODULES = %q, want %q", got, want)
	}
	for _, name := range []string{"web", "jicofo", "prosody"} {
		if got := services[name].Environment["ENABLE_RECORDING"]; got != "1" {
			t.Errorf("ENABLE_RECORDING of %s = %q, want 1", name, got)
		}
	}
	if got, want := services["jibri"].Environment["JIBRI_WEBHOOK_SUBSCRIBERS"], "http://usher:8480/internal/jibri/"+env["USHER_JIBRI_HOOK_SECRET"]; got != want {
		t.Errorf("JIBRI_WEBHOOK_SUBSCRIBERS is not usher's URL with its secret")
	}
	comesUp(t, s.ushers(services), p, stack.AuthDomain, stack.Focus.Password)
}

// TestSetupTwice: run again, as after an upgrade, it changes nothing, and what was
// lost or is half-written is made again.
func TestSetupTwice(t *testing.T) {
	s := newDockerSite(t, siteEnv)
	output(t, s.setup())
	first := files(t, s.dir)
	output(t, s.setup())
	if second := files(t, s.dir); !equal(first, second) {
		t.Errorf("a second run changes %q", difference(first, second))
	}
	calls := strings.Split(strings.TrimSpace(read(t, filepath.Join(s.bin, "calls"))), "\n")
	ups := slices.DeleteFunc(calls, func(call string) bool { return !strings.Contains(call, " up -d ") })
	if len(ups) != 2 || !strings.Contains(ups[0], "--force-recreate") || strings.Contains(ups[1], "--force-recreate") {
		t.Errorf("Prosody is started by %q, want it anew the first time only", ups)
	}

	cfg := filepath.Join(s.dir, "cfg")
	for _, damage := range []string{"prosody/config/certs/meet.jitsi.key", "prosody/config/certs/auth.meet.jitsi.crt", "jibri/usher/finalize"} {
		write(t, filepath.Join(cfg, damage), "half", 0o600)
	}
	env := read(t, filepath.Join(s.dir, ".env"))
	write(t, filepath.Join(s.dir, ".env"), regexp.MustCompile(`USHER_API_KEY=.*`).ReplaceAllString(env, "USHER_API_KEY="), 0o600)
	output(t, s.setup())
	for _, name := range []string{"meet.jitsi", "auth.meet.jitsi"} {
		out := output(t, exec.CommandContext(t.Context(), "openssl", "verify", "-CAfile", filepath.Join(cfg, "usher/ca.pem"), filepath.Join(cfg, "prosody/config/certs", name+".crt")))
		if !strings.Contains(out, "OK") {
			t.Errorf("certificate of %s: %s", name, out)
		}
	}
	if got, want := read(t, filepath.Join(cfg, "jibri/usher/finalize")), read(t, "docker-jitsi-meet/finalize"); got != want {
		t.Errorf("finalize = %q, want it written again", got)
	}
	before, after := variables(env), s.env()
	if key := after["USHER_API_KEY"]; len(key) != 64 || key == before["USHER_API_KEY"] {
		t.Errorf("USHER_API_KEY has %d characters, want a new one", len(key))
	}
	if strings.Count(read(t, filepath.Join(s.dir, ".env")), "USHER_API_KEY") != 1 {
		t.Error("USHER_API_KEY is in .env more than once")
	}
	delete(before, "USHER_API_KEY")
	delete(after, "USHER_API_KEY")
	if !equal(before, after) {
		t.Errorf(".env has changed: %q", difference(before, after))
	}
	if info, err := os.Stat(filepath.Join(s.dir, ".env")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf(".env with secrets is %v, want it its owner's alone (%v)", info.Mode(), err)
	}
}

// TestSetupRefuses: each mistake is said in one line that names it, and nothing is
// written.
func TestSetupRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		old, now string // in .env
		says     []string
	}{
		"a line without =":       {"JVB_AUTH_PASSWORD=jvb-password", "JVB_AUTH_PASS", []string{".env:5", "NAME=VALUE"}},
		"a quote without end":    {`"https://meet.example.com"`, `"https://meet.example.com`, []string{".env:3", "PUBLIC_URL", "not closed"}},
		"no password of Jitsi's": {"=jvb-password", "=", []string{"JVB_AUTH_PASSWORD", "gen-passwords.sh"}},
		"no URL":                 {"PUBLIC_URL", "#PUBLIC_URL", []string{"PUBLIC_URL", "missing"}},
		"a URL without scheme":   {"https://meet", "meet", []string{"PUBLIC_URL", "https://"}},
		"no CONFIG":              {"CONFIG=./cfg", "CONFIG=", []string{"CONFIG", "missing"}},
		"CONFIG of a variable":   {"CONFIG=./cfg", "CONFIG=${HOME}/cfg", []string{"CONFIG", "variables"}},
		"a short secret":         {"# a site's own", "USHER_API_KEY=short", []string{"USHER_API_KEY", "5 characters"}},
		"a secret with a $":      {"# a site's own", "USHER_API_KEY=0123456789$abcdef", []string{"USHER_API_KEY", "characters that"}},
		"seats":                  {"# a site's own", "MAX_PARTICIPANTS=20", []string{"MAX_PARTICIPANTS", `muc_max_occupants="20"`}},
		"a short JWT secret":     {"# a site's own", "ENABLE_AUTH=1\nAUTH_TYPE=jwt\nJWT_APP_ID=app\nJWT_APP_SECRET=short", []string{"JWT_APP_SECRET", "32"}},
		"another issuer":         {"# a site's own", "ENABLE_AUTH=1\nAUTH_TYPE=jwt\nJWT_APP_ID=app\nJWT_ACCEPTED_ISSUERS=a,b", []string{"JWT_ACCEPTED_ISSUERS", "(app)"}},
		"files without usher's":  {"# a site's own", "COMPOSE_FILE=docker-compose.yml", []string{"COMPOSE_FILE", "usher.yml"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(siteEnv, tt.old) {
				t.Fatalf("%q is not in the site's .env", tt.old)
			}
			s := newDockerSite(t, strings.Replace(siteEnv, tt.old, tt.now, 1))
			before := files(t, s.dir)
			out, err := s.setup().CombinedOutput()
			if err == nil {
				t.Fatalf("setup.sh takes it:\n%s", out)
			}
			for _, want := range tt.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("setup.sh says %q, want %q in it", out, want)
				}
			}
			if strings.Contains(string(out), "0123456789$abcdef") || strings.Contains(string(out), "jvb-password") {
				t.Errorf("setup.sh prints a secret: %s", out)
			}
			if after := files(t, s.dir); !equal(before, after) {
				t.Errorf("it has written %q", difference(before, after))
			}
		})
	}
}

// TestSetupReadsTheSite: domains, tokens and certificates of the site's own.
func TestSetupReadsTheSite(t *testing.T) {
	s := newDockerSite(t, "JIBRI_WEBHOOK_SUBSCRIBERS=\nUSHER_PUBLIC_URL=\n"+siteEnv+`
XMPP_DOMAIN=example.org # ours
XMPP_AUTH_DOMAIN='auth.example.org'
XMPP_MUC_DOMAIN=muc.example.org
XMPP_INTERNAL_MUC_DOMAIN=internal.example.org
XMPP_HIDDEN_DOMAIN=hidden.example.org
XMPP_SERVER=xmpp.example.org
XMPP_PORT=5333
ENABLE_AUTH=1
AUTH_TYPE=jwt
JWT_APP_ID=app
JWT_APP_SECRET=0123456789abcdef0123456789abcdef
JWT_ACCEPTED_ISSUERS=other,app
JWT_ACCEPTED_AUDIENCES=ours,theirs
`)
	fake(t, s.bin, "prosodyctl", `read -r password; echo "$4 $5 $password $6" >>`+s.bin+`/accounts`)
	output(t, s.setup())
	env := s.env()
	want := "usher hidden.example.org " + env["USHER_OCCUPANT_PASSWORD"] + " \nusher auth.example.org " + env["USHER_BREWERY_PASSWORD"] + " \n"
	if got := read(t, filepath.Join(s.bin, "accounts")); got != want {
		t.Errorf("accounts = %q, want %q", got, want)
	}
	for _, name := range []string{"example.org", "auth.example.org", "hidden.example.org"} {
		text := output(t, exec.CommandContext(t.Context(), "openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", filepath.Join(s.dir, "cfg/prosody/config/certs", name+".crt")))
		if !strings.Contains(text, "DNS:"+name+"\n") {
			t.Errorf("certificate of %s: %s", name, text)
		}
	}
	// Compose puts in what stands in earlier lines.
	text := read(t, filepath.Join(s.dir, ".env"))
	for later, earlier := range map[string]string{"JIBRI_WEBHOOK_SUBSCRIBERS": "USHER_JIBRI_HOOK_SECRET", "USHER_PUBLIC_URL": "PUBLIC_URL"} {
		if at := strings.Index(text, "\n"+later+"="); at < strings.Index(text, "\n"+earlier+"=") || strings.Count(text, "\n"+later+"=") != 1 {
			t.Errorf("%s is before %s, which it contains, or not once:\n%s", later, earlier, text)
		}
	}
	got := s.compose()["usher"].Environment
	for name, want := range map[string]string{
		"USHER_XMPP_DOMAIN":   "example.org",
		"USHER_MUC":           "muc.example.org",
		"USHER_HIDDEN_DOMAIN": "hidden.example.org",
		// The domain need not be its parent, as where XMPP_DOMAIN alone is set.
		"USHER_TLS_SERVER_NAME": "hidden.example.org",
		"USHER_FOCUS_JID":       "focus@auth.example.org",
		"USHER_BREWERY":         "jibribrewery@internal.example.org",
		"USHER_COMPONENT_ADDR":  "xmpp.example.org:5347",
		"USHER_CLIENT_ADDR":     "xmpp.example.org:5333",
		"USHER_JWT_APP_ID":      "app",
		"USHER_JWT_SECRET":      "0123456789abcdef0123456789abcdef",
		"USHER_JWT_AUDIENCE":    "ours",
		"USHER_SITE_URL":        "https://meet.example.com",
		"USHER_PUBLIC_URL":      "https://meet.example.com",
	} {
		if got[name] != want {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}

	// A certificate of the site's own is not touched.
	own := filepath.Join(s.dir, "cfg/prosody/config/certs/example.org")
	output(t, exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=example.org", "-keyout", own+".key", "-out", own+".crt"))
	before := read(t, own+".crt")
	out, err := s.setup().CombinedOutput()
	if err == nil || !strings.Contains(string(out), "example.org.crt is the site's own") {
		t.Errorf("setup.sh with a certificate of the site's own: %v\n%s", err, out)
	}
	if read(t, own+".crt") != before {
		t.Error("the site's own certificate has changed")
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func equal(a, b map[string]string) bool { return len(difference(a, b)) == 0 }

// difference returns the names whose values differ.
func difference(a, b map[string]string) []string {
	var names []string
	for name := range a {
		if other, ok := b[name]; !ok || other != a[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
