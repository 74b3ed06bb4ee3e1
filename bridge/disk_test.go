package bridge_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/internal/sim"
)

// TestFullDisk has the disk full for a while, at different times: what was
// written stays, what comes later is in its place, and the loss is said.
func TestFullDisk(t *testing.T) {
	const plenty = 1 << 40
	voice := encode(t, beeps(40))
	for what, full := range map[string]time.Duration{"in the middle": 8 * time.Second, "from the beginning": 0} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			var m bridge.Manifest
			var room atomic.Int64
			room.Store(plenty)
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				cfg := bridge.PartConfig{Dir: dir, Person: byName}
				cfg.OnDisk(room.Load)
				p := s.open(t, cfg)
				b := s.connect(t, p, sim.BridgeConfig{})
				go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: voice.Packet})
				time.Sleep(full)
				room.Store(int64(full/time.Second) * 3333) // in the middle of a page
				time.Sleep(10 * time.Second)
				if p.Status().Problem == nil {
					t.Error("got no problem while the disk is full")
				}
				room.Store(plenty)
				time.Sleep(31*time.Second - full)
				b.Expire()
				var err error
				if m, err = p.Close(t.Context()); !errors.Is(err, bridge.ErrNoSpace) || m.Problem == "" {
					t.Errorf("got %v and problem %q at the end, want what was lost", err, m.Problem)
				}
			})
			path := filepath.Join(dir, "001.ogg")
			pcm := decode(t, path)
			near(t, "length", position(len(pcm)), 40*time.Second)
			near(t, "length by ffprobe", probe(t, path), 40*time.Second)
			got := onsets(pcm)
			lost := 39 - len(got)
			if lost < 9 || lost > 17 {
				t.Errorf("got %d beeps lost, want those of 10 s and up to 5 s until the next try", lost)
			}
			if said := int(m.Tracks[0].Lost+500) / 1000; said < lost-1 || said > lost+2 {
				t.Errorf("got %d ms lost in the manifest, want some %d s", m.Tracks[0].Lost, lost)
			}
			for _, at := range got {
				near(t, "beep", at, at.Round(time.Second))
			}
		})
	}
}

// TestManifestIsWrittenOnceItCanBe, though nobody has said anything since.
func TestManifestIsWrittenOnceItCanBe(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		inTheWay := filepath.Join(dir, "manifest.json")
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(1, 3*time.Second)})
		time.Sleep(12 * time.Second) // and it is tried again, in vain
		if p.Status().Problem == nil {
			t.Error("no problem although the manifest cannot be written")
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if m := readManifest(t, dir); len(m.Tracks) != 1 || m.Complete {
			t.Errorf("got manifest %+v, want one with a track before the part is closed", m)
		}
		b.Expire()
		_, _ = p.Close(t.Context())
	})
}
