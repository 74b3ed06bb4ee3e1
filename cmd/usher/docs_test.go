package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"usher/config"
	"usher/internal/stack/stacktest"
)

// guides returns the documents that say how usher is set up and used, by file.
// The changelog speaks of what was.
func guides(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "prosody-config/README.md", "examples/*/README.md"} {
		files, err := filepath.Glob("../../" + pattern)
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			all[strings.TrimPrefix(file, "../../")] = string(text)
		}
	}
	return all
}

// flags returns the flags of each command, by its name, such as "token create".
func flags(t *testing.T) map[string][]*kong.Flag {
	t.Helper()
	parser, err := kong.New(&cli{}, config.Options(os.LookupEnv)...)
	must(t, err)
	all := map[string][]*kong.Flag{}
	for _, command := range parser.Model.Leaves(false) {
		name := command.FullPath()
		all[strings.TrimPrefix(name, parser.Model.Name+" ")] = slices.Concat(command.AllFlags(false)...)
	}
	return all
}

// TestDocumentedSettings: each variable and each flag that a document names exists,
// and README has the defaults of those that it lists.
func TestDocumentedSettings(t *testing.T) {
	commands := flags(t)
	known := map[string]string{} // defaults, by variable; of two those of usher serve
	for _, list := range append(slices.Collect(maps.Values(commands)), commands["serve"]) {
		for _, flag := range list {
			for _, env := range flag.Envs {
				known[env] = flag.Default
			}
		}
	}
	variable := regexp.MustCompile(`USHER_[A-Z0-9_]*[A-Z0-9]`)
	// What Prosody, Compose and the shell script read, not usher.
	for _, file := range []string{"prosody-config/usher.cfg.lua", "prosody-config/finalize.sh", "deploy/docker-jitsi-meet/usher.yml", "deploy/coolify/jitsi-with-usher.yaml"} {
		text, err := os.ReadFile("../../" + file)
		must(t, err)
		for _, name := range variable.FindAllString(string(text), -1) {
			if _, ok := known[name]; !ok {
				known[name] = ""
			}
		}
	}
	documents := guides(t)
	called := regexp.MustCompile(`\busher ((?:serve|doctor|finalize|token|webhooks|events|config|healthcheck)(?: [a-z][a-z-]*)?)\b([^` + "`" + `\n]*)`)
	flagNamed := regexp.MustCompile(`--([a-z0-9-]+)`)
	for file, text := range documents {
		for _, at := range variable.FindAllStringIndex(text, -1) {
			name := text[at[0]:at[1]]
			_, ok := known[name]
			if secret, inFile := strings.CutSuffix(name, "_FILE"); inFile && !ok {
				_, ok = known[secret]
			}
			if strings.HasPrefix(text[at[1]:], "_…") { // several at once
				ok = slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(k string) bool { return strings.HasPrefix(k, name+"_") })
			}
			if !ok {
				t.Errorf("%s names the setting %s, which does not exist", file, name)
			}
		}
		for _, m := range called.FindAllStringSubmatch(text, -1) {
			list, ok := commands[m[1]]
			if first, _, two := strings.Cut(m[1], " "); !ok && two {
				list = commands[first] // and a word that follows it
			}
			for _, f := range flagNamed.FindAllStringSubmatch(m[2], -1) {
				if !slices.ContainsFunc(list, func(flag *kong.Flag) bool { return flag.Name == f[1] }) {
					t.Errorf("%s says %q, and there is no --%s", file, m[0], f[1])
				}
			}
		}
	}
	for row := range strings.Lines(documents["README.md"]) {
		cell, rest, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		if !strings.HasPrefix(row, "| `USHER_") {
			continue
		}
		for _, name := range variable.FindAllString(cell, -1) {
			if want := known[name]; want != "" && want != "false" && !strings.Contains(rest, "`"+want+"`") {
				t.Errorf("README.md says of %s %q, want its default %s in it", name, rest, want)
			}
		}
	}
}

// TestVariablesOfTheSetUp: usher serve takes no variable of the set-up around it for a
// mistyped setting.
func TestVariablesOfTheSetUp(t *testing.T) {
	parser, err := kong.New(&cli{}, config.Options(os.LookupEnv)...)
	must(t, err)
	files, err := filepath.Glob("../../deploy/*/*")
	must(t, err)
	variable := regexp.MustCompile(`\bUSHER_[A-Z0-9_]*[A-Z0-9]`)
	for _, file := range append(files, "../../prosody-config/usher.cfg.lua", "../../prosody-config/finalize.sh") {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, name := range variable.FindAllString(string(text), -1) {
			for _, sentence := range config.UnknownVariables(parser.Model, []string{name + "=x"}) {
				t.Errorf("%s: %s", file, sentence)
			}
		}
	}
}

// TestDocumentedCalls runs each call of the API that a document has a reader type,
// in a meeting with one person.
func TestDocumentedCalls(t *testing.T) {
	stacktest.Needed(t)
	s := newScene(t, "--tracks-listen=127.0.0.1:0", "--tracks-url=ws://127.0.0.1:8481", "--tracks-notice=app", "--tracks-dir="+t.TempDir())
	s.enter(s.person("Ada", ""))
	call := regexp.MustCompile("curl -s ([^`\n]*)localhost:([89]480)([^`\n]*)")
	shows := map[string]string{ // in what they print
		"/readyz": `"recorders"`, "/readyz?role=leader": `"role":"leader"`, "/metrics": "\nusher_leader 1", "/metrics/rooms": `usher_room_participants{room="` + s.room + `"} 1`, "/v1/recorders": `"data"`, "/v1/rooms": s.room, "/v1/meetings": `"id":"mtg_`,
		"/v1/meetings/mtg_…/recordings": `"id":"rec_`,
	}
	at := map[string]string{"8480": s.at.api, "9480": s.at.admin}
	calls := 0
	for _, file := range slices.Sorted(maps.Keys(guides(t))) {
		for _, m := range call.FindAllStringSubmatch(guides(t)[file], -1) {
			calls++
			want := shows[m[3]]
			line := "curl -sS --fail-with-body --max-time 60 " + m[1] + at[m[2]] + strings.ReplaceAll(m[3], "mtg_…", s.id)
			cmd := exec.CommandContext(within(t), "sh", "-c", line)
			cmd.Env = append(os.Environ(), "USHER_API_KEY="+string(s.cfg.APIKeys[0]))
			out, err := cmd.CombinedOutput()
			if err != nil || want == "" || !strings.Contains(string(out), want) {
				t.Errorf("%s: %s: %v, prints %s; want %q in it", file, m[0], err, out, want)
			}
		}
	}
	if calls < 8 {
		t.Errorf("%d calls found, want at least those of two guides and of recording.md", calls)
	}
}
