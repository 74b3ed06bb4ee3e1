package config_test

import (
	"strings"
	"testing"
)

func TestWherebySettings(t *testing.T) {
	const secret = "0123456789abcdef"
	needed := []string{"--component-secret=s", "--api-key=" + key}
	c, err := parse(t, map[string]string{"USHER_WHEREBY_ADDR": ":8090", "USHER_SEAL_SECRET": secret, "USHER_ALLOW_RECORDING_DESTINATION": "true"}, needed...)
	if err != nil || c.WherebyAddr != ":8090" || string(c.SealSecret) != secret || !c.AllowRecordingDestination {
		t.Errorf("config = %+v, %v", c.Whereby, err)
	}
	for _, tt := range []struct{ flag, value, want string }{
		{"--seal-secret", "too-short", "seal-secret"},
		{"--allow-recording-destination", "true", "needs a seal-secret"},
	} {
		_, err := parse(t, nil, append(needed, tt.flag+"="+tt.value)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "too-short") {
			t.Errorf("%s=%s: %v, want an error about %s", tt.flag, tt.value, err, tt.want)
		}
	}
}
