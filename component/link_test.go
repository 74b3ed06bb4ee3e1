package component_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"usher/component"
)

func TestRefusedLoginIsRetriedSlowlyAndLoggedOnce(t *testing.T) {
	tests := []struct {
		name   string
		server func(*server)
		config func(*component.ComponentConfig)
		want   error
		reason string
	}{
		{"wrong secret", func(*server) {}, func(c *component.ComponentConfig) { c.Secret = "wrong" }, component.ErrNotAuthorized, "not_authorized"},
		{"wrong port", func(f *server) { f.refuse = "invalid-namespace" }, func(*component.ComponentConfig) {}, component.ErrWrongPort, "stream_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newServer()
				tt.server(f)
				b := newBench(t, f, func(c *component.ComponentConfig) {
					tt.config(c)
					c.Explain = func(err error) error { return fmt.Errorf("what to do: %w", err) }
				})
				time.Sleep(10 * time.Minute)
				synctest.Wait()

				if up, _, err := b.link.Status(); up || !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "what to do: component: ") {
					t.Errorf("Status = %v, %v, want down with %v, explained once", up, err, tt.want)
				}
				if got := strings.Count(b.log.String(), "what to do: "); got != 1 {
					t.Errorf("log lines that explain it = %d, want 1:\n%s", got, b.log)
				}
				dials := b.dialled()
				for i := 1; i < len(dials); i++ {
					if wait := dials[i].Sub(dials[i-1]); wait < component.RetryMax || wait > component.RetryRefused {
						t.Errorf("wait before try %d = %v, want %v to %v", i+1, wait, component.RetryMax, component.RetryRefused)
					}
				}
				if len(dials) < 10 {
					t.Errorf("tries in ten minutes = %d, want at least 10", len(dials))
				}
				if got := strings.Count(b.log.String(), "no stream"); got != 1 {
					t.Errorf("log lines about it = %d, want 1:\n%s", got, b.log)
				}
				if got := b.count(t, "usher_xmpp_connects_total", "component", tt.reason); got != float64(len(dials)) {
					t.Errorf("logins counted as %s = %v, want %d", tt.reason, got, len(dials))
				}
			})
		})
	}
}

func TestHungHandshakeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer()
		f.silent = true
		b := newBench(t, f, nil)
		time.Sleep(component.LoginTimeout + component.RetryMin*2 + time.Millisecond)
		synctest.Wait()
		if up, _, err := b.link.Status(); up || err == nil || !strings.Contains(err.Error(), "login not finished") {
			t.Errorf("Status = %v, %v, want down for a login not finished", up, err)
		}
		if got := len(b.dialled()); got != 2 {
			t.Errorf("tries = %d, want 2", got)
		}
	})
}

func TestRunEndsDuringHungHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer()
		f.silent = true
		b := newBench(t, f, nil)
		synctest.Wait()
		start := time.Now()
		b.stop()
		if took := time.Since(start); took != 0 {
			t.Errorf("stopping took %v, want no time", took)
		}
		if err := <-b.ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// deadlineConn counts the deadlines that are set for both directions, which
// the link itself never does.
type deadlineConn struct {
	net.Conn
	set *atomic.Int32
}

func (c deadlineConn) SetDeadline(t time.Time) error {
	c.set.Add(1)
	return c.Conn.SetDeadline(t)
}

// The end of the login's time must not reach into the stream that it made.
func TestLoginLeavesNoDeadlineBehind(t *testing.T) {
	for range 200 { // without the guard about one login in fifty fails
		synctest.Test(t, func(t *testing.T) {
			f := newServer()
			set := new(atomic.Int32)
			f.wrap = func(c net.Conn) net.Conn { return deadlineConn{c, set} }
			newBench(t, f, nil)
			<-f.peers
			synctest.Wait()
			if got := set.Load(); got != 0 {
				t.Errorf("deadlines set during and after the login = %d, want 0", got)
			}
		})
	}
}

func TestConflictEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		(<-b.peers).streamError("conflict")
		if err := <-b.ended; !errors.Is(err, component.ErrConflict) {
			t.Errorf("Run = %v, want ErrConflict", err)
		}
		time.Sleep(time.Hour)
		if got := len(b.dialled()); got != 1 {
			t.Errorf("dials = %d, want 1", got)
		}
		if got := b.count(t, "usher_xmpp_disconnects_total", "conflict"); got != 1 {
			t.Errorf("disconnects counted as conflict = %v, want 1", got)
		}
	})
}

