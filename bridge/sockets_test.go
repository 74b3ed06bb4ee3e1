package bridge_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"usher/bridge"
	"usher/internal/sim"
)

// dialRaw opens a socket to a path of the service.
func dialRaw(t *testing.T, s *service, path string) (*websocket.Conn, int) {
	t.Helper()
	transport := &http.Transport{DialContext: s.dial, DisableKeepAlives: true}
	conn, resp, err := websocket.Dial(t.Context(), "ws://usher"+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if resp == nil {
		t.Fatal(err)
	}
	return conn, resp.StatusCode
}

// TestStrangersAreNotKeptConnected though they ask for that.
func TestStrangersAreNotKeptConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		conn, err := s.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(conn, "GET /record/a/b/c HTTP/1.1\r\nHost: usher\r\n\r\n") }()
		began := time.Now()
		answer, err := io.ReadAll(conn)
		if took := time.Since(began); err != nil || !strings.Contains(string(answer), " 404 ") || took > 10*time.Second {
			t.Errorf("got %q, %v after %v, want 404 and the end within 10 s", answer, err, took)
		}
	})
}

// TestStrangersAreRefused knocks without a token, with one of another part, and
// with paths that are no such.
func TestStrangersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{})
		other, err := s.Open(bridge.PartConfig{Meeting: "another", ID: "prt2"})
		if err != nil {
			t.Fatal(err)
		}
		token := p.Path()[strings.LastIndex(p.Path(), "/"):]
		othersToken := other.Path()[strings.LastIndex(other.Path(), "/"):]
		for path, want := range map[string]int{
			p.Path():                                      101,
			"/record/61b39dea-0000/prt1":                  404,
			"/record/61b39dea-0000/prt1/":                 404,
			"/record/61b39dea-0000/prt1/x":                404,
			"/record/61b39dea-0000":                       404,
			"/record/another/prt1" + token:                404,
			"/record/61b39dea-0000/prt2" + token:          404,
			"/record/61b39dea-0000/prt1" + othersToken:    404,
			"/record/unknown/prt1" + token:                404,
			"/":                                           404,
			"/record/61b39dea-0000/..%2f..%2fetc" + token: 404,
		} {
			conn, got := dialRaw(t, s, path)
			if got != want {
				t.Errorf("%s: got %d, want %d", path, got, want)
			}
			if conn != nil {
				_ = conn.CloseNow()
			}
		}
		for _, p := range []*bridge.Part{p, other} {
			path := p.Path()
			if _, err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if _, got := dialRaw(t, s, path); got != 404 {
				t.Errorf("after the end: got %d, want 404", got)
			}
		}
	})
}

func TestPartIsOpenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{})
		if _, err := s.Open(bridge.PartConfig{Meeting: "61b39dea-0000", ID: "prt1"}); err == nil {
			t.Error("opened a second time, want an error")
		}
		if _, err := s.Open(bridge.PartConfig{Meeting: "61b39dea-0000"}); err == nil {
			t.Error("opened without an id, want an error")
		}
		for range 2 { // closing again is nothing
			if _, err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		p = s.open(t, bridge.PartConfig{})
		if _, err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestPongs answers the pings of an hour so that JVB takes no answer for a wrong
// one.
func TestPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{})
		b := s.connect(t, p, sim.BridgeConfig{})
		for b.PingTimeouts() == 0 && time.Since(p.Status().Start) < time.Hour {
			time.Sleep(time.Second)
		}
		if got := b.PingTimeouts(); got != 0 {
			t.Errorf("got %d pings taken for unanswered, want 0", got)
		}
		finish(t, b, p)
	})
}

// TestTwoSocketsAtOnce has the bridge open a second socket, as it does after a
// ping timeout: the first stays open, and its stream goes on on the second with
// timestamps that begin anew.
func TestTwoSocketsAtOnce(t *testing.T) {
	dir := t.TempDir()
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, s *service, p *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 10*time.Second)})
		time.Sleep(4 * time.Second)
		b.ConnectAgain()
		if err := b.AwaitConnected(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second) // the silent one lives
		if got := b.Sockets(); got != 2 {
			t.Errorf("got %d sockets after 100 s, want 2", got)
		}
	})
	if got, want := files(m), []string{"001.ogg ann [ann]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	want := map[int]time.Duration{}
	for n := range 500 {
		want[n] = time.Duration(n) * 20 * time.Millisecond
	}
	wantAt(t, dir, "001.ogg", want)
	if len(m.Gaps) != 0 {
		t.Errorf("got gaps %v, want none", m.Gaps)
	}
}

