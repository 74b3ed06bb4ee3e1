package bridge

import (
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"usher/internal/sim"
)

// FuzzPart has packets with any timestamps arrive at any time, announced anew in
// between. Whatever comes, the file is whole, and no longer than the time that
// passed.
func FuzzPart(f *testing.F) {
	f.Add([]byte("\x00\x14\x14\x01\x14\x14\x02\x14\x14\x83\x14\x14\x04\x14\x14"))
	f.Add([]byte("\x00\x14\x14\x00\xff\xff\x00\x14\x80\x00\x00\x00\x41\xff\x14"))
	f.Fuzz(func(t *testing.T, script []byte) {
		dir := t.TempDir()
		p := newPart(PartConfig{Meeting: "m", ID: "p", Dir: dir}, "", slog.New(slog.DiscardHandler), newMetrics(nil))
		s := &socket{part: p, sources: map[string]*source{}}
		at, timestamp := time.Now(), samples(0)
		send := func(event string, m message) { p.handle(input{socket: s, at: at, event: event, message: m}) }
		announced := message{}
		announced.Start.Tag, announced.Start.Custom.Endpoint, announced.Start.Format.Encoding = "a", "a", "opus"
		send(eventStart, announced)
		// Each step: what to do, how far the timestamp and the time go, in ms.
		for ; len(script) >= 3; script = script[3:] {
			kind, step, wait := script[0], int8(script[1]), script[2]
			timestamp += samples(step) * millisecond << (kind & 0x3f % 40)
			at = at.Add(time.Duration(wait) * time.Millisecond << (kind >> 6))
			if kind == 0xff {
				send(eventStart, announced)
			}
			toc := []byte{15 << 3, 28 << 3, 11 << 3}[kind%3] // 20, 2.5 and 60 ms
			send(eventMedia, message{Media: media{Tag: "a", Timestamp: integer(timestamp), Payload: []byte{toc, kind}}})
			p.tick(at)
		}
		p.finish(at)
		for _, track := range p.tracks {
			if most := p.now + maxEarly + maxOpusLength; track.end > most {
				t.Errorf("got a file of %v after %v", track.end.duration(), p.now.duration())
			}
			checkFile(t, filepath.Join(dir, track.name), track.end)
		}
		if p.problem != nil {
			t.Error(p.problem)
		}
	})
}

// checkFile fails the test unless the packets of a file last as long as want,
// and its last page says so.
func checkFile(t *testing.T, path string, want samples) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := sim.OggPackets(file)
	if err != nil {
		t.Fatal(err)
	}
	var sum samples
	for _, packet := range packets[2:] {
		n := opusLength(packet)
		if n == 0 {
			t.Fatalf("got % x in the file, want Opus", packet)
		}
		sum += n
	}
	if sum != want {
		t.Errorf("got packets of %d samples, want %d", sum, want)
	}
	var granule uint64
	for len(file) > 0 { // page by page
		granule = binary.LittleEndian.Uint64(file[6:])
		size := 27 + int(file[26])
		for _, n := range file[27:size] {
			size += int(n)
		}
		page := file[:size]
		checksum := binary.LittleEndian.Uint32(page[22:])
		clear(page[22:26])
		if got := oggChecksum(page); got != checksum {
			t.Errorf("got checksum %08x, want %08x", checksum, got)
		}
		file = file[size:]
	}
	if granule != uint64(want+preSkip) {
		t.Errorf("got %d samples by the last page, want %d", granule, want+preSkip)
	}
}
