package app

import (
	"encoding/xml"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/bridge"
	"usher/component/brewery"
	"usher/config"
	"usher/meeting"
	"usher/meeting/service"
	"usher/meeting/tracker"
	"usher/storage"
)

// recorders are told in turn of what is to be recorded (tracker.Recorders).
type recorders []tracker.Recorders

// Work implements tracker.Recorders.
func (r recorders) Work(m meeting.Meeting) {
	for _, one := range r {
		one.Work(m)
	}
}

// notice returns who informs people of what is recorded from bridges; empty:
// nothing is.
func notice(cfg config.Config) meeting.Notice {
	if cfg.Tracks.Listen == "" {
		return ""
	}
	return meeting.Notice(cfg.Tracks.Notice)
}

// newTracks makes what records from bridges in the term.
func (l *leader) newTracks(t *term, stream brewery.Stream, reg prometheus.Registerer) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	results, err := tracksResults(l.cfg)
	if err != nil {
		return err
	}
	t.bridges = bridge.NewBridges(bridge.BridgesConfig{Stream: stream, Brewery: l.cfg.Tracks.Brewery, Log: l.log, Metrics: reg})
	t.tracks = bridge.NewRecorder(bridge.RecorderConfig{
		Bridges: t.bridges, Server: l.tracks, URL: l.cfg.Tracks.URL, Dir: l.cfg.Tracks.Dir, Host: host, Results: results,
		Do: t.do, Recording: l.store.Recording, Log: l.log,
	})
	return nil
}

// tracksResults says where what was recorded from bridges goes.
func tracksResults(cfg config.Config) (r bridge.Results, err error) {
	switch {
	case cfg.Tracks.Stay(&cfg.Recording):
		r.Root = cfg.RecordingsDir
	case cfg.Tracks.Bucket == "":
		r.Store = storage.Folder(cfg.RecordingsDir)
	default:
		bucket, folder, inside := strings.Cut(cfg.Tracks.Bucket, "/")
		if inside && folder != "" {
			folder = strings.TrimRight(folder, "/") + "/"
		}
		r.Store, err = storage.NewS3(cfg.S3, bucket, folder)
	}
	return r, err
}

// onBrewery hands on a presence of a brewery; those of other rooms are left alone.
func (t *term) onBrewery(d *xml.Decoder, start xml.StartElement) {
	if t.bridges != nil && t.bridges.Of(start) {
		t.bridges.Presence(d, start)
	} else {
		t.pool.Presence(d, start)
	}
}

func (t *term) breweryUp() {
	t.pool.Up()
	if t.bridges != nil {
		t.bridges.Up()
	}
}

func (t *term) breweryDown() {
	t.pool.Down()
	if t.bridges != nil {
		t.bridges.Down()
	}
}

// speakers says who spoke when, nil on a site that records nothing from bridges.
func speakers(cfg config.Config, st service.Store, files service.Files) api.Speakers {
	if cfg.Tracks.Listen == "" || files == nil {
		return nil
	}
	return bridge.Sessions{Recordings: st.Recordings, Open: files.Open}
}
