package bridge_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"usher/bridge"
)

// What a JVB a29d97d13 was seen to send, with two cores for it, Jicofo, a browser and
// more besides.

// info is the first thing that it sends on a socket.
const info = `{"event":"info","application":"jitsi-videobridge","version":"2.3.SNAPSHOT"}`

// rawBridge is a socket of a bridge that sends what the test does.
type rawBridge struct {
	t    *testing.T
	conn *websocket.Conn
}

// dialBridge opens a socket to the part. As Jetty does it answers pings.
func dialBridge(t *testing.T, s *service, p *bridge.Part) rawBridge {
	t.Helper()
	conn, status := dialRaw(t, s, p.Path())
	if conn == nil {
		t.Fatalf("got status %d, want a socket", status)
	}
	go func() {
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	return rawBridge{t, conn}
}

func (b rawBridge) send(format string, args ...any) {
	if err := b.conn.Write(b.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		b.t.Error(err)
	}
}

func (b rawBridge) start(endpoint string) {
	b.send(`{"event":"start","sequenceNumber":"1","start":{"tag":"%[1]s-a0","mediaFormat":{"encoding":"opus","sampleRate":48000,"channels":2,`+
		`"parameters":{"useinbandfec":"1","minptime":"10"}},"customParameters":{"endpointId":"%[1]s"}},"event":"start"}`, endpoint)
}

func (b rawBridge) media(endpoint string, timestamp, n int) {
	p := numbered(n)
	b.send(`{"event":"media","sequenceNumber":"2","media":{"tag":"%s-a0","chunk":"%d","timestamp":"%d","payload":"%s","audioLevel":%d,"vad":true},"event":"media"}`,
		endpoint, n, timestamp, base64.StdEncoding.EncodeToString(p.Opus), p.Level)
}

// TestBacklogOfAColdBridge has a bridge send what it did in the first conference after
// its start: nothing for 19 s, then all that had piled up, with timestamps 16 s old, and
// faster than it was said until it is on time.
func TestBacklogOfAColdBridge(t *testing.T) {
	text, err := os.ReadFile("testdata/backlog.txt")
	if err != nil {
		t.Fatal(err)
	}
	const before = time.Minute           // since the part began
	const first = 154_363                // timestamp of the first packet
	const late = 1560 * time.Millisecond // by which the bridge had stamped it too late, as seen later
	dir := t.TempDir()
	sent := 0
	var m bridge.Manifest
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		_ = dialBridge(t, s, p).conn.CloseNow() // the one before
		time.Sleep(before)
		b := dialBridge(t, s, p)
		b.send(info)
		n := 0
		for _, step := range strings.FieldsFunc(string(text), func(r rune) bool { return r == ',' || r == '\n' }) {
			var wait int    // ms
			var further int // frames of 20 ms
			if _, err := fmt.Sscan(step, &wait, &further); err != nil {
				t.Fatalf("%q: %v", step, err)
			}
			time.Sleep(time.Duration(wait) * time.Millisecond)
			if n += further; sent == 0 {
				b.start("ann")
			}
			b.media("ann", first+n*960, n)
			sent++
		}
		time.Sleep(time.Second)
		_ = b.conn.CloseNow()
		if m, err = p.Close(t.Context()); err != nil {
			t.Error("Close:", err)
		}
	})
	if len(m.Tracks) != 1 {
		t.Fatalf("got %d tracks, want 1", len(m.Tracks))
	}
	at := readNumbered(t, filepath.Join(dir, m.Tracks[0].File))
	// What is said in the time that the bridge had hidden is in the way once.
	if want := sent - int(late/(20*time.Millisecond)) - 25; len(at) < want {
		t.Errorf("got %d of %d packets in the file, want %d or more; left out as late: %d", len(at), sent, want, m.Tracks[0].Late)
	}
	for n, position := range at {
		off := position - before - time.Duration(first+n*960)*time.Second/48_000 + late
		if n > 1900 && off.Abs() > 50*time.Millisecond || off < -50*time.Millisecond || off > late+50*time.Millisecond {
			t.Errorf("packet %d is at %v: off by %v", n, position, off)
			break
		}
	}
}

// TestBreweryOfARealBridge reads what the brewery sent: a bridge, Jicofo and usher
// itself; and that the bridge had been killed.
func TestBreweryOfARealBridge(t *testing.T) {
	text, err := os.ReadFile("testdata/brewery.xml")
	if err != nil {
		t.Fatal(err)
	}
	stanzas := strings.Split(strings.TrimSpace(string(text)), "\n")
	synctest.Test(t, func(t *testing.T) {
		brewery := &jvbBrewery{}
		b := bridge.NewBridges(bridge.BridgesConfig{Stream: brewery, Brewery: breweryRoom})
		brewery.watcher = b
		for i, want := range []string{"[jvb1]", "[jvb1]", "[jvb1]", "[]"} {
			brewery.say(stanzas[i])
			if got := fmt.Sprint(b.InSight()); got != want {
				t.Errorf("after %.150s…: %s in sight, want %s", stanzas[i], got, want)
			}
		}
	})
}

// TestDeafSocket has the bridge open a socket for a conference that it has just ended:
// it says who it is, answers the pings of WebSocket, and never says anything again.
func TestDeafSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		changes := 0
		p := s.open(t, bridge.PartConfig{Dir: t.TempDir(), Changed: func() { changes++ }})
		b := dialBridge(t, s, p)
		b.send(info)
		time.Sleep(20 * time.Second) // one ping may be late
		if got := p.Status().Sockets; got != 1 {
			t.Errorf("after 20 s: %d sockets send, want 1", got)
		}
		time.Sleep(40 * time.Second)
		if got := p.Status().Sockets; got != 0 || changes != 2 {
			t.Errorf("after a minute of silence: %d sockets send and %d changes, want 0 and 2", got, changes)
		}
		b.send(`{"event":"ping","id":1,"event":"ping"}`) // it was only slow
		time.Sleep(time.Second)
		if got := p.Status().Sockets; got != 1 || changes != 3 {
			t.Errorf("after a ping: %d sockets send and %d changes, want 1 and 3", got, changes)
		}
		_ = b.conn.CloseNow()
		synctest.Wait()
		m, err := p.Close(t.Context())
		if err != nil {
			t.Error("Close:", err)
		}
		if len(m.Gaps) == 0 || m.Gaps[0].Start > 1000 || m.Gaps[0].End < 60_000 {
			t.Errorf("got gaps %+v, want one of the minute of silence", m.Gaps)
		}
	})
}
