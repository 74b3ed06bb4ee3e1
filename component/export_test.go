package component

import (
	"context"
	"net"
)

// SetDial makes l dial by f, so that a test can be the server.
func (l *Link) SetDial(f func(ctx context.Context, network, addr string) (net.Conn, error)) {
	l.dial = f
}

const (
	RetryMin     = retryMin
	RetryMax     = retryMax
	RetryRefused = retryRefused
	LoginTimeout = loginTimeout
	PingInterval = pingInterval
	PingTimeout  = pingTimeout
	WriteTimeout = writeTimeout
	CloseTimeout = closeTimeout
	MaxDepth     = maxDepth
	MaxStanzaIn  = maxStanzaIn
	MaxMessageIn = maxMessageIn
	QueueLength  = queueLength
)

var RetryWait = retryWait
