package usher_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLinks makes sure that each link from one document to another, or to a file,
// leads to something, the heading behind a # too.
func TestLinks(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`)
	links := 0
	for _, file := range strings.Fields(string(out)) {
		for _, m := range link.FindAllStringSubmatch(readFile(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s has a link to %s, which does not exist", file, m[1])
			} else if m[2] != "" && !slices.Contains(headings(readFile(t, target)), m[2]) {
				t.Errorf("%s has a link to %s#%s, and there is no such heading", file, m[1], m[2])
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links found, want many more", links)
	}
}

// headings returns the names under which GitHub shows the headings of a document.
func headings(text string) (names []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if title := strings.TrimLeft(line, "#"); !code && title != line {
			title = dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			names = append(names, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return names
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
