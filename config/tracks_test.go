package config

import (
	"errors"
	"strings"
	"testing"
)

func TestTracks(t *testing.T) {
	s3 := S3{Endpoint: "s3.example.org", AccessKey: "a", SecretKey: "b"}
	for name, c := range map[string]struct {
		tracks Tracks
		rec    Recording
		want   string // part of the error; empty: none
		stay   bool
	}{
		"none":               {Tracks{Notice: "jitsi"}, Recording{}, "", false},
		"no listener":        {Tracks{Notice: "app"}, Recording{}, "tracks-listen", false},
		"shared":             {Tracks{Listen: ":1", URL: "ws://usher:8481/"}, Recording{RecordingsDir: "/rec"}, "", true},
		"shared, named":      {Tracks{Listen: ":1", URL: "ws://usher:8481", Dir: "/rec/a/b"}, Recording{RecordingsDir: "/rec"}, "", true},
		"moved":              {Tracks{Listen: ":1", URL: "wss://usher/x", Dir: "/fast"}, Recording{RecordingsDir: "/rec"}, "", false},
		"s3":                 {Tracks{Listen: ":1", URL: "ws://usher:8481", Dir: "/fast", Bucket: "b"}, Recording{S3: s3}, "", false},
		"s3 below":           {Tracks{Listen: ":1", URL: "ws://usher:8481", Bucket: "b"}, Recording{RecordingsDir: "/rec", S3: s3}, "", false},
		"s3 without":         {Tracks{Listen: ":1", URL: "ws://usher:8481", Dir: "/fast", Bucket: "b"}, Recording{}, "s3-endpoint", false},
		"no directory":       {Tracks{Listen: ":1", URL: "ws://usher:8481", Bucket: "b"}, Recording{S3: s3}, "tracks-dir", false},
		"nowhere to go":      {Tracks{Listen: ":1", URL: "ws://usher:8481", Dir: "/fast"}, Recording{}, "recordings-dir", false},
		"no url":             {Tracks{Listen: ":1"}, Recording{RecordingsDir: "/rec"}, "tracks-url", false},
		"http":               {Tracks{Listen: ":1", URL: "http://usher:8481"}, Recording{RecordingsDir: "/rec"}, "tracks-url", false},
		"a query":            {Tracks{Listen: ":1", URL: "ws://usher:8481?a=b"}, Recording{RecordingsDir: "/rec"}, "tracks-url", false},
		"only a host's name": {Tracks{Listen: ":1", URL: "usher:8481"}, Recording{RecordingsDir: "/rec"}, "tracks-url", false},
	} {
		var p problems
		c.tracks.check(&p, &c.rec)
		err := errors.Join(p...)
		if got := err != nil; got != (c.want != "") || got && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
		if got := c.tracks.Stay(&c.rec); err == nil && c.tracks.Listen != "" && got != c.stay {
			t.Errorf("%s: stays %v, want %v (%s)", name, got, c.stay, c.tracks.Dir)
		}
		if strings.HasSuffix(c.tracks.URL, "/") {
			t.Errorf("%s: the URL is %q", name, c.tracks.URL)
		}
	}
}
