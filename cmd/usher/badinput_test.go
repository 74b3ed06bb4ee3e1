package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBadRequests proves that wrong requests are answered by the running usher
// with a problem (RFC 9457) that names the field and repeats nothing sent.
func TestBadRequests(t *testing.T) {
	s := newScene(t)
	const sent = "s3cr3t-value"
	past := time.Now().Add(-time.Hour).Format(time.RFC3339)
	for name, tt := range map[string]struct {
		method, path, key, body string
		status                  int
		names                   string // in the answer
	}{
		"unknown field":    {"POST", "/v1/meetings", "", `{"pasword":"` + sent + `"}`, 422, "/pasword"},
		"wrong type":       {"POST", "/v1/meetings", "", `{"room":{"name":"` + sent + `"}}`, 422, "/room"},
		"past end":         {"POST", "/v1/meetings", "", `{"end_at":"` + past + `"}`, 422, "/end_at"},
		"end before start": {"POST", "/v1/meetings", "", `{"start_at":"2098-01-02T00:00:00Z","end_at":"2098-01-01T00:00:00Z"}`, 422, "/end_at"},
		"room of spaces":   {"POST", "/v1/meetings", "", `{"room":"` + sent + ` x"}`, 422, "/room"},
		"oversized body":   {"POST", "/v1/meetings", "", `{"external_id":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too_large"},
		"not JSON":         {"POST", "/v1/meetings", "", `{"room":` + sent, 400, "byte"},
		"room in use":      {"POST", "/v1/meetings", "", `{"room":"standup"}`, 409, s.id},
		"unknown filter":   {"GET", "/v1/meetings?romm=" + sent, "", "", 422, "romm"},
		"no such meeting":  {"GET", "/v1/meetings/" + sent, "", "", 404, "not_found"},
		"no such path":     {"GET", "/v2/" + sent, "", "", 404, "not_found"},
		"wrong method":     {"DELETE", "/v1/meetings", "", "", 405, "method_not_allowed"},
		"wrong key":        {"GET", "/v1/meetings", sent, "", 401, "unauthorized"},
		"no reservation":   {"POST", "/reservations/conference", sent, "name=standup", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+s.at.api+tt.path, strings.NewReader(tt.body))
			must(t, err)
			if tt.key == "" {
				tt.key = string(s.cfg.APIKeys[0])
			}
			req.Header.Set("Authorization", "Bearer "+tt.key)
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			must(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			must(t, err)
			if resp.StatusCode != tt.status {
				t.Errorf("answered %s, want %d: %s", resp.Status, tt.status, text)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" || !json.Valid(text) {
				t.Errorf("answered %s as %s, want a problem", text, got)
			}
			if !strings.Contains(string(text), tt.names) {
				t.Errorf("answered %s, want %q in it", text, tt.names)
			}
			if tt.status == http.StatusRequestEntityTooLarge && !resp.Close {
				t.Error("the connection stays open, and the rest of the body is taken for a request")
			}
			if strings.Contains(string(text), sent) || strings.Contains(string(text), string(s.cfg.APIKeys[0])) {
				t.Errorf("answered %s, which repeats what was sent", text)
			}
		})
	}
	if strings.Contains(s.log.String(), sent) {
		t.Error("the log holds what was sent")
	}
	s.waitReady("")
}
