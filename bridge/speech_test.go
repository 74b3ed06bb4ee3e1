package bridge_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/internal/sim"
	"usher/internal/stack/stacktest"
)

// line is what somebody says in the scripted conversation, and when.
type line struct {
	who, voice, text string
	at               time.Duration
}

// conversation has pauses, an answer of one word, two people at once, and
// somebody who says nothing.
var conversation = []line{
	{"ann", "en", "Good morning everybody. Shall we begin with the numbers of last week?", 1 * time.Second},
	{"ben", "en+f3", "Yes.", 7 * time.Second},
	{"ben", "en+f3", "We had four hundred and twelve visitors, and most of them came on Tuesday.", 8500 * time.Millisecond},
	{"cem", "en+m3", "That was the day of the fair. I was there. It rained all morning.", 15 * time.Second},
	{"ann", "en", "I would not call that rain.", 18 * time.Second},
	{"ben", "en+f3", "Let us look at the list of open questions, one after the other, and see who can take which.", 23 * time.Second},
	{"ann", "en", "Fine. I take the first two.", 31 * time.Second},
	{"cem", "en+m3", "Then I take the third. Is there anything else? No? Good. Thank you all, until next week.", 34 * time.Second},
}

const conversationSeconds = 45

// sounds returns the sound of each person: what they say, without noise.
func sounds(t *testing.T) map[string][]int16 {
	t.Helper()
	stacktest.Needed(t)
	sounds := map[string][]int16{"dee": make([]int16, conversationSeconds*sim.SampleRate)}
	for _, l := range conversation {
		spoken, err := sim.Speak(t.Context(), l.voice, l.text)
		if err != nil {
			t.Fatal(err)
		}
		if sounds[l.who] == nil {
			sounds[l.who] = make([]int16, conversationSeconds*sim.SampleRate)
		}
		copy(sounds[l.who][int(l.at.Seconds()*sim.SampleRate):], spoken)
	}
	return sounds
}

// speaks says in which slots of 100 ms there is speech, by the clean sound: a
// pause of up to 300 ms is part of it.
func speaks(clean []int16) []bool {
	slots := make([]bool, len(clean)/(sim.SampleRate/10))
	last := -len(slots)
	for i := range slots {
		if sim.Level(clean[i*sim.SampleRate/10:(i+1)*sim.SampleRate/10]) >= 50 {
			continue
		}
		if i-last <= 4 {
			for pause := last + 1; pause < i; pause++ {
				slots[pause] = true
			}
		}
		slots[i], last = true, i
	}
	return slots
}

// TestWhoSpokeWhen compares the timeline of a scripted conversation, with noise
// in everybody's room, with the clean sound.
func TestWhoSpokeWhen(t *testing.T) {
	clean := sounds(t)
	voices := map[string]sim.Voice{}
	for who, sound := range clean {
		noisy := slices.Clone(sound)
		for i, n := range noise(conversationSeconds) {
			noisy[i] += n
		}
		voices[who] = encode(t, noisy)
	}
	var segments []bridge.Segment
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		ssrc := uint32(0)
		for who, voice := range voices {
			ssrc++
			go b.Play(t.Context(), sim.Microphone{Endpoint: who, SSRC: ssrc, Sound: voice.Packet, Delay: bursts(uint64(ssrc))})
		}
		time.Sleep((conversationSeconds + 1) * time.Second)
		finish(t, b, p)
		segments = p.Speech()
	})
	var both, found, spoken, right, all int
	for who, sound := range clean {
		want := speaks(sound)
		got := make([]bool, len(want)+10)
		for _, s := range segments {
			for slot := s.Start / (100 * time.Millisecond); s.Speaker == "prt_"+who && slot < s.End/(100*time.Millisecond); slot++ {
				got[slot] = true
			}
		}
		for i := range want {
			all++
			if want[i] == got[i] {
				right++
			}
			if want[i] && got[i] {
				both++
			}
			if got[i] {
				found++
			}
			if want[i] {
				spoken++
			}
		}
	}
	precision, recall := float64(both)/float64(found), float64(both)/float64(spoken)
	t.Logf("%d slots with speech: precision %.3f, recall %.3f; right %.3f of %d", spoken, precision, recall, float64(right)/float64(all), all)
	if precision < 0.95 || recall < 0.95 {
		t.Errorf("got precision %.3f and recall %.3f, want 0.95 or more", precision, recall)
	}
	wantReadable(t, segments)
	var order []string
	for _, turn := range bridge.Turns(segments) {
		order = append(order, turn.Speaker[len("prt_"):])
	}
	if want := []string{"ann", "ben", "cem", "ann", "ben", "ann", "cem"}; !slices.Equal(order, want) {
		t.Errorf("got turns of %v, want %v", order, want)
	}
}

// wantReadable has ffprobe read the turns as WebVTT.
func wantReadable(t *testing.T, segments []bridge.Segment) {
	t.Helper()
	turns := bridge.Turns(segments)
	var vtt bytes.Buffer
	if err := bridge.WriteWebVTT(&vtt, turns, 0, func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-f", "webvtt", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0", "pipe:0")
	cmd.Stdin = &vtt
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	var want strings.Builder
	for _, turn := range turns {
		fmt.Fprintf(&want, "%.6f,%.6f\n", turn.Start.Seconds(), (turn.End - turn.Start).Seconds())
	}
	if string(out) != want.String() {
		t.Errorf("ffprobe reads\n%s\nwant\n%s", out, want.String())
	}
}
