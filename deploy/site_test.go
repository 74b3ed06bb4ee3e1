package deploy_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"usher/api"
	"usher/component"
	"usher/config"
	"usher/internal/app"
	"usher/internal/localsite"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// patience is how long something may take that happens by itself, on a busy machine.
const patience = 30 * time.Second

// command returns a program to run, with what it needs of this machine alone and
// the folder bin before the system's.
func command(t *testing.T, dir, bin, name string, args ...string) *exec.Cmd {
	t.Helper()
	if path := filepath.Join(bin, name); name == filepath.Base(name) {
		if _, err := os.Stat(path); err == nil {
			name = path
		}
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir}
	return cmd
}

// output runs a command that must not fail.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// write writes a file and the folders that it is in.
func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files returns every file below a folder, by name, with mode and contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		all[strings.TrimPrefix(path, dir+"/")] = info.Mode().String() + " " + read(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// variables reads lines NAME=VALUE, as Compose and systemd do.
func variables(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = strings.Trim(value, `"`)
		}
	}
	return all
}

// webClient is a site's web server, as far as usher asks it.
func webClient(t *testing.T, hiddenDomain string) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "config.hiddenDomain = '%s';\n", hiddenDomain)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// fakeProsodyctl makes a prosodyctl in bin that speaks for a Prosody of the test,
// whatever configuration it is asked for.
func fakeProsodyctl(t *testing.T, bin, configFile string, env []string) {
	t.Helper()
	path, err := exec.LookPath("prosodyctl")
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n[ \"$1\" != --config ] || shift 2\n"
	for _, variable := range env {
		script += "export '" + variable + "'\n"
	}
	write(t, filepath.Join(bin, "prosodyctl"), script+"exec "+path+" --config "+configFile+" \"$@\"\n", 0o700)
}

// fake makes a program in bin that does as the script says.
func fake(t *testing.T, bin, name, script string) {
	t.Helper()
	write(t, filepath.Join(bin, name), "#!/bin/sh\n"+script+"\n", 0o700)
}

// fakeRoot has scripts take whoever runs the test for root.
func fakeRoot(t *testing.T, bin string) {
	t.Helper()
	fake(t, bin, "id", `[ "$*" = -u ] && echo 0`)
	fake(t, bin, "chown", "exit 0")
	fake(t, bin, "chgrp", "exit 0")
}

// comesUp runs usher with the variables that a deployment gives it, those of this
// test in the place of what is a container's or the machine's own, and fails unless
// it becomes ready with the login in the hidden domain, has nothing to complain of,
// and comes into a meeting's room, which the focus makes.
func comesUp(t *testing.T, env map[string]string, p *stack.Prosody, authDomain, focusPassword string) {
	t.Helper()
	env["USHER_REDIS_URL"] = stacktest.Redis(t).URL
	if err := localsite.BeginStore(t.Context(), env["USHER_REDIS_URL"]); err != nil {
		t.Fatal(err)
	}
	env["USHER_COMPONENT_ADDR"], env["USHER_CLIENT_ADDR"] = p.ComponentAddr, p.ClientAddr
	env["USHER_LISTEN"], env["USHER_ADMIN_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
	for name, value := range env {
		t.Setenv(name, value)
	}
	var c struct{ config.Config }
	parser, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatalf("usher serve: %v", err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("settings are not as they should be: %q", c.Warnings)
	}
	focus := newFocus(t, p, "focus@"+authDomain, focusPassword, env["USHER_TLS_CA_FILE"])
	focus.join(env["USHER_BREWERY"]) // as Jicofo does when it starts
	ctx, stop := context.WithCancel(t.Context())
	at, ended := make(chan app.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, c.Config, slog.New(slog.DiscardHandler), func(a app.Addresses) { at <- a })
	}()
	var admin, listen string
	select {
	case a := <-at:
		admin, listen = a.Admin, a.API
	case err := <-ended:
		stop()
		t.Fatalf("usher serve: %v", err)
	}
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("usher serve: %v", err)
		}
	}()
	var ready api.Readiness
	// This focus is in no room of usher's and answers nothing.
	complains := func(c api.Result) bool { return c.State != api.CheckOK && c.Name != "focus" }
	for deadline := time.Now().Add(patience); (ready.Role != api.RoleLeader || slices.ContainsFunc(ready.Checks, complains)) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ready = api.Readiness{}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&ready)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	occupant := slices.IndexFunc(ready.Checks, func(c api.Result) bool { return c.Name == "occupant" })
	if !ready.Ready || occupant < 0 || !strings.HasPrefix(ready.Checks[occupant].Seen, "hidden, as usher@"+env["USHER_HIDDEN_DOMAIN"]) {
		t.Errorf("ready = %v, want usher ready and hidden in %s:\n%+v", ready.Ready, env["USHER_HIDDEN_DOMAIN"], ready.Checks)
	}
	for _, c := range ready.Checks {
		if complains(c) {
			t.Errorf("it says of %s: %+v", c.Name, c.Finding)
		}
	}

	room := created(t, listen, env["USHER_API_KEY"]) + "@" + env["USHER_MUC"]
	focus.join(room)
	focus.sees(" " + room + "/usher usher@" + env["USHER_HIDDEN_DOMAIN"])
}

