package whereby

import (
	"strings"
	"testing"
)

// TestARoomTwiceInAList pages through rooms of which one was used a second time, an
// element a page, and finds each once.
func TestARoomTwiceInAList(t *testing.T) {
	by := fields{"roomName", "createdAt"}
	const all = `{"roomName":"/a","createdAt":"2026-11-03T10:00:00Z"},` +
		`{"roomName":"/b","createdAt":"2026-11-02T10:00:00Z"},{"roomName":"/a","createdAt":"2026-11-01T10:00:00Z"}`
	var got []string
	at := places{There: place{Done: true}}
	for cursor := "first"; cursor != "" && len(got) < 5; {
		here, err := by.read([]byte(`{"cursor":null,"results":[` + all + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		merged, next := mergePages(here.from(at.Here.After), page{}, at, 1, func(a, b element) bool { return a.at.After(b.at) })
		for _, one := range merged {
			got = append(got, string(one))
		}
		at, cursor = next, next.encode()
	}
	if got := strings.Join(got, ","); got != all {
		t.Errorf("%s, want %s", got, all)
	}
}