// TestConnectionLost loses what was said meanwhile, says so, and goes on in its
// place.
func TestConnectionLost(t *testing.T) {
	dir := t.TempDir()
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, s *service, p *bridge.Part, b *sim.Bridge) {
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 20*time.Second)})
		time.Sleep(5 * time.Second)
		s.outage(3500 * time.Millisecond) // tries after 0, 1, 2 s fail, the one after 4 s more does not
		b.Drop()
		time.Sleep(16 * time.Second)
	})
	if got, want := files(m), []string{"001.ogg ann [ann]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 240: 4800 * time.Millisecond, 700: 14 * time.Second, 999: 19980 * time.Millisecond})
	if len(m.Gaps) != 1 {
		t.Fatalf("got gaps %v, want one", m.Gaps)
	}
	near(t, "the gap's start", time.Duration(m.Gaps[0].Start)*time.Millisecond, 5*time.Second)
	near(t, "the gap's end", time.Duration(m.Gaps[0].End)*time.Millisecond, 12*time.Second)
}

// TestTwoBridges has a second bridge send the same people by mistake: nothing
// is doubled, and nobody lost.
func TestTwoBridges(t *testing.T) {
	dir := t.TempDir()
	m := record(t, bridge.PartConfig{Dir: dir, Person: byName}, func(t *testing.T, s *service, p *bridge.Part, b *sim.Bridge) {
		time.Sleep(730 * time.Millisecond) // so that the same packet has other timestamps there
		second := s.connect(t, p, sim.BridgeConfig{})
		mic := sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 10*time.Second)}
		go second.Play(t.Context(), mic)
		b.Play(t.Context(), mic)
		synctest.Wait() // the last packet of both is sent
		second.Expire()
	})
	if got, want := files(m), []string{"001.ogg ann [ann]"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	want := map[int]time.Duration{}
	for n := range 500 {
		want[n] = 730*time.Millisecond + time.Duration(n)*20*time.Millisecond
	}
	wantAt(t, dir, "001.ogg", want)
}

// TestBridgeDies keeps what was recorded.
func TestBridgeDies(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, 5*time.Second)})
		synctest.Wait()
		b.Die()
		time.Sleep(time.Minute)
		if s := p.Status(); s.Sockets != 0 {
			t.Errorf("got %d sockets, want none", s.Sockets)
		}
		if _, err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wantAt(t, dir, "001.ogg", map[int]time.Duration{0: 0, 249: 4980 * time.Millisecond})
	if m := readManifest(t, dir); !m.Complete || len(m.Gaps) != 1 {
		t.Errorf("got %+v, want it complete with a gap", m)
	}
}

// TestCloseDoesNotWaitForEver closes a part whose bridge does not end its
// socket.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: t.TempDir(), Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: numberedFrom(0, time.Hour)})
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		m, err := p.Close(ctx)
		if took := time.Since(begin); err != nil || took != 5*time.Second || len(m.Tracks) != 1 {
			t.Errorf("got %+v and %v after %v, want one track after 5 s", m, err, took)
		}
		b.Die()
	})
}

// TestCrash looks at the folder while the meeting is recorded: what a crash
// would leave.
func TestCrash(t *testing.T) {
	voice := encode(t, beeps(60))
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		p := s.open(t, bridge.PartConfig{Dir: dir, Person: byName})
		b := s.connect(t, p, sim.BridgeConfig{})
		go b.Play(t.Context(), sim.Microphone{Endpoint: "ann", SSRC: 1, Sound: voice.Packet})
		for range 10 {
			time.Sleep(4700 * time.Millisecond)
			now := time.Since(p.Status().Start)
			synctest.Wait()
			pcm := decode(t, filepath.Join(dir, "001.ogg"))
			if lost := now - position(len(pcm)); lost > time.Second || lost < 0 {
				t.Errorf("after %v: got %v of sound, want all but a second", now, position(len(pcm)))
			}
			if got, want := len(onsets(pcm)), int(position(len(pcm)).Seconds()); got != want {
				t.Errorf("after %v: got %d beeps, want %d", now, got, want)
			}
			if m := readManifest(t, dir); m.Complete || len(m.Tracks) != 1 || m.Tracks[0].Participant != "prt_ann" {
				t.Errorf("after %v: got manifest %+v, want ann's track", now, m)
			}
		}
		finish(t, b, p)
	})
}
