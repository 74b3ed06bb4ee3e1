package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits of one try.
const (
	// Timeout bounds a try, from the look-up of the name to the end of the
	// answer. Receivers should answer before they do the work.
	Timeout = 10 * time.Second
	// maxAsk is the most of a Retry-After that is honoured.
	maxAsk = time.Hour
)

// UserAgent is the User-Agent of every delivery.
const UserAgent = "usher-webhook/1"

// Reasons why a try got no answer: a closed set, without anything that the
// endpoint said.
const (
	reasonDNS     = "dns"     // the name does not resolve
	reasonBlocked = "blocked" // the address is refused by the guard
	reasonConnect = "connect" // nobody listens there
	reasonTLS     = "tls"     // no secure connection, such as for a bad certificate
	reasonTimeout = "timeout" // too slow
	reasonBroken  = "broken"  // the connection broke, or what came was not HTTP
	reasonEvent   = "notice"  // nothing to send: the event or the secret is unreadable
)

// outcome is what came of a try.
type outcome struct {
	status int           // of the answer, 0 without one
	reason string        // why there was none
	err    error         // for the log: names hosts and addresses, never a path
	ask    time.Duration // Retry-After
	took   time.Duration
}

// sender makes requests. Redirects are not followed, proxies not used and
// cookies not kept.
type sender struct {
	transports map[string]http.RoundTripper // by scheme
	timeout    time.Duration
}

// newSender returns one that speaks HTTP/1.1 only: a stuck HTTP/2 connection would
// hold up all of an endpoint's meetings at once.
func newSender(g *guard) *sender {
	plain := &net.Dialer{Control: g.control(true)}
	secure := &tls.Dialer{NetDialer: &net.Dialer{Control: g.control(false)}, Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	return &sender{timeout: Timeout, transports: map[string]http.RoundTripper{
		"http":  &transport{dial: plain.DialContext, port: "80", idle: map[string][]*connection{}},
		"https": &transport{dial: secure.DialContext, port: "443", idle: map[string][]*connection{}},
	}}
}

// tidy lets go of connections that have been idle since the given time.
func (s *sender) tidy(since time.Time) {
	for _, rt := range s.transports {
		if t, ok := rt.(*transport); ok {
			t.tidy(since)
		}
	}
}

// post makes one try and blocks until it is answered or its context ends.
func (s *sender) post(r *http.Request) outcome {
	start := time.Now()
	answer, err := s.transports[r.URL.Scheme].RoundTrip(r)
	if err != nil {
		return outcome{reason: reasonOf(err), err: err, took: time.Since(start)}
	}
	now := time.Now()
	return outcome{status: answer.StatusCode, ask: retryAfter(answer.Header.Get("Retry-After"), now), took: now.Sub(start)}
}

func reasonOf(err error) string {
	network, _ := errors.AsType[net.Error](err)
	operation, _ := errors.AsType[*net.OpError](err)
	switch {
	case is[blockedError](err):
		return reasonBlocked
	case is[*net.DNSError](err):
		return reasonDNS
	case is[*tls.CertificateVerificationError](err), is[tls.AlertError](err), is[tls.RecordHeaderError](err), is[x509.HostnameError](err):
		return reasonTLS
	case errors.Is(err, context.DeadlineExceeded), network != nil && network.Timeout():
		return reasonTimeout
	case operation != nil && operation.Op == "dial":
		return reasonConnect
	case operation != nil && operation.Op == "remote error": // how crypto/tls passes on an alert
		return reasonTLS
	}
	return reasonBroken
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// retryAfter reads the header (RFC 9110 §10.2.3), seconds or a date; 0 when it
// says nothing that can be used.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxAsk/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxAsk)
}

// answer is what the outcome of a try says.
type answer int

const (
	accepted   answer = iota
	failed            // it speaks of the endpoint
	denied            // likewise, and the request may be said or signed another way
	refused           // it speaks of the event, if the endpoint accepts others
	gone              // the endpoint asks never to be called again
	unsendable        // the event can never be sent
	nothing           // the dialect has nothing to say of the event
	cancelled         // this process stops leading
)

// answerOf says what follows from the outcome of a try in a dialect; nil:
// [Standard].
func answerOf(o outcome, dialect *Dialect) answer {
	switch s := o.status; {
	case errors.Is(o.err, errNothing):
		return nothing
	case o.reason == reasonEvent:
		return unsendable
	case s/100 == 2:
		return accepted
	case s == http.StatusGone && (dialect == nil || !dialect.GoneIsOfEvent):
		return gone
	case s == http.StatusUnauthorized:
		return denied
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests:
		return failed
	case s/100 == 4:
		return refused
	}
	return failed
}
