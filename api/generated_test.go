package api

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"usher/internal/apitest"
)

// TestGeneratedClients checks the document as its readers do, and compiles clients
// that their tools make of it: an app leaves out what it may, and an event's type
// says what it holds.
func TestGeneratedClients(t *testing.T) {
	tools := apitest.InstallClientTools(t, "testdata/clients", newStandby(t).do("GET", "/openapi.json", "").Body.Bytes())
	dir := tools.Dir
	node := func(t *testing.T, name string, args ...string) {
		apitest.Execute(t, dir, nil, append([]string{filepath.Join(tools.Node, name)}, args...)...)
	}
	side := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t) })
	}
	side("linters", tools.Lint)
	side("TypeScript", func(t *testing.T) {
		node(t, "openapi-typescript", "openapi.json", "--output", "client.ts")
		node(t, "tsc", "--noEmit", "--strict", "--lib", "es2022", "--skipLibCheck", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "use.ts")
	})
	side("Go", func(t *testing.T) {
		inGo := filepath.Join(dir, "go")
		apitest.Execute(t, inGo, nil, "go", "tool", "oapi-codegen", "-config", "config.yaml", "../openapi.json")
		apitest.Execute(t, inGo, nil, "go", "build", "./...")
	})
	side("Python", func(t *testing.T) {
		python := []string{"env", "PYTHONPATH=" + tools.Python, "PATH=" + tools.Python + "/bin:" + os.Getenv("PATH"), "/usr/bin/python3"}
		apitest.Execute(t, dir, nil, append(slices.Clone(python), "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none", "--fail-on-warning")...)
		var examples map[string]struct{ Answer json.RawMessage }
		if err := json.Unmarshal(examplesFile, &examples); err != nil {
			t.Fatal(err)
		}
		got := apitest.Execute(t, dir, examples["list-events"].Answer, append(slices.Clone(python), "use.py")...)
		if want := "ParticipantEvent\n"; got != want {
			t.Errorf("the Python client reads events as %q, want %q", got, want)
		}
	})
}