func TestRetryWaitsAreDrawnFromTheirRange(t *testing.T) {
	for tries := 1; tries <= 40; tries++ {
		high := component.RetryMax
		if tries < 6 {
			high = component.RetryMin << tries
		}
		low, top := time.Hour, time.Duration(0)
		for i := range 500 {
			// A host that is unknown may just not be loaded yet.
			w := component.RetryWait(tries, []error{errors.New("any"), component.ErrHostUnknown}[i%2])
			low, top = min(low, w), max(top, w)
		}
		if low < component.RetryMin || top > high {
			t.Errorf("waits after %d tries = %v to %v, want within %v to %v", tries, low, top, component.RetryMin, high)
		}
		// Full jitter: 500 draws that miss a quarter of the range at either end
		// are a one in 10^62 chance.
		if span := high - component.RetryMin; low > component.RetryMin+span/4 || top < high-span/4 {
			t.Errorf("waits after %d tries = %v to %v, do not use the range up to %v", tries, low, top, high)
		}
	}
}

func TestWaitsGrowUntilAStreamStaysUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer()
		f.closed.Store(true)
		b := newBench(t, f, nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := len(b.dialled()); got < 25 || got > 200 { // 7.6 s on average
			t.Errorf("tries in five minutes = %d, want about 40", got)
		}
		if got := strings.Count(b.log.String(), "no stream"); got != 1 {
			t.Errorf("log lines about it = %d, want 1", got)
		}
		f.closed.Store(false)
		p := <-b.peers
		time.Sleep(time.Minute)
		p.conn.Close()
		lost := time.Now()
		<-b.peers
		if wait := time.Since(lost); wait > 2*component.RetryMin {
			t.Errorf("redialled after %v, want at most %v", wait, 2*component.RetryMin)
		}
	})
}

func TestUpAndDownAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		b := newBench(t, newServer(), func(c *component.ComponentConfig) {
			c.Handler.Up = func(jid string) { got = append(got, "up "+jid) }
			c.Handler.Down = func(cause error) { got = append(got, "down "+cause.Error()) }
		})
		p := <-b.peers
		synctest.Wait()
		if up, _, err := b.link.Status(); !up || err != nil {
			t.Errorf("Status = %v, %v, want up", up, err)
		}
		p.streamError("system-shutdown")
		<-b.peers
		synctest.Wait()
		b.stop()
		want := []string{"up usher.test", "down stream error: system-shutdown", "up usher.test", "down component: stopped"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// A peer that has gone without a word is noticed by a ping (XEP-0199).
func TestSilentPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down time.Time
		b := newBench(t, newServer(), func(c *component.ComponentConfig) {
			c.Handler.Down = func(error) {
				if down.IsZero() {
					down = time.Now()
				}
			}
		})
		p := <-b.peers
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := len(b.dialled()); got != 1 {
			t.Fatalf("dials while pings are answered = %d, want 1", got)
		}
		p.mute.Store(true)
		start := time.Now()
		<-b.peers
		b.stop()
		if took, limit := down.Sub(start), component.PingInterval+component.PingTimeout; took > limit {
			t.Errorf("noticed after %v, want at most %v", took, limit)
		}
		if got := b.count(t, "usher_xmpp_disconnects_total", "ping_timeout"); got != 1 {
			t.Errorf("disconnects counted as ping_timeout = %v, want 1", got)
		}
	})
}

// A server that is behind with its answers but talks is not given up; once it
// falls silent it is.
func TestBusyPeerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		say := func() {
			p.mute.Store(false)
			p.send("<presence from='a@b.test' to='usher.test'/>")
			p.mute.Store(true)
		}
		for range 60 {
			say()
			time.Sleep(5 * time.Second)
		}
		if got := len(b.dialled()); got != 1 {
			t.Fatalf("dials while the server talks = %d, want 1", got)
		}
		start := time.Now()
		<-b.peers
		if took, limit := time.Since(start), 30*time.Second; took > limit {
			t.Errorf("silence noticed after %v, want at most %v", took, limit)
		}
	})
}

// A peer that does not read makes a write fail, which ends the stream.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newServer()
		b := newBench(t, f, nil)
		p := <-b.peers
		synctest.Wait()
		p.in = make(chan element) // nobody receives: the server's reading stops
		for range 2 {
			if err := b.link.As("bot@usher.test/x").Send(t.Context(), "message", "a@b.test", "chat"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first occupies the server, the second is stuck on its way
		}
		time.Sleep(component.WriteTimeout - time.Second)
		if up, _, _ := b.link.Status(); !up {
			t.Error("stream is down before the write's time is over")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := b.count(t, "usher_xmpp_disconnects_total", "write"); got != 1 {
			t.Errorf("disconnects counted as write = %v, want 1\n%s", got, b.log)
		}
		<-p.in // let the server's goroutine go
	})
}

func TestEndOfStreamFailsWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		failed := make(chan error, 2)
		for range 2 {
			go func() {
				failed <- b.link.As("ctl@usher.test").IQ(t.Context(), "meet.test", "get", payload{}, nil)
			}()
		}
		<-p.in
		<-p.in
		p.conn.Close()
		for range 2 {
			if err := <-failed; !errors.Is(err, component.ErrDown) {
				t.Errorf("IQ = %v, want ErrDown", err)
			}
		}
	})
}

// What is queued when Run is told to end still leaves. The writer may see the
// end or the queue first, hence the rounds.
func TestOrderlyEnd(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, newServer(), nil)
			p := <-b.peers
			synctest.Wait()
			p.in = make(chan element)
			bot := b.link.As("bot@usher.test/x")
			for i := range 100 {
				if err := bot.Send(t.Context(), "presence", "room@muc.test/usher", "unavailable"); err != nil {
					t.Fatal(err)
				}
				if i < 2 { // one occupies the server, one the writer, the others wait
					synctest.Wait()
				}
			}
			stopped := make(chan struct{})
			go func() { b.stop(); close(stopped) }()
			synctest.Wait()
			left := 0
			for done := false; !done; {
				select {
				case <-p.in:
					left++
				case <-stopped:
					done = true
				}
			}
			if left != 100 {
				t.Errorf("stanzas that left = %d, want 100", left)
			}
			if err := bot.Send(t.Context(), "presence", "room@muc.test/usher", ""); !errors.Is(err, component.ErrDown) {
				t.Errorf("Send after the end = %v, want ErrDown", err)
			}
		})
	}
}

func TestOrderlyEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		p := <-b.peers
		synctest.Wait()
		p.mute.Store(true)
		p.in = make(chan element) // nor does the server read
		if err := b.link.As("bot@usher.test/x").Send(t.Context(), "presence", "room@muc.test/usher", "unavailable"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		b.stop()
		if took := time.Since(start); took != component.CloseTimeout {
			t.Errorf("stopping took %v, want %v", took, component.CloseTimeout)
		}
		<-p.in // let the server's goroutine go
	})
}

func TestMetricsStartAtZeroAndAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newServer(), nil)
		<-b.peers
		synctest.Wait()
		must(t, component.NewClient, component.ClientConfig{Addr: "x:1", JID: "a@b.test/c", Password: "p", Options: component.Options{Metrics: b.metrics}})
		if got := b.count(t, "usher_xmpp_up", "component"); got != 1 {
			t.Errorf("usher_xmpp_up of the component = %v, want 1", got)
		}
		if got := b.count(t, "usher_xmpp_up", "client"); got != 0 {
			t.Errorf("usher_xmpp_up of the client = %v, want 0", got)
		}
		if got := b.count(t, "usher_xmpp_disconnects_total", "client", "conflict"); got != 0 {
			t.Errorf("conflicts of the client = %v, want 0", got)
		}
		problems, err := testutil.GatherAndLint(b.metrics)
		if err != nil || len(problems) != 0 {
			t.Errorf("lint of the metrics = %v, %v", problems, err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := component.ClientConfig{Addr: "x:1", JID: "a@b.test/c", Password: "p"}
	tests := []struct {
		name string
		cfg  func(c *component.ClientConfig)
		want string
	}{
		{"no address", func(c *component.ClientConfig) { c.Addr = "" }, "no server address"},
		{"no password", func(c *component.ClientConfig) { c.Password = "" }, "no password"},
		{"no JID", func(c *component.ClientConfig) { c.JID = "" }, "JID"},
		{"no CA file", func(c *component.ClientConfig) { c.CAFile = "/nowhere.pem" }, "CA file"},
		{"CA and pin", func(c *component.ClientConfig) { c.CAFile, c.PinSHA256 = "a", "b" }, "more than one"},
		{"pin and insecure", func(c *component.ClientConfig) { c.PinSHA256, c.Insecure = "a", true }, "more than one"},
		{"pin of wrong length", func(c *component.ClientConfig) { c.PinSHA256 = "abcd" }, "not a SHA-256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.cfg(&cfg)
			if _, err := component.NewClient(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewClient = %v, want %q in it", err, tt.want)
			}
		})
	}
	for _, cfg := range []component.ComponentConfig{
		{Domain: "usher.test", Secret: "s"},
		{Addr: "x:1", Domain: "usher.test"},
		{Addr: "x:1", Secret: "s"},
		{Addr: "x:1", Secret: "s", Domain: "usher.test' to='x"},
	} {
		if _, err := component.NewComponent(cfg); err == nil {
			t.Errorf("NewComponent(%+v) accepted", cfg)
		}
	}
}

type payload struct {
	XMLName xml.Name `xml:"urn:test payload"`
	Text    string   `xml:",chardata"`
}
