package sim

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// recorder is a WebSocket service that notes what it gets.
type recorder struct {
	url       string
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	pongDelay time.Duration
	got       chan string
}

func newRecorder(t *testing.T, pongDelay time.Duration) *recorder {
	r := &recorder{url: "ws://usher/record/1", pongDelay: pongDelay, got: make(chan string, 10_000)}
	conns := make(chan net.Conn)
	ln := &pipes{conns: conns, closed: make(chan struct{})}
	r.dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		conns <- theirs
		return ours, nil
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: time.Second}}
	server.Start()
	t.Cleanup(func() { _ = server.Config.Close() })
	return r
}

func (r *recorder) serve(w http.ResponseWriter, req *http.Request) {
	conn, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			r.got <- "closed: " + websocket.CloseStatus(err).String()
			return
		}
		r.got <- string(text)
		var m struct {
			Event string
			ID    int
		}
		if json.Unmarshal(text, &m) == nil && m.Event == "ping" {
			time.Sleep(r.pongDelay)
			pong, _ := json.Marshal(map[string]any{"event": "pong", "id": m.ID})
			_ = conn.Write(context.Background(), websocket.MessageText, pong)
		}
	}
}

// texts is what has come until now.
func (r *recorder) texts() (list []string) {
	synctest.Wait()
	for len(r.got) > 0 {
		list = append(list, <-r.got)
	}
	return list
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestBridgeSpeaksLikeJVB compares with what a real JVB sent, byte for byte.
func TestBridgeSpeaksLikeJVB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(t, 100*time.Millisecond)
		b := StartBridge(BridgeConfig{URL: r.url, Dial: r.dial})
		if err := b.AwaitConnected(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		voice := Voice{{[]byte{0xf8, 0xff, 0xfe}, 20}, {[]byte{0xf8, 0xff, 0xfe}, 21}}
		b.Play(t.Context(), Microphone{Endpoint: "71b0376a", SSRC: 7, Sound: voice.Packet})
		time.Sleep(10 * time.Second)
		b.Expire()
		want := []string{
			`{"event":"info","application":"jitsi-videobridge","version":"2.3.SNAPSHOT"}`,
			`{"event":"start","sequenceNumber":"1","start":{"tag":"71b0376a-a0","mediaFormat":{"encoding":"opus","sampleRate":48000,"channels":2,"parameters":{"useinbandfec":"1","minptime":"10"}},"customParameters":{"endpointId":"71b0376a"}},"event":"start"}`,
			`{"event":"media","sequenceNumber":"2","media":{"tag":"71b0376a-a0","chunk":"1000","timestamp":"48960","payload":"+P/+","audioLevel":20,"vad":true},"event":"media"}`,
			`{"event":"media","sequenceNumber":"3","media":{"tag":"71b0376a-a0","chunk":"1001","timestamp":"49920","payload":"+P/+","audioLevel":21,"vad":true},"event":"media"}`,
			`{"event":"ping","id":1,"event":"ping"}`,
			`{"event":"SessionEndEvent","event":"session-end"}`,
			`closed: StatusGoingAway`,
		}
		if got := r.texts(); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestBridgeTakesAnInstantPongForAWrongOne closes the socket and opens two.
func TestBridgeTakesAnInstantPongForAWrongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(t, 0)
		b := StartBridge(BridgeConfig{URL: r.url, Dial: r.dial})
		time.Sleep(14 * time.Second)
		if got := b.PingTimeouts(); got != 1 {
			t.Errorf("got %d ping timeouts, want 1", got)
		}
		if err := b.AwaitConnected(t.Context(), 2); err != nil {
			t.Error(err)
		}
		if got := r.texts(); !slices.Contains(got, "closed: StatusNormalClosure") {
			t.Errorf("got %v, want the first socket closed with 1000", got)
		}
		b.Die()
	})
}

// TestBridgeDropsSilence passes on three packets of silence in a row.
func TestBridgeDropsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(t, 100*time.Millisecond)
		b := StartBridge(BridgeConfig{URL: r.url, Dial: r.dial, OldTags: true, NoLevels: true})
		if err := b.AwaitConnected(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		b.Play(t.Context(), Microphone{Endpoint: "71b0376a", SSRC: 7, Sound: func(n int) (Packet, bool) {
			return Packet{[]byte{0xf8}, silentLevel}, n < 20
		}})
		got := r.texts()
		if len(got) != 2+silentInARow || !strings.Contains(got[1], `"tag":"71b0376a-7"`) || strings.Contains(got[2], "audioLevel") {
			t.Errorf("got %q, want info, start of 71b0376a-7 and three packets without levels", got)
		}
		b.Die()
	})
}

func TestRedBlocks(t *testing.T) {
	if got, want := string(redBlocks(exported{opus: []byte("new")})), "\x6fnew"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(redBlocks(exported{opus: []byte("new"), before: []byte("old")})), "\xef\x0f\x00\x03\x6foldnew"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLevel(t *testing.T) {
	for want, amplitude := range map[uint8]int16{0: 32767, 6: 16422, 20: 3277, 45: 184, 127: 0} {
		pcm := make([]int16, frameSamples)
		for i := range pcm {
			pcm[i] = amplitude
			if i%2 == 1 {
				pcm[i] = -amplitude
			}
		}
		if got := Level(pcm); got != want {
			t.Errorf("a square wave of %d: got %d, want %d", amplitude, got, want)
		}
	}
}
