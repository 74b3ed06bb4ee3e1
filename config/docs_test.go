package config_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"usher/config"
)

var rewrite = flag.Bool("rewrite", false, "write the settings into docs/configuration.md; read the difference before you keep it")

// sections are the headings of the document, by the first setting below each.
var sections = map[string]string{
	"USHER_SITE":             "The site",
	"USHER_COMPONENT_DOMAIN": "Prosody",
	"USHER_OCCUPANT_USER":    "The occupant",
	"USHER_TRUST_IDENTITY":   "Who is believed",
	"USHER_REDIS_URL":        "State",
	"USHER_LISTEN":           "Listeners and the API",
	"USHER_WEBHOOKS":         "Webhooks",
	"USHER_BREWERY":          "Recording",
	"USHER_TRACKS_LISTEN":    "Tracks: each person's own sound",
	"USHER_WHEREBY_ADDR":     "Links, and Whereby's API",
	"USHER_LOG_LEVEL":        "Log",
}

// TestConfigurationDocument: docs/configuration.md lists every setting, with its
// default and what the code says of it. What stands before the first of them is
// written by hand.
func TestConfigurationDocument(t *testing.T) {
	const file = "../docs/configuration.md"
	var c struct{ config.Config }
	parser, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	secret := reflect.TypeFor[config.Secret]()
	var text strings.Builder
	headings := 0
	for _, f := range parser.Model.Flags {
		if len(f.Envs) == 0 || f.Hidden {
			continue
		}
		if heading := sections[f.Envs[0]]; heading != "" {
			headings++
			fmt.Fprintf(&text, "\n## %s\n\n| variable and flag | default | what it is |\n| --- | --- | --- |\n", heading)
		}
		def := "none"
		switch {
		case f.Default != "":
			def = "`" + f.Default + "`"
		case f.IsBool():
			def = "`false`"
		case !f.IsSlice() && (f.PlaceHolder == "usher" || strings.HasSuffix(f.PlaceHolder, "DOMAIN")):
			def = "`" + f.PlaceHolder + "`"
		}
		name := "`" + f.Envs[0] + "`, `--" + f.Name + "`"
		if f.Target.Type() == secret || f.IsSlice() && f.Target.Type().Elem() == secret {
			name += " (secret)"
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", name, def, strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(f.Help))
	}
	if headings != len(sections) {
		t.Errorf("%d headings, want %d: name the first setting of each section", headings, len(sections))
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, _ := strings.Cut(string(old), "\n## ")
	want := strings.TrimRight(intro, "\n") + "\n" + text.String()
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if string(old) != want {
		t.Errorf("%s is not what the settings are: run go test ./config -run %s -rewrite", file, t.Name())
	}
}
