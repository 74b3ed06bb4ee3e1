package bridge_test

import (
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/internal/sim"
	"usher/internal/stack/stacktest"
)

// beeps is the noise of a room with a beep of 100 ms at every full second.
func beeps(seconds int) []int16 {
	pcm := noise(seconds)
	for i := range pcm {
		if i%sim.SampleRate < sim.SampleRate/10 && i >= sim.SampleRate {
			pcm[i] += int16(12000 * math.Sin(2*math.Pi*1000*float64(i)/sim.SampleRate))
		}
	}
	return pcm
}

// noise is that of a quiet room, −60 dBov: a bridge does not pass on silence.
func noise(seconds int) []int16 {
	random := rand.New(rand.NewPCG(1, 2))
	pcm := make([]int16, seconds*sim.SampleRate)
	for i := range pcm {
		pcm[i] = int16(random.NormFloat64() * 30)
	}
	return pcm
}

// onsets are the times at which beeps begin, after 100 ms of quiet.
func onsets(pcm []int16) (at []time.Duration) {
	const loud, quiet = 3000, sim.SampleRate / 10
	last := -quiet
	for i, sample := range pcm {
		if sample > loud || sample < -loud {
			if i-last > quiet {
				at = append(at, position(i))
			}
			last = i
		}
	}
	return at
}

func position(sample int) time.Duration {
	return time.Duration(sample) * time.Second / sim.SampleRate
}

func encode(t *testing.T, pcm []int16) sim.Voice {
	t.Helper()
	stacktest.Needed(t)
	v, err := sim.Encode(t.Context(), pcm)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func decode(t *testing.T, path string) []int16 {
	t.Helper()
	pcm, err := sim.Decode(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

// near fails the test unless got is within 50 ms of want.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d.Abs() > 50*time.Millisecond {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestBeepsAreInPlace records microphones that hear the same beeps while
// everything that is known to shift sound goes on, and decodes the files.
func TestBeepsAreInPlace(t *testing.T) {
	voice := encode(t, beeps(20))
	for name, cfg := range map[string]sim.BridgeConfig{
		"August 2026":      {},
		"before July 2026": {OldTags: true, NoLevels: true},
		"RED":              {RED: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var m bridge.Manifest
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
				b := s.connect(t, p, cfg)
				turnedOn := map[string]sim.Microphone{
					"ann": {SSRC: 1},
					// Handled late at first, as by a bridge under load.
					"ben": {SSRC: 2, Delay: func(at time.Duration) time.Duration { return max(0, 300*time.Millisecond-at) }},
					// Muted from 5.5 to 10.5 s, and one packet of 50 is lost.
					"cem": {SSRC: 3, Silent: func(n int) bool { return n >= 275 && n < 525 || n%50 == 30 }},
				}
				for endpoint, mic := range turnedOn {
					mic.Endpoint, mic.Sound = endpoint, voice.Packet
					go b.Play(t.Context(), mic)
				}
				time.Sleep(21 * time.Second)
				m = finish(t, b, p)
			})
			if len(m.Tracks) != 3 {
				t.Fatalf("got %d tracks, want 3: %+v", len(m.Tracks), m.Tracks)
			}
			for _, track := range m.Tracks {
				path := filepath.Join(dir, track.File)
				pcm := decode(t, path)
				near(t, track.Name+"'s length", position(len(pcm)), 20*time.Second)
				near(t, track.Name+"'s length by ffprobe", probe(t, path), 20*time.Second)
				near(t, track.Name+"'s end in the manifest", time.Duration(track.Last)*time.Millisecond, 20*time.Second)
				var want []time.Duration
				for second := 1; second < 20; second++ {
					if track.Name != "cem" || second < 6 || second > 10 {
						want = append(want, time.Duration(second)*time.Second)
					}
				}
				got := onsets(pcm)
				if len(got) != len(want) {
					t.Fatalf("%s: got beeps at %v, want %v", track.Name, got, want)
				}
				for i := range got {
					near(t, track.Name+"'s beep", got[i], want[i])
				}
			}
		})
	}
}

// probe returns the length of a file as ffprobe has it, and fails the test
// unless it is one Opus stream.
func probe(t *testing.T, path string) time.Duration {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries",
		"format=duration:stream=codec_name", "-of", "csv=p=0", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	codec, length, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	seconds, err := strconv.ParseFloat(length, 64)
	if err != nil || codec != "opus" {
		t.Fatalf("ffprobe: got %q, want opus and a length", out)
	}
	return time.Duration(seconds * float64(time.Second))
}
