package bridge_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/internal/sim"
)

// numberedFrom is Sound that begins with the given number, and has the given
// length.
func numberedFrom(first int, length time.Duration) func(n int) (sim.Packet, bool) {
	return func(n int) (sim.Packet, bool) {
		return numbered(first + n), time.Duration(n)*20*time.Millisecond < length
	}
}

// record has a meeting in virtual time and returns what came of it.
func record(t *testing.T, cfg bridge.PartConfig, meeting func(t *testing.T, s *service, p *bridge.Part, b *sim.Bridge)) (m bridge.Manifest) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, cfg)
		b := s.connect(t, p, sim.BridgeConfig{})
		meeting(t, s, p, b)
		m = finish(t, b, p)
	})
	return m
}

// wantAt fails the test unless a file has each of the numbered packets near its
// place.
func wantAt(t *testing.T, dir, file string, want map[int]time.Duration) {
	t.Helper()
	got := readNumbered(t, filepath.Join(dir, file))
	for n, at := range want {
		if _, ok := got[n]; !ok {
			t.Errorf("%s: packet %d is missing", file, n)
			continue
		}
		near(t, fmt.Sprintf("%s: packet %d", file, n), got[n], at)
	}
}

// files lists the tracks of a manifest: file, name and endpoints.
func files(m bridge.Manifest) (list []string) {
	for _, t := range m.Tracks {
		list = append(list, fmt.Sprint(t.File, " ", t.Name, " ", t.Endpoints))
	}
	return list
}

// TestReloadGoesOnInTheSameFile has somebody reload the page: another nick and
// stream, and the same person.
func TestReloadGoesOnInTheSameFile(t *testing.T) {
	dir := t.TempDir()
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 5*time.Second)})
		time.Sleep(3 * time.Second)
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann-2", SSRC: 2, Sound: numberedFrom(1000, 5*time.Second)})
	})
	if got, want := files(m), []string{"001.ogg ann [ann ann-2]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 249: 4980 * time.Millisecond, 1000: 8020 * time.Millisecond, 1249: 13 * time.Second})
}

// TestTwoMicrophonesOfOnePerson has somebody in the meeting with a laptop and a
// phone.
func TestTwoMicrophonesOfOnePerson(t *testing.T) {
	dir := t.TempDir()
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 6*time.Second)})
		time.Sleep(time.Second)
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann-2", SSRC: 2, Sound: numberedFrom(1000, 6*time.Second)})
	})
	if got, want := files(m), []string{"001.ogg ann [ann ann-2]", "002.ogg ann [ann ann-2]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 299: 5980 * time.Millisecond})
	wantAt(t, dir, "002.ogg", map[int]time.Duration{1000: time.Second, 1299: 6980 * time.Millisecond})
}

// TestWhoItIsBecomesKnownLate has presence come after the sound.
func TestWhoItIsBecomesKnownLate(t *testing.T) {
	dir := t.TempDir()
	var known atomic.Bool
	person := func(endpoint string) bridge.Person {
		if !known.Load() {
			return bridge.Person{}
		}
		return byName(endpoint)
	}
	m := record(t, bridge.PartConfig{Dir: dir, Person: person}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ben", SSRC: 2, Sound: numberedFrom(2000, 5*time.Second)})
		time.AfterFunc(3*time.Second, func() { known.Store(true) })
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 5*time.Second)})
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann-2", SSRC: 3, Sound: numberedFrom(1000, 5*time.Second)})
	})
	got := files(m)
	slices.SortFunc(got, func(a, b string) int { return int(a[len("001.ogg ")]) - int(b[len("001.ogg ")]) })
	if len(got) != 2 || got[0][len("001.ogg "):] != "ann [ann ann-2]" || got[1][len("001.ogg "):] != "ben [ben]" {
		t.Errorf("got %v, want one file of ann and one of ben", got)
	}
	for _, s := range m.Speech {
		if s.Speaker != "prt_ann" && s.Speaker != "prt_ben" {
			t.Errorf("%s spoke, want ann and ben", s.Speaker)
		}
	}
}

// TestNobodyKnown records people of whom nothing is known but their nicks.
func TestNobodyKnown(t *testing.T) {
	m := record(t, bridge.PartConfig{Dir: t.TempDir()}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		b.Play(t.Context(), sim.Microphone{Endpoint: "71b0376a", SSRC: 1, Sound: numberedFrom(0, 3*time.Second)})
	})
	if got, want := files(m), []string{"001.ogg  [71b0376a]"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(m.Speech) != 1 || m.Speech[0].Speaker != "71b0376a" {
		t.Errorf("got %v, want one segment of 71b0376a", m.Speech)
	}
}

// TestEncryptedSoundIsLeftOut has somebody turn on encryption from end to end:
// what the bridge sends of them is noise, but how loud it is is true.
func TestEncryptedSoundIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	var encrypted atomic.Bool
	person := func(endpoint string) bridge.Person {
		p := byName(endpoint)
		p.Encrypted = endpoint == "ann" && encrypted.Load() || endpoint == "ben"
		return p
	}
	m := record(t, bridge.PartConfig{Dir: dir, Person: person}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ben", SSRC: 2, Sound: numberedFrom(0, 10*time.Second)})
		time.AfterFunc(5*time.Second, func() { encrypted.Store(true) })
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 10*time.Second)})
	})
	if len(m.Tracks) != 1 || !m.Tracks[0].Encrypted || m.Tracks[0].Name != "ann" {
		t.Fatalf("got tracks %+v, want ann's, marked as encrypted", m.Tracks)
	}
	if len(m.NoSound) != 1 || !m.NoSound[0].Encrypted || m.NoSound[0].Name != "ben" {
		t.Errorf("got without sound %+v, want ben, marked as encrypted", m.NoSound)
	}
	if last := m.Tracks[0].Last; last < 5000 || last > 5250 {
		t.Errorf("ann's file ends at %d ms, want at 5 s, or 250 ms later", last)
	}
	spoke := map[string]int64{}
	for _, s := range m.Speech {
		spoke[s.Speaker] += s.End - s.Start
	}
	for _, who := range []string{"prt_ann", "prt_ben"} {
		if got := spoke[who]; got < 8000 || got > 8300 { // three times a slot that is begun
			t.Errorf("%s spoke for %d ms, want 8 s", who, got)
		}
	}
}

// TestLevelsOnly keeps speaking times and no sound.
func TestLevelsOnly(t *testing.T) {
	m := record(t, bridge.PartConfig{Person: byName}, func(t *testing.T, _ *service, p *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 8*time.Second)})
		time.Sleep(6 * time.Second)
		if got := p.Speech(); len(got) != 2 {
			t.Errorf("got %v after 6 s, want what ann has said until now", got)
		}
		if s := p.Status(); s.Sockets != 1 || s.Streams != 1 || s.Tracks != 0 || s.Bridge != "2.3.SNAPSHOT" || s.Problem != nil {
			t.Errorf("got %+v, want one socket, one stream, no track", s)
		}
		time.Sleep(3 * time.Second)
	})
	if len(m.Tracks) != 0 || len(m.NoSound) != 1 || len(m.Speech) != 2 {
		t.Errorf("got %+v, want ann's speaking times alone", m)
	}
}
