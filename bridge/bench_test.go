package bridge_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/bridge"
)

// BenchmarkPacket is the CPU time that a packet costs from the socket to the
// file, at 60 meetings with 5 microphones each, in real time: 150,000 packets take
// 10 s. The sender, which answers no pings and so has 20 s, is a thread of this process
// that is not counted.
func BenchmarkPacket(b *testing.B) {
	const meetings, people = 60, 5
	rounds := max(1, b.N/(meetings*people))
	l := newLoad(b, meetings)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.announce(people)
	b.ResetTimer()
	all, own := cpu(syscall.RUSAGE_SELF), cpu(syscall.RUSAGE_THREAD)
	begin := time.Now()
	for r := range rounds {
		for p := range people {
			frame := clientFrame(nil, mediaText(endpoint(p)+"-a0", int64(r)*960, speechPacket(r)))
			for i := range meetings {
				l.write(i, frame)
			}
		}
		time.Sleep(time.Until(begin.Add(time.Duration(r+1) * 20 * time.Millisecond)))
	}
	own = cpu(syscall.RUSAGE_THREAD) - own
	l.close()
	b.StopTimer()
	used := cpu(syscall.RUSAGE_SELF) - all - own
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(rounds*meetings*people), "µs-CPU/packet")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLiveTrack is the memory of a track that is being recorded.
func BenchmarkLiveTrack(b *testing.B) {
	const meetings, people, seconds = 40, 5, 4
	for range b.N {
		before := heap()
		l := newLoad(b, meetings)
		l.announce(people)
		for r := range seconds * 50 {
			var frames []byte
			for p := range people {
				frames = clientFrame(frames, mediaText(endpoint(p)+"-a0", int64(r)*960, speechPacket(r)))
			}
			for i := range meetings {
				l.write(i, frames)
			}
			if r == 75 { // the first two seconds are held
				for _, p := range l.parts {
					p.Status()
				}
				b.ReportMetric(float64(heap()-before)/1000/(meetings*people), "kB/track-held")
			}
			time.Sleep(20 * time.Millisecond)
		}
		for _, p := range l.parts {
			if got := p.Status().Tracks; got != people {
				b.Fatalf("got %d tracks, want %d", got, people)
			}
		}
		b.ReportMetric(float64(heap()-before)/1000/(meetings*people), "kB/track")
		l.close()
	}
	b.ReportMetric(0, "ns/op")
}

func endpoint(person int) string { return fmt.Sprintf("71b0376%d", person) }

// speechPacket is as large as Chrome's, of 20 ms.
func speechPacket(n int) []byte {
	p := make([]byte, 77)
	p[0] = 15 << 3
	binary.BigEndian.PutUint32(p[1:], uint32(n))
	return p
}

// load is parts with a socket each, over loopback.
type load struct {
	b     *testing.B
	parts []*bridge.Part
	conns []net.Conn
	stop  func()
}

func newLoad(b *testing.B, meetings int) *load {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := bridge.NewServer(bridge.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	l := &load{b: b, stop: func() { cancel(); <-ended }}
	root := b.TempDir()
	for i := range meetings {
		dir := filepath.Join(root, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		p, err := s.Open(bridge.PartConfig{Meeting: fmt.Sprint(i), ID: "prt", Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		l.parts = append(l.parts, p)
		l.conns = append(l.conns, upgrade(b, ln.Addr().String(), p.Path()))
	}
	return l
}

// upgrade opens a WebSocket without a client behind it.
func upgrade(b *testing.B, addr, path string) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: usher\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path)
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if line == "\r\n" {
			return c
		}
		if strings.HasPrefix(line, "HTTP/") && !strings.Contains(line, "101") {
			b.Fatal(line)
		}
	}
}

// announce begins a stream of each person in each meeting.
func (l *load) announce(people int) {
	var frames []byte
	for p := range people {
		frames = clientFrame(frames, startText(endpoint(p), endpoint(p)+"-a0", "opus"))
	}
	for i := range l.conns {
		l.write(i, frames)
	}
}

func (l *load) write(i int, frames []byte) {
	if _, err := l.conns[i].Write(frames); err != nil {
		l.b.Fatal(err)
	}
}

// close ends the sockets and the parts: all that was sent is then in the files.
func (l *load) close() {
	for _, c := range l.conns {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	for _, p := range l.parts {
		if _, err := p.Close(context.Background()); err != nil {
			l.b.Error(err)
		}
	}
	for _, c := range l.conns {
		c.Close()
	}
	l.stop()
}

// clientFrame appends a text message as a client frames it, masked with zeros
// (RFC 6455 §5.2).
func clientFrame(b []byte, text string) []byte {
	b = append(b, 0x81, 0x80|126)
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, 0, 0, 0, 0)
	return append(b, text...)
}

// cpu is the CPU time of this process, or of this thread.
func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
