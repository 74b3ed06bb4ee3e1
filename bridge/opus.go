package bridge

import "time"

// samples is a length or position of sound, at 48 kHz: the clock of Opus in RTP
// and in Ogg whatever the sound's own rate is (RFC 7587 §4.1, RFC 7845 §4).
type samples int64

const (
	millisecond samples = 48
	second              = 1000 * millisecond
)

// samplesIn is the number of samples in d.
func samplesIn(d time.Duration) samples { return samples(d.Microseconds() * 48 / 1000) }

// duration is how long s lasts.
func (s samples) duration() time.Duration { return time.Duration(s) * time.Millisecond / 48 }

const (
	maxOpusFrame  = 1275              // bytes (RFC 6716 §3.4, R2)
	maxOpusLength = 120 * millisecond // of a packet (R5)
)

// opusLength is the length of the sound in an Opus packet, 0 for bytes that are
// no well-formed one (RFC 6716 §3.4).
func opusLength(packet []byte) samples {
	if len(packet) == 0 {
		return 0
	}
	frame := opusFrameLength(packet[0])
	body := packet[1:]
	switch packet[0] & 3 {
	case 0: // one frame
		if len(body) <= maxOpusFrame {
			return frame
		}
	case 1: // two of the same size
		if len(body)%2 == 0 && len(body)/2 <= maxOpusFrame {
			return 2 * frame
		}
	case 2: // two, the first with its size
		size, rest, ok := opusSize(body)
		if ok && size <= len(rest) && len(rest)-size <= maxOpusFrame {
			return 2 * frame
		}
	case 3:
		if n := opusFrames(body); frame*n <= maxOpusLength {
			return frame * n
		}
	}
	return 0
}

// opusFrameLength is the length of a frame by the packet's first byte (§3.1).
func opusFrameLength(toc byte) samples {
	config := toc >> 3
	switch {
	case config < 12: // SILK
		return []samples{10, 20, 40, 60}[config&3] * millisecond
	case config < 16: // hybrid
		return []samples{10, 20}[config&1] * millisecond
	}
	return 120 << (config & 3) // CELT: 2.5, 5, 10 or 20 ms
}

// opusSize reads the size of a frame (§3.2.1).
func opusSize(b []byte) (size int, rest []byte, ok bool) {
	switch {
	case len(b) >= 1 && b[0] < 252:
		return int(b[0]), b[1:], true
	case len(b) >= 2:
		return int(b[0]) + 4*int(b[1]), b[2:], true
	}
	return 0, nil, false
}

// opusFrames is the number of frames of a packet of code 3, whose body is given
// (§3.2.5); 0 when it is not well formed.
func opusFrames(body []byte) samples {
	if len(body) == 0 {
		return 0
	}
	vbr, padded, frames := body[0]&0x80 != 0, body[0]&0x40 != 0, int(body[0]&0x3f)
	if frames == 0 {
		return 0
	}
	body = body[1:]
	if padded {
		unpadded, ok := opusUnpadded(body)
		if !ok {
			return 0
		}
		body = unpadded
	}
	if !vbr {
		if len(body)%frames != 0 || len(body)/frames > maxOpusFrame {
			return 0
		}
		return samples(frames)
	}
	sum := 0
	for range frames - 1 {
		size, rest, ok := opusSize(body)
		if !ok {
			return 0
		}
		sum, body = sum+size, rest
	}
	if last := len(body) - sum; last < 0 || last > maxOpusFrame {
		return 0
	}
	return samples(frames)
}

// opusUnpadded removes the padding and its length.
func opusUnpadded(body []byte) (rest []byte, ok bool) {
	padding := 0
	for {
		if len(body) == 0 {
			return nil, false
		}
		n := int(body[0])
		body = body[1:]
		if n < 255 {
			padding += n
			break
		}
		padding += 254 // and another byte of length follows
	}
	if padding > len(body) {
		return nil, false
	}
	return body[:len(body)-padding], true
}

// silence is a coded frame of silence in each of CELT's lengths, longest first.
var silence = [][]byte{{0xf8, 0xff, 0xfe}, {0xf0, 0xff, 0xfe}, {0xe8, 0xff, 0xfe}, {0xe0, 0xff, 0xfe}}

const shortestSilence = 120 // samples: 2.5 ms

// emptyFrames is a packet of six frames without content, 120 ms: a decoder goes
// on with what it heard last, which has to be silence.
var emptyFrames = []byte{0xfb, 0x06}

// fill calls add with packets of silence that last as long as gap, but for a
// rest shorter than shortestSilence. After the first frame, 120 ms cost 2 bytes.
func fill(gap samples, add func(packet []byte, length samples)) {
	quiet := false
	for gap >= shortestSilence {
		packet := emptyFrames
		if !quiet || gap < maxOpusLength {
			packet = longestSilence(gap)
		}
		length := opusLength(packet)
		add(packet, length)
		gap -= length
		quiet = true
	}
}

// longestSilence is the longest coded frame of silence that fits into gap.
func longestSilence(gap samples) []byte {
	for _, packet := range silence {
		if opusLength(packet) <= gap {
			return packet
		}
	}
	return nil
}
