package stack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range that the kernel hands out by itself
// (32768 to 60999 on Linux), so that no outgoing connection or listener on
// port 0 can take one while its server is down for a restart.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePorts returns count different loopback ports that nobody listens on now.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range 100 * count { // far more tries than a machine with ports left needs
		port := firstPort + rand.IntN(lastPort-firstPort)
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
