package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"usher/internal/stack/stacktest"
)

// clientTools are what checks OpenAPI documents and generates clients of them, as
// testdata/clients pins it.
type clientTools struct{ node, python string }

// installTools returns the tools, which are installed once for each set of versions.
func installTools(t *testing.T) clientTools {
	t.Helper()
	stacktest.Needed(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	install := func(pins string, args ...string) string {
		text, err := os.ReadFile(filepath.Join("testdata/clients", pins))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		dir := filepath.Join(cache, "usher-tests", hex.EncodeToString(sum[:8]))
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		// Elsewhere at first: half of it must not be taken for all.
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		half, err := os.MkdirTemp(filepath.Dir(dir), "new")
		if err == nil {
			err = os.CopyFS(half, os.DirFS("testdata/clients"))
		}
		if err != nil {
			t.Fatal(err)
		}
		run(t, half, nil, args...)
		if err := os.Rename(half, dir); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
		return dir
	}
	return clientTools{
		node:   filepath.Join(install("package-lock.json", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"), "node_modules/.bin"),
		python: filepath.Join(install("requirements.txt", "/usr/bin/python3", "-m", "pip", "install", "--quiet", "--target", "python", "--requirement", "requirements.txt"), "python"),
	}
}

// run runs a program in a folder and returns its standard output.
func run(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(stdin), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), problems.Bytes())
	}
	return out.String()
}

// TestGeneratedClients checks the document as its readers do, and compiles clients
// that their tools make of it: an app leaves out what it may, and an event's type
// says what it holds.
func TestGeneratedClients(t *testing.T) {
	tools := installTools(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/clients")); err != nil {
		t.Fatal(err)
	}
	text := newStandby(t).do("GET", "/openapi.json", "").Body.Bytes()
	if err := os.WriteFile(filepath.Join(dir, "openapi.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	node := func(t *testing.T, name string, args ...string) {
		run(t, dir, nil, append([]string{filepath.Join(tools.node, name)}, args...)...)
	}
	side := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t) })
	}
	side("linters", func(t *testing.T) {
		node(t, "redocly", "lint", "openapi.json")
		node(t, "spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "warn", "openapi.json")
	})
	side("TypeScript", func(t *testing.T) {
		node(t, "openapi-typescript", "openapi.json", "--output", "client.ts")
		node(t, "tsc", "--noEmit", "--strict", "--lib", "es2022", "--skipLibCheck", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "use.ts")
	})
	side("Go", func(t *testing.T) {
		inGo := filepath.Join(dir, "go")
		run(t, inGo, nil, "go", "tool", "oapi-codegen", "-config", "config.yaml", "../openapi.json")
		run(t, inGo, nil, "go", "build", "./...")
	})
	side("Python", func(t *testing.T) {
		python := []string{"env", "PYTHONPATH=" + tools.python, "PATH=" + tools.python + "/bin:" + os.Getenv("PATH"), "/usr/bin/python3"}
		run(t, dir, nil, append(slices.Clone(python), "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none", "--fail-on-warning")...)
		var examples map[string]struct{ Answer json.RawMessage }
		if err := json.Unmarshal(examplesFile, &examples); err != nil {
			t.Fatal(err)
		}
		got := run(t, dir, examples["list-events"].Answer, append(slices.Clone(python), "use.py")...)
		if want := "ParticipantEvent\n"; got != want {
			t.Errorf("the Python client reads events as %q, want %q", got, want)
		}
	})
}
