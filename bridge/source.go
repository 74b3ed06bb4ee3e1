package bridge

import (
	"cmp"
	"slices"
)

const (
	// reorderTime is how long a packet waits for one before it: a bridge passes
	// packets on as they come from the network.
	reorderTime = 200 * millisecond
	// maxHeld bounds the packets of a source that wait, in bytes: two seconds of
	// Opus at its highest rate, 510 kbit/s.
	maxHeld = 128 << 10
	// packetCost is added to the size of each: a million empty ones are not free.
	packetCost = 64 // bytes
	// maxPacket is the size of an RTP packet on Ethernet: no browser sends more.
	maxPacket = 1500 // bytes
	// maxTimestamp keeps sums of timestamps far from overflowing.
	maxTimestamp = 1 << 53
	// usualQueue is more than the packets that wait once the clock runs.
	usualQueue = 16
	// pauseTime is how long a speaker is quiet before it is a pause.
	pauseTime = 500 * millisecond
	// idleTime is how long a source may send nothing before its clock is found
	// anew: by then it may have drifted, and nothing is lost by holding packets.
	idleTime = 30 * second
)

// packet is one packet of a source.
type packet struct {
	timestamp samples
	arrival   samples // after the part's beginning
	length    samples // of its sound
	loud      bool    // somebody speaks
	opus      []byte
}

// source is one stream of packets, such as that of a microphone: it brings
// packets into order and says where they belong.
type source struct {
	endpoint string
	socket   *socket // whose packets count: the one that announced it last
	red      bool

	clock  clock
	queue  []packet // by timestamp
	held   int      // bytes in queue
	next   samples  // timestamp after the packet that was taken last
	begun  bool     // one was taken since the clock began
	voiced samples  // position until which somebody spoke
	heard  samples  // arrival of the last packet

	speaker   *speaker // nil until the first packet is taken
	track     *track
	encrypted bool // from end to end: noise to us
}

// restart gets ready for packets with timestamps of another clock. What is
// held must have been taken.
func (s *source) restart() {
	s.clock, s.begun = clock{}, false
}

// put takes in a packet that arrived just now. It reports whether it is new:
// neither a repetition nor too late. The timestamps must be of the source's
// clock, see clock.observe.
func (s *source) put(p packet) bool {
	if s.begun && p.timestamp < s.next {
		return false
	}
	at, found := slices.BinarySearchFunc(s.queue, p.timestamp, func(q packet, t samples) int { return cmp.Compare(q.timestamp, t) })
	if found {
		return false
	}
	s.queue = slices.Insert(s.queue, at, p)
	s.held += len(p.opus) + packetCost
	return true
}

// take removes the next packet that need not wait any longer and returns it
// with its position; all of them with flush.
func (s *source) take(now samples, flush bool) (p packet, position samples, ok bool) {
	if len(s.queue) == 0 {
		return packet{}, 0, false
	}
	full := s.held > maxHeld
	if !s.clock.running {
		if !full && !flush && !s.clock.held(now) {
			return packet{}, 0, false
		}
		s.clock.start()
	}
	p = s.queue[0]
	follows := s.begun && p.timestamp == s.next
	if !follows && !full && !flush && now-p.arrival < reorderTime {
		return packet{}, 0, false
	}
	s.queue = slices.Delete(s.queue, 0, 1)
	if len(s.queue) == 0 && cap(s.queue) > usualQueue {
		s.queue = nil // the first two seconds made it large
	}
	s.held -= len(p.opus) + packetCost
	s.next, s.begun = p.timestamp+p.length, true
	s.clock.correct(p.timestamp+s.clock.offset-s.voiced >= pauseTime)
	position = p.timestamp + s.clock.offset
	if p.loud {
		s.voiced = position + p.length
	}
	return p, position, true
}
