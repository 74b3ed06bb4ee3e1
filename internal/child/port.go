package child

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Ports are taken from below the range that the kernel hands out by itself
// (32768 to 60999 on Linux), so that no outgoing connection or listener on
// port 0 can take one while its server is down for a restart.
const (
	firstPort = 20000
	lastPort  = 32000
)

// ports counts the ports that this process was given, from a random one on. A
// port is free until its server listens, so looking alone would give the same
// one out twice to servers that start at the same time.
var ports atomic.Int64

func init() { ports.Store(rand.Int64N(lastPort - firstPort)) }

// FreePort returns a loopback port that nobody listens on now, another one each
// time until all have been given out.
func FreePort() (int, error) {
	for range lastPort - firstPort {
		port := firstPort + int(ports.Add(1)%(lastPort-firstPort))
		if l, err := net.Listen("tcp", Loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free loopback port between %d and %d", firstPort, lastPort)
}

// Loopback returns the address of a loopback port, host:port.
func Loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
