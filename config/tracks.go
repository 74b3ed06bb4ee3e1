package config

import (
	"path/filepath"
	"strings"
)

// Tracks is what serve needs to record from the site's video bridges.
type Tracks struct {
	Listen  string `placeholder:"HOST:PORT" help:"Address of the WebSocket service to which the site's video bridges send what each person says; without one nothing is recorded from them. Keep it inside the site: what comes in is not encrypted unless a proxy in front of it does so."`
	URL     string `name:"url" placeholder:"ws://HOST:PORT" help:"URL under which the video bridges reach it."`
	Notice  string `default:"jitsi" enum:"jitsi,app" help:"Who informs people that their voices are recorded: jitsi, whose clients do so only while a file is recorded too, so that nothing is recorded from bridges without; or app, with which the operator declares that the app does so in any case."`
	Dir     string `placeholder:"RECORDINGS-DIR/tracks" help:"Directory in which recordings from bridges are made. Below recordings-dir they stay there; else they are moved there when they are over."`
	Bucket  string `help:"Bucket of s3-endpoint that they go to instead, perhaps with a folder behind it: bucket/folder."`
	Brewery string `placeholder:"jvbbrewery@internal-muc.DOMAIN" help:"Room in which the site's video bridges wait."`
}

// check completes the directory and reports what cannot work.
func (t *Tracks) check(p *problems, r *Recording) {
	if t.Listen == "" {
		p.when(t.URL != "" || t.Dir != "" || t.Bucket != "" || t.Notice == "app",
			"tracks-listen is missing: without it the other settings of tracks do nothing")
		return
	}
	p.when(!plainURL(t.URL, "ws", "wss"),
		"tracks-url is %q: it must be ws:// or wss:// and where the video bridges reach tracks-listen, such as ws://usher:8481", t.URL)
	t.URL = strings.TrimRight(t.URL, "/")
	if t.Dir == "" && r.RecordingsDir != "" {
		t.Dir = filepath.Join(r.RecordingsDir, "tracks")
	}
	switch {
	case t.Dir == "":
		p.add("tracks-dir is missing: recordings from bridges are made there, also those that go to S3")
	case t.Bucket == "" && r.RecordingsDir == "":
		p.add("recordings-dir and tracks-bucket are missing: nobody could get at what is recorded from bridges")
	case t.Bucket != "" && r.S3.Endpoint == "":
		p.add("tracks-bucket needs s3-endpoint, s3-access-key and s3-secret-key")
	}
}

// Stay reports whether what is recorded from bridges stays where it is made.
func (t *Tracks) Stay(r *Recording) bool {
	below, err := filepath.Rel(r.RecordingsDir, t.Dir)
	return t.Bucket == "" && err == nil && filepath.IsLocal(below)
}
