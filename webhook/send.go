package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
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
	// maxAnswer is how much of an answer is read, in bytes: enough for the
	// connection to be used again after any sensible one.
	maxAnswer = 64 << 10
	// maxHeader bounds the header of an answer, in bytes, likewise.
	maxHeader = 64 << 10
	// idleConnection is how long a connection is kept for the next event:
	// shorter than the 60 s and more after which common servers close it.
	idleConnection = 50 * time.Second
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

func newSender(g *guard) *sender {
	transport := func(plain bool) http.RoundTripper {
		dialer := &net.Dialer{Timeout: Timeout, Control: g.control(plain)}
		t := &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    Timeout,
			MaxIdleConnsPerHost:    MaxPerEndpoint,
			IdleConnTimeout:        idleConnection,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
			// HTTP/1.1 only: a stuck HTTP/2 connection would hold up all of an
			// endpoint's meetings at once.
			Protocols: new(http.Protocols),
		}
		t.Protocols.SetHTTP1(true)
		return t
	}
	return &sender{transports: map[string]http.RoundTripper{"https": transport(false), "http": transport(true)}, timeout: Timeout}
}

// close lets go of the connections that wait for more.
func (s *sender) close() {
	for _, rt := range s.transports {
		(&http.Client{Transport: rt}).CloseIdleConnections()
	}
}

// post makes one try and blocks until it is answered or its context ends.
func (s *sender) post(r *http.Request) outcome {
	start := time.Now()
	// Not by http.Client, whose errors quote the URL.
	answer, err := s.transports[r.URL.Scheme].RoundTrip(r)
	if err != nil {
		return outcome{reason: reasonOf(err), err: err, took: time.Since(start)}
	}
	o := outcome{status: answer.StatusCode, ask: retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	// The status has said all; what is read here only frees the connection.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	_ = answer.Body.Close()
	o.took = time.Since(start)
	return o
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
