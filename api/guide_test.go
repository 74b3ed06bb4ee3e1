package api

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"usher/meeting"
	"usher/webhook"
)

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGuideListsEveryRoute compares the tables of docs/http-api.md with the
// document that is served: the same routes, each with the same scope.
func TestGuideListsEveryRoute(t *testing.T) {
	var served, told []string
	for path, item := range loadDocument(t).Paths.Map() {
		for method, op := range item.Operations() {
			served = append(served, method+" "+path+" "+strings.Join((*op.Security)[0][securityScheme], " "))
		}
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+ /v1/[^ `]*)` \\| `?([^`|]*?)`? \\|")
	for _, m := range row.FindAllStringSubmatch(readGuide(t), -1) {
		told = append(told, m[1]+" "+m[2])
	}
	for _, route := range served {
		if !slices.Contains(told, route) {
			t.Errorf("docs/http-api.md does not list %s", route)
		}
	}
	for _, route := range told {
		if !slices.Contains(served, route) {
			t.Errorf("docs/http-api.md lists %s, which is not served", route)
		}
	}
	if len(told) != len(served) {
		t.Errorf("%d routes are listed, %d are served", len(told), len(served))
	}
}

// TestGuideListsEveryCode looks for each code of an error, those of statuses
// and those that are set in the source.
func TestGuideListsEveryCode(t *testing.T) {
	guide := readGuide(t)
	want := []string{NewProblem(0, "").Code}
	for _, code := range codes {
		want = append(want, code)
	}
	for _, r := range refusals {
		if r.code != "" {
			want = append(want, r.code)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?:\.Code = |\.coded\(|Code: )"([a-z_]+)"`)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range set.FindAllSubmatch(source, -1) {
			want = append(want, string(m[1]))
			found++
		}
	}
	if found < 5 {
		t.Errorf("%d codes found in the source", found)
	}
	for _, code := range want {
		if !strings.Contains(guide, "| `"+code+"` |") {
			t.Errorf("docs/http-api.md does not list the code %s", code)
		}
	}
}

// TestGuideTellsLimits looks for what the code says in the text.
func TestGuideTellsLimits(t *testing.T) {
	var notKept []string
	for status := range 500 {
		if status >= 400 && !final(status) {
			notKept = append(notKept, strconv.Itoa(status))
		}
	}
	last := len(notKept) - 1
	for _, want := range []string{
		fmt.Sprintf("A request takes %.0f seconds at most", RequestTimeout.Seconds()),
		"neither are " + strings.Join(notKept[:last], ", ") + " and " + notKept[last] + ".",
	} {
		if !strings.Contains(readGuide(t), want) {
			t.Errorf("docs/http-api.md does not say %q", want)
		}
	}
}

// TestGuideListsEveryEvent compares what the document says of events with the table of
// docs/webhooks.md.
func TestGuideListsEveryEvent(t *testing.T) {
	guide, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	webhooks := loadDocument(t).Webhooks
	for _, e := range meeting.EventTypes {
		row := regexp.MustCompile("(?m)^\\| `" + string(e) + "` \\| (.*?) \\| `" + eventKinds[strings.Split(string(e), ".")[0]][0] + "`").FindSubmatch(guide)
		if row == nil || strings.ReplaceAll(string(row[1]), "`", "") != occasions[e] {
			t.Errorf("docs/webhooks.md says %s of %s, want %q", row, e, occasions[e])
		}
		if webhooks[string(e)] == nil {
			t.Errorf("the document has no webhook %s", e)
		}
	}
	// And the other way round: a type that the list lacks.
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z]+)` \\| .* \\|$").FindAllSubmatch(guide, -1) {
		if e := meeting.EventType(row[1]); !slices.Contains(meeting.EventTypes, e) && e != webhook.TypeTest {
			t.Errorf("docs/webhooks.md has a row of %s, which is not among the types", e)
		}
	}
	if len(occasions) != len(meeting.EventTypes) || len(webhooks) != len(occasions)+1 {
		t.Errorf("%d types, %d of them with an occasion, and %d webhooks, want one of each, and webhook.test", len(meeting.EventTypes), len(occasions), len(webhooks))
	}
}
