package bridge

import "time"

const (
	// slot is the grain of the speaker timeline.
	slot = 100 * millisecond
	// loudLevel tells speech from the rest of what a microphone hears, in −dBov:
	// what is louder is speech. Fixed, because a threshold relative to the noise
	// fails where silence is not sent.
	loudLevel = 45
	// loudSize is the same for bridges that send no level, before July 2026: bytes
	// of 20 ms, at the 32 kbit/s of a browser's microphone.
	loudSize = 77
	// maxHole is a hole in somebody's speech that is none, and minBurst the
	// shortest sound that is speech, in slots.
	maxHole  = 3
	minBurst = 2
	// maxSpans bounds the spans of one person, 8 bytes each: 24 hours of somebody
	// who begins to speak every four seconds.
	maxSpans = 20_000
)

// loud reports whether somebody speaks in a packet with the given level, nil if
// the bridge does not say it.
func loud(level *integer, opus []byte, length samples) bool {
	if level != nil {
		return *level >= 0 && *level < loudLevel
	}
	return samples(len(opus))*20*millisecond >= loudSize*length
}

// span is a stretch of slots.
type span struct{ begin, end int32 }

func (s span) length() int32 { return s.end - s.begin }

// speech is when one person spoke.
type speech struct {
	spans []span
	last  span // may still grow
	full  bool // there was more than maxSpans
}

// add notes a packet in which the person speaks. Packets may come in any order
// within the last span.
func (s *speech) add(position, length samples) {
	if position < 0 {
		return
	}
	// A slot counts when the middle of some 10 ms are in it.
	begin := int32((position + 5*millisecond) / slot)
	end := int32((position+length-5*millisecond)/slot) + 1
	if s.last.length() > 0 && begin-s.last.end <= maxHole {
		s.last.end = max(s.last.end, end)
		return
	}
	s.settle()
	s.last = span{begin, max(end, begin+1)}
}

// settle keeps the last span if it is speech.
func (s *speech) settle() {
	switch {
	case s.last.length() < minBurst:
	case len(s.spans) == maxSpans:
		s.full = true
	default:
		s.spans = append(s.spans, s.last)
	}
	s.last = span{}
}

// segments is when the person spoke until now.
func (s *speech) segments(speaker string) []Segment {
	spans := s.spans
	if s.last.length() >= minBurst {
		spans = append(spans[:len(spans):len(spans)], s.last)
	}
	segments := make([]Segment, len(spans))
	for i, span := range spans {
		segments[i] = Segment{speaker, slotTime(span.begin), slotTime(span.end)}
	}
	return segments
}

func slotTime(n int32) time.Duration { return (samples(n) * slot).duration() }
