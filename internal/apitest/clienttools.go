package apitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/stack/stacktest"
)

// ClientTools check OpenAPI documents and make clients of them, as api/testdata/clients
// pins them.
type ClientTools struct {
	Dir          string // a copy of that folder, with the document as openapi.json
	Node, Python string // where their programs are
}

// InstallClientTools returns the tools, which are installed once for each set of
// versions. pins is api/testdata/clients.
func InstallClientTools(t *testing.T, pins string, document []byte) ClientTools {
	t.Helper()
	stacktest.Needed(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	install := func(list string, args ...string) string {
		text, err := os.ReadFile(filepath.Join(pins, list))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		dir := filepath.Join(cache, "usher-tests", hex.EncodeToString(sum[:8]))
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		// Elsewhere at first: half of it must not be taken for all.
		if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
			t.Fatal(err)
		}
		half, err := os.MkdirTemp(filepath.Dir(dir), "new")
		if err == nil {
			err = os.CopyFS(half, os.DirFS(pins))
		}
		if err != nil {
			t.Fatal(err)
		}
		Execute(t, half, nil, args...)
		if err := os.Rename(half, dir); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
		return dir
	}
	tools := ClientTools{
		Dir:    t.TempDir(),
		Node:   filepath.Join(install("package-lock.json", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"), "node_modules/.bin"),
		Python: filepath.Join(install("requirements.txt", "/usr/bin/python3", "-m", "pip", "install", "--quiet", "--target", "python", "--requirement", "requirements.txt"), "python"),
	}
	err = os.CopyFS(tools.Dir, os.DirFS(pins))
	if err == nil {
		err = os.WriteFile(filepath.Join(tools.Dir, "openapi.json"), document, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

// Lint has the linters find nothing wrong with the document.
func (c ClientTools) Lint(t *testing.T) {
	t.Helper()
	Execute(t, c.Dir, nil, filepath.Join(c.Node, "redocly"), "lint", "openapi.json")
	Execute(t, c.Dir, nil, filepath.Join(c.Node, "spectral"), "lint", "--ruleset", "spectral.yaml", "--fail-severity", "warn", "openapi.json")
}

// Execute runs a program in a folder and returns its standard output.
func Execute(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(stdin), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), problems.Bytes())
	}
	return out.String()
}
