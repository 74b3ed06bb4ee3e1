package bridge

import (
	"reflect"
	"testing"
)

// arrival is a packet of 20 ms: which one, and when it arrives.
type arrival struct {
	n  int
	at samples // ms
}

// play has packets arrive and returns which are taken at which time, in ms, and
// how many were refused. Time goes on for a second after the last.
func play(s *source, arrivals []arrival) (taken []arrival, refused int) {
	next := 0
	for now := samples(0); now <= arrivals[len(arrivals)-1].at+1000; now++ {
		for ; next < len(arrivals) && arrivals[next].at == now; next++ {
			p := packet{timestamp: samples(arrivals[next].n) * 20 * millisecond, arrival: now * millisecond, length: 20 * millisecond}
			s.clock.observe(p.timestamp, p.arrival)
			if !s.put(p) {
				refused++
			}
		}
		for {
			p, _, ok := s.take(now*millisecond, false)
			if !ok {
				break
			}
			taken = append(taken, arrival{int(p.timestamp / (20 * millisecond)), now})
		}
	}
	return taken, refused
}

// running is a source whose first packets, at 0 ms, have been taken.
func running() *source {
	s := &source{}
	play(s, []arrival{{0, 0}, {0, 2000}})
	return s
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		what     string
		arrivals []arrival
		want     []arrival
		refused  int
	}{
		{"in order", []arrival{{1, 20}, {2, 40}}, []arrival{{1, 20}, {2, 40}}, 0},
		{"two in the wrong order", []arrival{{2, 40}, {1, 50}, {3, 60}}, []arrival{{1, 50}, {2, 50}, {3, 60}}, 0},
		{"one lost", []arrival{{1, 20}, {3, 60}, {4, 80}}, []arrival{{1, 20}, {3, 260}, {4, 260}}, 0},
		{"one too late", []arrival{{1, 20}, {3, 60}, {2, 300}}, []arrival{{1, 20}, {3, 260}}, 1},
		{"repeated", []arrival{{1, 20}, {1, 25}, {3, 60}, {3, 61}}, []arrival{{1, 20}, {3, 260}}, 2},
		{"after a pause", []arrival{{1, 20}, {500, 10_000}, {501, 10_020}}, []arrival{{1, 20}, {500, 10_200}, {501, 10_200}}, 0},
	} {
		s := running()
		if got, refused := play(s, c.arrivals); !reflect.DeepEqual(got, c.want) || refused != c.refused {
			t.Errorf("%s: got %v, %d refused, want %v, %d", c.what, got, refused, c.want, c.refused)
		}
		if s.held != 0 || len(s.queue) != 0 {
			t.Errorf("%s: got %d bytes in %d packets left, want none", c.what, s.held, len(s.queue))
		}
	}
}

// TestHoldIsBounded sends more than the first two seconds can be.
func TestHoldIsBounded(t *testing.T) {
	s := &source{}
	for n := range samples(10_000) {
		p := packet{timestamp: n * 20 * millisecond, length: 20 * millisecond, opus: make([]byte, 1000)}
		s.clock.observe(p.timestamp, p.arrival)
		s.put(p)
		s.take(0, false)
		if s.held > maxHeld+maxPacket+packetCost {
			t.Fatalf("got %d bytes held, want %d or less", s.held, maxHeld)
		}
	}
}

func TestClock(t *testing.T) {
	var c clock
	for i := range samples(100) { // the first packets 300 ms late, then less
		c.observe(i*20*millisecond, i*20*millisecond+max(5, 300-i*10)*millisecond)
	}
	c.start()
	if want := 5 * millisecond; c.offset != want {
		t.Fatalf("got offset %d, want that of the most punctual packet, %d", c.offset, want)
	}
	step := func(from, to samples, lag samples) {
		for at := from; at < to; at += 20 * millisecond {
			c.observe(at-lag, at)
		}
	}
	step(2*second, 22*second, 20*millisecond) // within the noise
	if c.correct(true); c.offset != 5*millisecond {
		t.Errorf("15 ms off: got offset %d, want it left", c.offset)
	}
	step(22*second, 53*second, 30*millisecond)
	if c.correct(false); c.offset != 5*millisecond {
		t.Errorf("25 ms off in mid-speech: got offset %d, want it left", c.offset)
	}
	if c.correct(true); c.offset != 30*millisecond {
		t.Errorf("25 ms off in a pause: got offset %d, want it corrected", c.offset)
	}
	step(53*second, 90*second, 75*millisecond)
	if c.correct(false); c.offset != 75*millisecond {
		t.Errorf("45 ms off in mid-speech: got offset %d, want it corrected", c.offset)
	}
	step(90*second, 101*second, 2*second) // ten seconds of late packets
	if c.correct(true); c.offset != 75*millisecond {
		t.Errorf("one window of late packets: got offset %d, want it left", c.offset)
	}
	for what, timestamp := range map[string]samples{"too early": 200*second + second, "too late": 200*second - 40*second} {
		if c.observe(timestamp, 200*second) {
			t.Errorf("%s: accepted, want another clock", what)
		}
	}
}
