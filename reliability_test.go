package usher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReliabilityNamesTests makes sure that each row of docs/reliability.md names
// a test, and that all that are named there exist.
func TestReliabilityNamesTests(t *testing.T) {
	text, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/-]+) ((?:Test|Fuzz)[A-Za-z0-9]+)`")
	row := regexp.MustCompile(`(?m)^\| F?\d+ \|.*`)
	rows := row.FindAllString(string(text), -1)
	if len(rows) != 39+17 {
		t.Errorf("%d rows of faults, want 39 and 17", len(rows))
	}
	for _, line := range rows {
		if !named.MatchString(line) {
			t.Errorf("no test in the row %s", line)
		}
	}
	for _, m := range named.FindAllStringSubmatch(string(text), -1) {
		if err := hasTest(m[1], m[2]); err != nil {
			t.Error(err)
		}
	}
}

// hasTest returns an error unless the package in the folder has such a function.
func hasTest(folder, name string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return nil
		}
	}
	return fmt.Errorf("docs/reliability.md names %s %s, which does not exist", folder, name)
}
