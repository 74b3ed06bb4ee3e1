package bridge_test

import (
	"slices"
	"testing"
	"time"

	"usher/bridge"
	"usher/internal/sim"
)

// TestMeeting is a meeting with all that people do: they come later, mute,
// reload, leave, and go to a breakout room and back, which is a new nick each
// time. Everybody has one file, and everything in it is in its place.
func TestMeeting(t *testing.T) {
	dir := t.TempDir()
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	// Each packet has the number of the 20 ms of the meeting in which it was said.
	stays := []struct {
		endpoint string
		from, to int // seconds
		muted    [2]int
	}{
		{"ann", 0, 60, [2]int{20, 35}},
		{"ben-1", 5, 15, [2]int{}}, // reloads
		{"ben-2", 18, 40, [2]int{}},
		{"cem-1", 10, 25, [2]int{}}, // goes to a breakout room
		{"cem-2", 45, 60, [2]int{50, 52}},
		{"dee", 30, 31, [2]int{}},
	}
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, _ *service, _ *bridge.Part, b *sim.Bridge) {
		for i, s := range stays {
			time.AfterFunc(second(s.from), func() {
				b.Play(t.Context(), sim.Microphone{
					Endpoint: s.endpoint, SSRC: uint32(i), Delay: bursts(uint64(i)),
					Sound:  numberedFrom(s.from*50, second(s.to-s.from)),
					Silent: func(n int) bool { return n >= (s.muted[0]-s.from)*50 && n < (s.muted[1]-s.from)*50 },
				})
			})
		}
		time.Sleep(second(62))
	})
	file := map[string]string{}
	for _, track := range m.Tracks {
		if file[track.Name] != "" {
			t.Errorf("%s has two files, want one", track.Name)
		}
		file[track.Name] = track.File
	}
	for _, s := range stays {
		name := byName(s.endpoint).Name
		want := map[int]time.Duration{}
		for n := s.from * 50; n < s.to*50; n += 10 {
			if n < s.muted[0]*50 || n >= s.muted[1]*50 {
				want[n] = time.Duration(n) * 20 * time.Millisecond
			}
		}
		wantAt(t, dir, file[name], want)
	}
	var first []string // by when they spoke first
	for _, s := range m.Speech {
		if !slices.Contains(first, s.Speaker) {
			first = append(first, s.Speaker)
		}
	}
	if want := []string{"prt_ann", "prt_ben", "prt_cem", "prt_dee"}; !slices.Equal(first, want) {
		t.Errorf("got %v, want %v", first, want)
	}
}