// created makes a meeting over the API, and returns its room.
func created(t *testing.T, listen, key string) string {
	t.Helper()
	var meeting struct{ Room string }
	if err := localsite.Call(t.Context(), listen, key, http.MethodPost, "/v1/meetings", map[string]any{}, &meeting); err != nil {
		t.Fatal(err)
	}
	return meeting.Room
}

// focus is the account of the site's focus, an admin of its rooms, which makes them.
type focus struct {
	t    *testing.T
	link *component.Link
	seen chan string // presences: type, who, and addresses or error
}

// newFocus returns the focus once it is logged in.
func newFocus(t *testing.T, p *stack.Prosody, account, password, caFile string) *focus {
	t.Helper()
	f := &focus{t: t, seen: make(chan string, 100)}
	up := make(chan struct{})
	isUp := sync.OnceFunc(func() { close(up) })
	var err error
	f.link, err = component.NewClient(component.ClientConfig{
		Addr: p.ClientAddr, JID: account + "/focus", Password: password, CAFile: caFile,
		Options: component.Options{Handler: component.Handler{Presence: f.presence, Up: func(string) { isUp() }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.link.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	select {
	case <-up:
	case <-time.After(patience):
		_, _, err := f.link.Status()
		t.Fatalf("the focus is not logged in within %v: %v", patience, err)
	}
	return f
}

func (f *focus) presence(d *xml.Decoder, start xml.StartElement) {
	var presence struct {
		From  string `xml:"from,attr"`
		Type  string `xml:"type,attr"`
		Items []struct {
			JID string `xml:"jid,attr"`
		} `xml:"x>item"`
		Error struct {
			Inner string `xml:",innerxml"`
		} `xml:"error"`
	}
	if err := d.DecodeElement(&presence, &start); err != nil {
		f.t.Error(err)
	}
	text := presence.Type + " " + presence.From + presence.Error.Inner
	for _, item := range presence.Items {
		text += " " + item.JID
	}
	select {
	case f.seen <- text:
	default:
	}
}

// join makes the room.
func (f *focus) join(room string) {
	f.t.Helper()
	type muc struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/muc x"`
	}
	if err := f.link.As("").Send(f.t.Context(), "presence", room+"/focus", "", muc{}); err != nil {
		f.t.Fatal(err)
	}
}

// sees fails unless a presence that begins so comes.
func (f *focus) sees(want string) {
	f.t.Helper()
	deadline := time.After(patience)
	for all := ""; ; {
		select {
		case text := <-f.seen:
			if all += text + "\n"; strings.HasPrefix(text, want) {
				return
			}
		case <-deadline:
			_, _, err := f.link.Status()
			f.t.Fatalf("the focus sees\n%s(%v)\nwant%s", all, err, want)
		}
	}
}
