package sim

import (
	"io"
	"net"
	"sync"
)

// cable is a connection to a server that can be cut: a relay for one TCP
// connection on loopback. A link ends its stream in good order; whoever pulls
// the plug does not.
type cable struct {
	listener net.Listener
	pumps    sync.WaitGroup

	mu    sync.Mutex
	ends  []net.Conn
	isCut bool
}

// newCable returns a cable to the server at addr; [cable.cut] ends it.
func newCable(addr string) (*cable, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cable{listener: listener}
	c.pumps.Go(func() { c.relay(addr) })
	return c, nil
}

// addr is where to dial instead of the server.
func (c *cable) addr() string { return c.listener.Addr().String() }

// cut closes both ends as the kernel does for a killed program, and returns
// when the cable's goroutines have ended.
func (c *cable) cut() {
	c.listener.Close()
	c.mu.Lock()
	c.isCut = true
	for _, end := range c.ends {
		end.Close()
	}
	c.mu.Unlock()
	c.pumps.Wait()
}

func (c *cable) relay(addr string) {
	near, err := c.listener.Accept()
	if err != nil || !c.plug(near) {
		return
	}
	far, err := net.Dial("tcp", addr)
	if err != nil || !c.plug(far) {
		near.Close()
		return
	}
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // why it ends is for the two ends to say
		to.Close()
	}
	c.pumps.Go(func() { pump(far, near) })
	pump(near, far)
}

// plug takes an end in, unless the cable has been cut.
func (c *cable) plug(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		end.Close()
		return false
	}
	c.ends = append(c.ends, end)
	return true
}
