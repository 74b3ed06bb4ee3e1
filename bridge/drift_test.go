package bridge_test

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/internal/sim"
)

// numbered is a packet that says which it is: speech of 3 s, a pause of 1 s.
func numbered(n int) sim.Packet {
	level := uint8(20)
	if n%200 >= 150 {
		level = 80
	}
	const wideband20ms = 9 << 3 // SILK, mono, one frame
	return sim.Packet{Opus: binary.BigEndian.AppendUint32([]byte{wideband20ms, 'n', 'o', '.'}, uint32(n)), Level: level}
}

// readNumbered returns where each numbered packet of a file is.
func readNumbered(t *testing.T, path string) map[int]time.Duration {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := sim.OggPackets(file)
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]time.Duration{}
	var position time.Duration
	for _, p := range packets[2:] {
		if len(p) == 8 && string(p[1:4]) == "no." {
			at[int(binary.BigEndian.Uint32(p[4:]))] = position
		}
		position += time.Duration(bridge.OpusLength(p)) * time.Second / sim.SampleRate
	}
	return at
}

// bursts delays packets of one microphone: each second or so, packets are held
// up for up to 400 ms and then come at once.
func bursts(seed uint64) func(at time.Duration) time.Duration {
	random := rand.New(rand.NewPCG(seed, 0))
	var next, until time.Duration
	return func(at time.Duration) time.Duration {
		if at >= next {
			until = at + time.Duration(random.Int64N(int64(400*time.Millisecond)))
			next = until + time.Duration(random.Int64N(int64(2*time.Second)))
		}
		return max(0, until-at) + time.Duration(random.Int64N(int64(5*time.Millisecond)))
	}
}

var meetingLength = flag.Duration("meeting", 3*time.Minute, "length of the meeting whose clocks drift, in virtual time; 30m is the claim of docs/tracks.md")

// TestMeetingStaysAligned has a slow and a fast clock that drift in the meeting as far
// as clocks that are off by 50 ppm do in half an hour, and looks at where every packet
// went.
func TestMeetingStaysAligned(t *testing.T) {
	const claimedDrift, claimed = 50e-6, 30 * time.Minute
	length := *meetingLength
	drift := claimedDrift * float64(claimed) / float64(length)
	skew := map[string]float64{"slow": drift, "fast": -drift}
	dir := t.TempDir()
	var m bridge.Manifest
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		var playing sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		for i, name := range []string{"slow", "fast"} {
			playing.Go(func() {
				b.Play(ctx, sim.Microphone{
					Endpoint: name, SSRC: uint32(i), Skew: skew[name], Delay: bursts(uint64(i)),
					Sound: func(n int) (sim.Packet, bool) { return numbered(n), true },
				})
			})
		}
		playing.Wait()
		m = finish(t, b, p)
	})
	var off []time.Duration
	for _, track := range m.Tracks {
		at := readNumbered(t, filepath.Join(dir, track.File))
		if want := int(length/(20*time.Millisecond)) * 99 / 100; len(at) < want {
			t.Errorf("%s: got %d packets in the file, want %d or more", track.Name, len(at), want)
		}
		for n, position := range at {
			said := time.Duration(float64(n) * float64(20*time.Millisecond) * (1 + skew[track.Name]))
			off = append(off, position-said)
		}
	}
	slices.Sort(off)
	median := off[len(off)/2] // the way to the bridge, the same for all
	for i := range off {
		off[i] = (off[i] - median).Abs()
	}
	slices.Sort(off)
	p50, p99 := off[len(off)/2], off[len(off)*99/100]
	t.Logf("%d packets, off by p50 %v, p99 %v, at most %v", len(off), p50, p99, off[len(off)-1])
	if p99 > 50*time.Millisecond {
		t.Errorf("got p99 of %v, want 50 ms or less", p99)
	}
}
