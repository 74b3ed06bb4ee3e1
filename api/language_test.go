package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"": "en", "de": "de", "de-AT,de;q=0.9,en;q=0.8": "de", "en-GB,de;q=0.5": "en", "it,fr;q=0.7,es;q=0.8": "es",
		"it": "en", "fr;q=0": "en", "*": "en", "DE-ch": "de", "de;q=x": "en", ";;,,": "en",
	} {
		if got := language(http.Header{"Accept-Language": {accept}}); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", accept, got, want)
		}
	}
}

// TestPagesInEachLanguage: each page is there in each language, and says so.
func TestPagesInEachLanguage(t *testing.T) {
	for language, texts := range pageTexts {
		for _, page := range []joinPage{unknownPage, revokedPage, endedPage, removedPage, earlyPage, awayPage, tooManyPage} {
			page.Opens = time.Date(2026, 12, 1, 9, 30, 0, 0, time.UTC)
			w := httptest.NewRecorder()
			shown := page.in(language)
			shown.show(w)
			body := w.Body.String()
			if w.Code != page.Status || !strings.Contains(body, `lang="`+language+`"`) || texts[page.Code][1] == "" || shown.Title == page.Title || shown.Text == page.Text || !strings.Contains(body, texts["opens"][0]+" <time") || !strings.Contains(body, "2026-12-01 09:30 UTC") {
				t.Errorf("%s in %s: %d %s", page.Code, language, w.Code, body)
			}
		}
	}
	w := httptest.NewRecorder()
	early := earlyPage
	early.Opens = time.Date(2026, 12, 1, 9, 30, 0, 0, time.UTC)
	english := early.in("en")
	english.show(w)
	if body := w.Body.String(); !strings.Contains(body, `lang="en"`) || !strings.Contains(body, "It opens on <time datetime=\"2026-12-01T09:30:00Z\">1 December 2026 at 09:30 UTC</time>") {
		t.Errorf("in English: %s", body)
	}
}
