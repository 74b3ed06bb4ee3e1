package stack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the range that the kernel hands out by itself
// (32768 to 60999 on Linux), so that no outgoing connection or listener on
// port 0 can take one while its server is down for a restart.
const (
	firstPort = 20000
	lastPort  = 32000
)

// given are the ports that this process was given. A port is free until its
// server listens, so looking alone would give the same one out twice to servers
// that start at the same time.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// take reports whether the port was not given out before, and gives it out.
// When half of them have been, those of long ago may be given again.
func take(port int) bool {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil || len(given.ports) > (lastPort-firstPort)/2 {
		given.ports = map[int]bool{}
	}
	if given.ports[port] {
		return false
	}
	given.ports[port] = true
	return true
}

// freePorts returns count different loopback ports that nobody listens on now
// and that were not given out before.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range 100 * count { // far more tries than a machine with ports left needs
		port := firstPort + rand.IntN(lastPort-firstPort)
		if !take(port) {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		// Kept open until all are found, so that they differ.
		defer l.Close()
		if ports = append(ports, port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("find %d free loopback ports between %d and %d: none left", count, firstPort, lastPort)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// FreeAddr returns a loopback address, host:port, that nobody listens on now.
func FreeAddr() (string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	return loopback(ports[0]), nil
}
