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
	errPing         = fmt.Errorf("component: no answer to a ping within %v", pingPatience)
	errWrite        = errors.New("component: write failed")
	errBadXML       = errors.New("component: server sent bad XML")
	errOverCap      = errors.New("component: server sent a stanza over the limits")
	errNoStartTLS   = fmt.Errorf("%w: server offers no StartTLS", ErrTLS)
)

// reasons are the values that reason returns, for metrics to start at zero.
var reasons = []string{
	"bad_xml", "closed", "conflict", "host_unknown", "not_authorized", "other", "over_limit",
	"ping_timeout", "stopped", "stream_error", "timeout", "tls", "unreachable", "write",
}

// reason names the kind of an error that ended a stream or a login.
func reason(err error) string {
	switch {
	case errors.Is(err, ErrConflict):
		return "conflict"
	case errors.Is(err, ErrNotAuthorized):
		return "not_authorized"
	case errors.Is(err, ErrHostUnknown):
		return "host_unknown"
	case errors.Is(err, errPing):
		return "ping_timeout"
	case errors.Is(err, errWrite):
		return "write"
	case errors.Is(err, errOverCap):
		return "over_limit"
	case errors.Is(err, errBadXML):
		return "bad_xml"
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		return "stopped"
	case errors.Is(err, ErrTLS):
		return "tls"
	case errors.Is(err, errLoginTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, new(xstream.Error)):
		return "stream_error"
	case errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, new(*net.OpError)):
		return "unreachable"
	}
	return "other"
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

// streamError gives a stream error (RFC 6120 §4.9) its sentinel, if it has one.
func streamError(se xstream.Error) error {
	switch se.Err {
	case xstream.Conflict.Err:
		return fmt.Errorf("%w: %w", ErrConflict, se)
	case xstream.NotAuthorized.Err:
		return fmt.Errorf("%w: %w", ErrNotAuthorized, se)
	case xstream.HostUnknown.Err, xstream.HostGone.Err:
		return fmt.Errorf("%w: %w", ErrHostUnknown, se)
	case xstream.InvalidNamespace.Err:
		return fmt.Errorf("%w: %w", ErrWrongPort, se)
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
