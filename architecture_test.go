// Package usher_test holds the rules about the repository as a whole.
package usher_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport says which packages of ours a package may import; docs/architecture.md
// has the reason. What is not listed here may import none of them.
var mayImport = map[string][]string{
	"usher/meeting/service": {"usher/meeting", "usher/token"},
	"usher/meeting/tracker": {"usher/meeting", "usher/internal/workers", "usher/internal/sleep"},
	"usher/muc":             {"usher/meeting", "usher/token", "usher/config", "usher/component"},
	"usher/jibri":           {"usher/meeting", "usher/token", "usher/config", "usher/component", "usher/component/brewery", "usher/internal/sleep"},
	"usher/jibri/handover":  {"usher/meeting", "usher/token", "usher/config", "usher/storage", "usher/internal/sleep"},
	"usher/storage":         {"usher/meeting", "usher/token", "usher/config"},
	"usher/bridge":          {"usher/meeting", "usher/component/brewery", "usher/storage", "usher/internal/sleep"},
	"usher/store":           {"usher/meeting", "usher/token", "usher/config", "usher/internal/sleep"},
	"usher/webhook":         {"usher/meeting", "usher/token", "usher/config", "usher/internal/workers", "usher/internal/sleep"},
	"usher/api":             {"usher/meeting", "usher/meeting/service", "usher/token", "usher/config", "usher/webhook", "usher/storage", "usher/internal/sleep"},
	"usher/api/whereby":     {"usher/meeting", "usher/meeting/service", "usher/token", "usher/config", "usher/webhook", "usher/api"},
}

// anything holds what wires the others together.
func anything(pkg string) bool {
	return strings.HasPrefix(pkg, "usher/cmd/") || strings.HasPrefix(pkg, "usher/internal/")
}

// impure are the packages that bring I/O and goroutines; the domain uses
// none of them.
var impure = []string{"context", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "sync", "sync/atomic"}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			ours := strings.HasPrefix(imported, "usher/")
			if ours && !anything(p.ImportPath) && !slices.Contains(mayImport[p.ImportPath], imported) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
			if p.ImportPath == "usher/meeting" && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				t.Errorf("the core imports %s, want the standard library only", imported)
			}
			if p.ImportPath == "usher/meeting" && slices.Contains(impure, imported) {
				t.Errorf("the core imports %s, want it pure", imported)
			}
		}
	}
}

// TestXMPPWithoutHTTP keeps HTTP out of what speaks XMPP.
func TestXMPPWithoutHTTP(t *testing.T) {
	xmpp := []string{"usher/component", "usher/component/brewery", "usher/muc", "usher/jibri"}
	for _, p := range packages(t) {
		if slices.Contains(xmpp, p.ImportPath) && slices.Contains(p.Imports, "net/http") {
			t.Errorf("%s imports net/http, want only packages above it to", p.ImportPath)
		}
	}
}

// TestSimulatorStaysOut keeps simulated people and the local Prosody out of what
// a site runs for real: only the demo, tests and benchmarks may use them.
func TestSimulatorStaysOut(t *testing.T) {
	notShipped := []string{"usher/internal/localsite", "usher/cmd/usher-lab", "usher/internal/stack/stacktest", "usher/internal/apitest"}
	for _, p := range packages(t) {
		for _, pkg := range []string{"usher/internal/sim", "usher/internal/stack", "usher/internal/memorystore", "usher/internal/apitest", "usher/internal/wherebytest"} {
			if slices.Contains(p.Imports, pkg) && !slices.Contains(notShipped, p.ImportPath) {
				t.Errorf("%s imports %s", p.ImportPath, pkg)
			}
		}
	}
}

type pkg struct {
	ImportPath string
	Imports    []string // of the package itself, its tests left out
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 8 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}
