package bridge_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"usher/bridge"
)

func startText(endpoint, tag, encoding string) string {
	return fmt.Sprintf(`{"event":"start","start":{"tag":%s,"mediaFormat":{"encoding":%s},"customParameters":{"endpointId":%s}},"event":"start"}`,
		quote(tag), quote(encoding), quote(endpoint))
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always can
	return string(b)
}

// discard reads what the service sends, until the socket ends.
func discard(conn *websocket.Conn) {
	for {
		if _, _, err := conn.Read(context.Background()); err != nil {
			return
		}
	}
}

func mediaText(tag string, timestamp int64, opus []byte) string {
	return fmt.Sprintf(`{"event":"media","media":{"tag":%s,"timestamp":"%d","payload":"%s","audioLevel":20},"event":"media"}`,
		quote(tag), timestamp, base64.StdEncoding.EncodeToString(opus))
}

// raw sends messages of our own to a part in virtual time, and returns what
// came of it. send fails the test unless the socket takes the message.
func raw(t *testing.T, dir string, talk func(t *testing.T, send func(text string))) (m bridge.Manifest) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		conn, _ := dialRaw(t, s, p.Path())
		go discard(conn)
		talk(t, func(text string) {
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		})
		synctest.Wait()
		_ = conn.CloseNow()
		var err error
		if m, err = p.Close(t.Context()); err != nil {
			t.Log("Close:", err)
		}
	})
	return m
}

// speak sends numbered packets in the time they take.
func speak(send func(text string), tag string, first, n int, timestamp int64) {
	for i := range n {
		time.Sleep(20 * time.Millisecond)
		send(mediaText(tag, timestamp+int64(i)*960, numbered(first+i).Opus))
	}
}

// TestNonsenseBetweenPackets sends all kinds of what no bridge sends, and
// expects the packets around it in the file and nothing else.
func TestNonsenseBetweenPackets(t *testing.T) {
	dir := t.TempDir()
	m := raw(t, dir, func(_ *testing.T, send func(string)) {
		send(startText("ann", "ann-a0", "opus"))
		speak(send, "ann-a0", 0, 200, 0)
		for _, text := range []string{
			"", "nonsense", "[]", "{}", `{"event":"media"}`, `{"event":"start"}`, `{"event":"ping"}`, `{"event":7}`,
			`{"event":"transcription-result"}`, `{"event":"session-end"}`, `{"event":"info","version":"` + strings.Repeat("v", 10_000) + `"}`,
			startText("", "x", "opus"), startText("x", "x", "PCMU"), startText(strings.Repeat("x", 300), "x", "opus"),
			startText("x", strings.Repeat("x", 300), "opus"), startText("x", "x", ""),
			mediaText("unannounced", 0, numbered(9000).Opus),
			mediaText("ann-a0", 200*960, nil),                          // no payload
			mediaText("ann-a0", 200*960, []byte{0xff, 0xff}),           // no Opus
			mediaText("ann-a0", 200*960, make([]byte, 5000)),           // larger than a packet can be
			mediaText("ann-a0", math.MaxInt64, numbered(9001).Opus),    // timestamps that no stream can have
			mediaText("ann-a0", math.MinInt64, numbered(9002).Opus),    //
			mediaText("ann-a0", 100*960, numbered(9003).Opus),          // a repetition
			mediaText("ann-a0", 199*960, numbered(9004).Opus),          //
			`{"event":"media","media":{"tag":"ann-a0","payload":"%"}}`, // no base64
		} {
			send(text)
		}
		speak(send, "ann-a0", 200, 200, 200*960)
	})
	if got, want := files(m), []string{"001.ogg ann [ann]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	at := readNumbered(t, filepath.Join(dir, "001.ogg"))
	if len(at) != 400 {
		t.Errorf("got %d packets, want 400", len(at))
	}
	wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 199: 3980 * time.Millisecond, 200: 4 * time.Second, 399: 7980 * time.Millisecond})
}

// TestNamesThatArePaths has a bridge name its streams so as to write elsewhere.
func TestNamesThatArePaths(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "part")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	evil := []string{"../evil", "/etc/evil", "..\\evil", "\x00", "a\nb", "001.ogg", "manifest.json"}
	raw(t, dir, func(_ *testing.T, send func(string)) {
		for i, name := range evil {
			send(startText(name, name, "opus"))
			speak(send, name, 1000*i, 10, 0)
		}
	})
	var found []string
	err := filepath.WalkDir(parent, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			found = append(found, path[len(parent):])
		}
		return err
	})
	want := []string{"/part/manifest.json"}
	for i := range evil {
		want = append(want, fmt.Sprintf("/part/%03d.ogg", i+1))
	}
	slices.Sort(found)
	slices.Sort(want)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("got files %v and %v, want %v", found, err, want)
	}
}

