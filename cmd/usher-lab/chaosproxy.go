package main

import (
	"net"
	"sync"
	"time"
)

// proxyBuffer is how many bytes a proxy reads at once.
const proxyBuffer = 32 << 10

// faultyProxy passes TCP connections on to a server, and delays, stalls or cuts
// them when told to.
type faultyProxy struct {
	addr   string // where it listens
	target string
	ln     net.Listener
	served sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed: bytes pass
	delay time.Duration // before each piece
	conns map[net.Conn]bool
	ended bool
}

// startProxy starts one in front of the target; end it with close.
func startProxy(target string) (*faultyProxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &faultyProxy{addr: ln.Addr().String(), target: target, ln: ln, conns: map[net.Conn]bool{}, open: make(chan struct{})}
	close(p.open)
	p.served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			p.served.Go(func() { p.serve(conn) })
		}
	})
	return p, nil
}

// serve passes one connection on, until either side ends it.
func (p *faultyProxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	if !p.keep(client, server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client) })
	both.Go(func() { p.pass(client, server) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

// keep notes the connections so that cut finds them; after close it ends them.
func (p *faultyProxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		if p.ended {
			conn.Close()
		} else {
			p.conns[conn] = true
		}
	}
	return !p.ended
}

// pass copies in one direction and ends both when that ends.
func (p *faultyProxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, proxyBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			open, delay := p.open, p.delay
			p.mu.Unlock()
			<-open
			time.Sleep(delay)
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// slow delays each piece from now on; 0: not any more.
func (p *faultyProxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// stall keeps all bytes back, of new connections too, until the function that
// it returns is called.
func (p *faultyProxy) stall() (resume func()) {
	open := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = open
	return func() { close(open) }
}

// cut ends all connections; new ones pass.
func (p *faultyProxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// close ends everything. Resume it before.
func (p *faultyProxy) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.ln.Close()
	p.cut()
	p.served.Wait()
}
