package config_test

import (
	"slices"
	"strings"
	"testing"

	"usher/config"
)

func TestUpstreamSettings(t *testing.T) {
	if c, err := parse(t, nil, "--component-secret=s", "--api-key="+key); err != nil || c.UpstreamURL != "" || c.Share != 0 {
		t.Errorf("without any: %+v, %v", c.Upstream, err)
	}
	needed := []string{
		"--component-secret=s", "--api-key=" + key, "--whereby-upstream-url=https://api.whereby.dev/v1",
		"--whereby-upstream-key=a-key", "--site-url=https://meet.example.org", "--jwt-secret=" + strings.Repeat("s", 32),
		"--public-url=https://usher.example.org",
	}
	c, err := parse(t, map[string]string{
		"USHER_WHEREBY_SHARE": "50", "USHER_WHEREBY_SHARE_PREFIX": "team-, visit-", "USHER_WHEREBY_UPSTREAM_WEBHOOK_SECRET": key,
	}, needed...)
	if err != nil || c.Share != 50 || !slices.Equal(c.SharePrefixes, []string{"team-", "visit-"}) || c.Fallback != config.FallbackWhereby || string(c.UpstreamKey) != "a-key" {
		t.Errorf("config = %+v, %v", c.Upstream, err)
	}
	for _, tt := range []struct{ flag, want string }{
		{"--whereby-share=101", "from 0 to 100"},
		{"--whereby-share=-1", "from 0 to 100"},
		{"--whereby-fallback=usher", "whereby-fallback must be"},
		{"--whereby-upstream-key=", "needs a whereby-upstream-key"},
		{"--whereby-upstream-webhook-secret=too-short", "whereby-upstream-webhook-secret has 9"},
		{"--whereby-upstream-url=api.whereby.dev/v1", "is not a URL"},
		{"--whereby-upstream-url=https://user:hidden@api.whereby.dev/v1", "is not a URL"},
		{"--whereby-upstream-url=http://api.whereby.dev/v1", "must be https"},
		{"--whereby-upstream-url=https://usher.example.org/whereby/v1", "is usher itself"},
		{"--whereby-upstream-url=http://127.0.0.1:8480/whereby/v1", "is usher itself"},
	} {
		_, err := parse(t, nil, append(slices.Clone(needed), tt.flag)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, want %q", tt.flag, err, tt.want)
		}
	}
	for flag, want := range map[string]string{
		"--whereby-share=50": "need a whereby-upstream-url", "--whereby-upstream-key=a-key": "need a whereby-upstream-url",
		"--whereby-share-prefix=team-,,visit-": "empty element",
		"--whereby-share-prefix=team-":         "need a whereby-upstream-url",
	} {
		if _, err := parse(t, nil, "--component-secret=s", "--api-key="+key, flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s without a URL: %v, want %q", flag, err, want)
		}
	}
	if _, err := parse(t, nil, append(slices.Delete(slices.Clone(needed), 4, 6), "--whereby-share=1")...); err == nil || !strings.Contains(err.Error(), "needs site-url") {
		t.Errorf("a share without tokens: %v", err)
	}
}
