package component

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	xstream "mellium.im/xmpp/stream"
)

var (
	// ErrDown is returned for a stanza while there is no stream, and for a
	// request whose stream ended before the answer came.
	ErrDown = errors.New("component: no stream")
	// ErrTooLarge is returned for a stanza over [MaxStanzaOut].
	ErrTooLarge = errors.New("component: stanza too large")
	// ErrConflict means that another connection has, or has taken, our address
	// (RFC 6120 §4.9.3.3).
	ErrConflict = errors.New("component: address in use by another connection")
	// ErrNotAuthorized means that the server refused the secret or password
	// (XEP-0114 §3, RFC 6120 §6.5), or offers no way to prove it that we accept.
	ErrNotAuthorized = errors.New("component: secret or password refused")
	// ErrHostUnknown means that the server serves no such domain (RFC 6120 §4.9.3.6).
	ErrHostUnknown = errors.New("component: domain unknown to the server")
	// ErrWrongPort means that the port serves another kind of stream (RFC 6120
	// §4.9.3.10): a client's login met the listener of components.
	ErrWrongPort = errors.New("component: port serves another kind of stream")
	// ErrTLS means that the connection could not be encrypted, or not with a
	// certificate that we trust (RFC 6120 §5).
	ErrTLS = errors.New("component: TLS refused")
)

// What can end a stream or a login besides the errors above.
var (
	errLoginTimeout = fmt.Errorf("component: login not finished within %v", loginTimeout)
	errClosed       = errors.New("component: server closed the stream")
	errStopped      = errors.New("component: stopped")
	errPing         = fmt.Errorf("component: no answer to a ping within %v", pingTimeout)
	errWrite        = errors.New("component: write failed")
	errBadXML       = errors.New("component: server sent bad XML")
	errOverCap      = errors.New("component: server sent a stanza over the limits")
	errNoStartTLS   = fmt.Errorf("%w: server offers no StartTLS", ErrTLS)
)

// reasons name the errors that end a stream or a login, for metrics and the
// log; the first that matches counts.
var reasons = []struct {
	err  error
	name string
}{
	{ErrConflict, "conflict"},
	{ErrNotAuthorized, "not_authorized"},
	{ErrHostUnknown, "host_unknown"},
	{errPing, "ping_timeout"},
	{errWrite, "write"},
	{errOverCap, "over_limit"},
	{errBadXML, "bad_xml"},
	{errStopped, "stopped"},
	{context.Canceled, "stopped"},
	{ErrTLS, "tls"},
	{errLoginTimeout, "timeout"},
	{os.ErrDeadlineExceeded, "timeout"},
	{xstream.Error{}, "stream_error"}, // any
	{errClosed, "closed"},
	{io.EOF, "closed"},
	{net.ErrClosed, "closed"},
}

// reason names the kind of an error that ended a stream or a login.
func reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	if errors.As(err, new(*net.OpError)) {
		return "unreachable"
	}
	return "other"
}

// allReasons returns what reason may return.
func allReasons() []string {
	all := []string{"unreachable", "other"}
	for _, r := range reasons {
		all = append(all, r.name)
	}
	return all
}

// loginError gives what mellium's negotiation returned its name.
func loginError(err error) error {
	var (
		se     xstream.Error
		syntax *xml.SyntaxError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &se):
		return streamError(se)
	case errors.As(err, &syntax) && syntax.Msg == "unexpected EOF":
		return fmt.Errorf("%w during the login", errClosed)
	case errors.As(err, &syntax):
		return fmt.Errorf("%w during the login: %w", errBadXML, err)
	}
	return fmt.Errorf("log in: %w", err)
}

// sentinels are the errors that stand for a stream error's condition.
var sentinels = map[string]error{
	xstream.Conflict.Err:         ErrConflict,
	xstream.NotAuthorized.Err:    ErrNotAuthorized,
	xstream.HostUnknown.Err:      ErrHostUnknown,
	xstream.HostGone.Err:         ErrHostUnknown,
	xstream.InvalidNamespace.Err: ErrWrongPort,
}

// streamError gives a stream error (RFC 6120 §4.9) its sentinel, if it has one.
func streamError(se xstream.Error) error {
	if sentinel := sentinels[se.Err]; sentinel != nil {
		return fmt.Errorf("%w: %w", sentinel, se)
	}
	return fmt.Errorf("stream error: %w", se)
}

// tlsError marks an error of the TLS handshake.
func tlsError(err error) error {
	var rh tls.RecordHeaderError
	if errors.As(err, &rh) {
		return fmt.Errorf("%w: server does not speak TLS", ErrTLS) // the header's bytes say no more
	}
	return fmt.Errorf("%w: %w", ErrTLS, err)
}
