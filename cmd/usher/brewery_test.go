package main

import (
	"strings"
	"testing"

	"usher/api"
	"usher/internal/stack"
)

// TestRecordersAreSeenOnAStockSite: a stock site lets only the domain of Jicofo and
// the Jibris into their room. usher watches it as an account of that domain.
func TestRecordersAreSeenOnAStockSite(t *testing.T) {
	s := newStudio(t)
	s.jibri("jibri-1", nil)
	s.until("the brewery shows the recorder to usher", func() bool {
		var list struct {
			Watching bool
			Data     []struct{ Name, Status, Source string }
		}
		must(t, s.call(t.Context(), "GET", "/v1/recorders", nil, &list))
		return list.Watching && len(list.Data) == 1 && list.Data[0].Name == "jibri-1" && list.Data[0].Source == "brewery"
	})
}

// TestWrongPasswordOfTheBrewerysAccount: recording works without the recorders in
// sight, so usher stays ready, and says which setting is wrong.
func TestWrongPasswordOfTheBrewerysAccount(t *testing.T) {
	s := newStudio(t, "--brewery-password=not-the-password")
	want := []string{"not in sight", "refuses " + stack.Watcher.JID(), "USHER_BREWERY_PASSWORD", "prosodyctl register usher " + stack.AuthDomain}
	s.until("readyz names the setting", func() bool {
		got := s.check("recorders")
		return got.State == api.CheckWarn && containsAll(got.Seen+got.Do, want)
	})
	s.waitReady("")
	if strings.Contains(s.log.String(), "not-the-password") {
		t.Error("the log holds the password")
	}
}
