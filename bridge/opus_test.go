package bridge

import (
	"bytes"
	"testing"
)

func TestOpusLength(t *testing.T) {
	many := func(n int, head ...byte) []byte { return append(head, make([]byte, n)...) }
	for _, c := range []struct {
		what   string
		packet []byte
		want   samples
	}{
		{"nothing", nil, 0},
		{"SILK, 10 ms", many(5, 0<<3), 480},
		{"SILK, 60 ms", many(5, 11<<3), 2880},
		{"hybrid, 20 ms, as Chrome sends it", many(76, 15<<3), 960},
		{"CELT, 2.5 ms", many(5, 28<<3), 120},
		{"CELT, 20 ms", many(5, 31<<3), 960},
		{"a first byte alone: silence", []byte{15 << 3}, 960},
		{"the largest frame", many(1275, 31<<3), 960},
		{"a larger one", many(1276, 31<<3), 0},
		{"two of the same size", many(6, 31<<3|1), 1920},
		{"an odd number of bytes for two", many(7, 31<<3|1), 0},
		{"two of 2 and 3 bytes", many(5, 31<<3|2, 2), 1920},
		{"two, the first larger than all", many(5, 31<<3|2, 6), 0},
		{"two, without a size", []byte{31<<3 | 2}, 0},
		{"two, with half a size", []byte{31<<3 | 2, 252}, 0},
		{"six empty ones", emptyFrames, 5760},
		{"no frames", []byte{31<<3 | 3, 0}, 0},
		{"no count", []byte{31<<3 | 3}, 0},
		{"more than 120 ms", []byte{31<<3 | 3, 7}, 0},
		{"48 of 2.5 ms", []byte{28<<3 | 3, 48}, 5760},
		{"three of the same size", many(6, 31<<3|3, 3), 2880},
		{"three of the same size, a byte too many", many(7, 31<<3|3, 3), 0},
		{"three with sizes", many(6, 31<<3|3, 0x80|3, 1, 2), 2880},
		{"three with sizes, too large", many(2, 31<<3|3, 0x80|3, 1, 2), 0},
		{"one with 2 bytes of padding", many(5, 31<<3|3, 0x40|1, 2), 960},
		{"one with more padding than bytes", many(5, 31<<3|3, 0x40|1, 6), 0},
		{"one with 256 bytes of padding", many(256+4, 31<<3|3, 0x40|1, 255, 2), 960},
		{"one with padding without an end", []byte{31<<3 | 3, 0x40 | 1, 255}, 0},
	} {
		if got := opusLength(c.packet); got != c.want {
			t.Errorf("%s: got %d samples, want %d", c.what, got, c.want)
		}
	}
}

// TestFill fills gaps of all lengths, to 2.5 ms.
func TestFill(t *testing.T) {
	for gap := samples(-500); gap < 20_000; gap += 7 {
		var got samples
		var packets [][]byte
		fill(gap, func(packet []byte, length samples) {
			if length != opusLength(packet) {
				t.Fatalf("got length %d for % x", length, packet)
			}
			got += length
			packets = append(packets, packet)
		})
		if left := gap - got; gap >= 0 && (left < 0 || left >= shortestSilence) || gap < 0 && got != 0 {
			t.Fatalf("a gap of %d: got %d filled", gap, got)
		}
		if len(packets) > 0 && bytes.Equal(packets[0], emptyFrames) {
			t.Fatalf("a gap of %d begins with empty frames: a decoder would go on with speech", gap)
		}
	}
	size := 0
	fill(3600*second, func(packet []byte, _ samples) { size += len(packet) })
	if want := 2*3600*1000/120 + 50; size > want {
		t.Errorf("an hour: got %d bytes, want %d or less", size, want)
	}
}

func FuzzOpusLength(f *testing.F) {
	f.Add([]byte{31<<3 | 3, 0x80 | 3, 1, 2, 0, 0})
	f.Add([]byte{31<<3 | 2, 252, 1})
	f.Add([]byte{0xef, 0, 0x0c, 3, 0x6f, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, packet []byte) {
		if n := opusLength(packet); n < 0 || n > maxOpusLength {
			t.Errorf("got %d samples, want 0 to 120 ms", n)
		}
		if p := redPrimary(packet); len(p) >= max(len(packet), 1) {
			t.Errorf("got %d bytes of %d", len(p), len(packet))
		}
	})
}
