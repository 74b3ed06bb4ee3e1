package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// programDir has the program that tests use, once one has asked for it.
var programDir string

// buildUsher builds it, once for all tests: linking takes seconds.
var buildUsher = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-lab-")
	if err != nil {
		return "", err
	}
	programDir = dir
	program := filepath.Join(dir, "usher")
	if out, err := exec.Command("go", "build", "-o", program, "../usher").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return program, nil
})

// usher returns the path of the program.
func usher(t *testing.T) string {
	t.Helper()
	program, err := buildUsher()
	if err != nil {
		t.Fatal(err)
	}
	return program
}