// TestMessageOfAMegabyte ends that socket; what was recorded stays.
func TestMessageOfAMegabyte(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		for round := range 2 {
			conn, _ := dialRaw(t, s, p.Path())
			go discard(conn)
			send := func(text string) { _ = conn.Write(t.Context(), websocket.MessageText, []byte(text)) }
			send(startText("ann", "ann-a0", "opus"))
			speak(send, "ann-a0", 1000*round, 200, 0)
			send(mediaText("ann-a0", 200*960, make([]byte, 1<<20)))
			time.Sleep(time.Second)
			if got := p.Status().Sockets; got != 0 {
				t.Errorf("got %d sockets after a megabyte, want it ended", got)
			}
			_ = conn.CloseNow()
		}
		if _, err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if at := readNumbered(t, filepath.Join(dir, "001.ogg")); len(at) != 400 {
		t.Errorf("got %d packets, want 400", len(at))
	}
}

// TestMillionStreams announces ever more streams: memory and files stay
// bounded, and it is said.
func TestMillionStreams(t *testing.T) {
	const announced = 20_000 // ten times the bound
	dir := t.TempDir()
	before := heap()
	m := raw(t, dir, func(t *testing.T, send func(string)) {
		send(startText("ann", "ann-a0", "opus"))
		speak(send, "ann-a0", 0, 200, 0)
		for i := range announced {
			name := fmt.Sprintf("endpoint-%d", i)
			send(startText(name, name, "opus"))
		}
		synctest.Wait()
		if grown := int64(heap()) - int64(before); grown > 3<<20 {
			t.Errorf("got %d kB more memory, want 3 MB at most", grown>>10)
		}
		speak(send, "ann-a0", 200, 200, (200+50)*960)
	})
	if !strings.Contains(m.Problem, "2000") {
		t.Errorf("got problem %q, want one that names the bound", m.Problem)
	}
	if at := readNumbered(t, filepath.Join(dir, "001.ogg")); len(at) != 400 || len(m.Tracks) != 1 {
		t.Errorf("got %d packets and %d tracks, want 400 and 1", len(at), len(m.Tracks))
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc + stats.StackInuse
}

// TestTimestampsThatJump has the sender's clock begin anew in all ways, without
// a word: the sound stays where it arrived.
func TestTimestampsThatJump(t *testing.T) {
	for what, timestamp := range map[string]int64{
		"far ahead": 1 << 50, "far back": -(1 << 50), "an hour ahead": 3600 * 48000, "an hour back": -3600 * 48000,
		"a second ahead": 201*960 + 48000, "to zero": 0,
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			raw(t, dir, func(_ *testing.T, send func(string)) {
				send(startText("ann", "ann-a0", "opus"))
				speak(send, "ann-a0", 0, 200, 0)
				speak(send, "ann-a0", 200, 1500, timestamp)
			})
			wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 199: 3980 * time.Millisecond, 1699: 1699 * 20 * time.Millisecond})
			if got := len(readNumbered(t, filepath.Join(dir, "001.ogg"))); got < 200+500 {
				t.Errorf("got %d packets in the file, want most", got)
			}
		})
	}
}

// TestTimestampsWithoutSense has each packet with another timestamp: the file
// stays as long as the time that passed.
func TestTimestampsWithoutSense(t *testing.T) {
	dir := t.TempDir()
	m := raw(t, dir, func(_ *testing.T, send func(string)) {
		send(startText("ann", "ann-a0", "opus"))
		timestamp := int64(1)
		for i := range 3000 {
			time.Sleep(20 * time.Millisecond)
			timestamp = timestamp*6364136223846793005 + 1442695040888963407
			send(mediaText("ann-a0", timestamp>>(10+i%30), numbered(i).Opus))
		}
	})
	if len(m.Tracks) != 1 || m.Tracks[0].Last > 62_000 {
		t.Errorf("got %+v, want one track of a minute or less", m.Tracks)
	}
	info, err := os.Stat(filepath.Join(dir, "001.ogg"))
	if err != nil || info.Size() > 100<<10 {
		t.Errorf("got %v and %v, want 100 kB or less", info, err)
	}
}
