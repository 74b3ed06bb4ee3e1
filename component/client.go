package component

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"

	"mellium.im/sasl"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// ClientConfig configures an ordinary client login (RFC 6120, 6121).
type ClientConfig struct {
	Addr     string // host:port of Prosody's client listener
	JID      string // user@domain/resource
	Password string
	// Mechanisms prove who logs in, in place of the password; nil: SCRAM with the
	// password. PLAIN is left out: it hands the password to whoever answers, and
	// Prosody offers SCRAM for every account that it keeps.
	Mechanisms []sasl.Mechanism
	ServerName string // name the certificate must carry; default the JID's domain
	CAFile     string // PEM file with the certificates to trust; default the system's
	PinSHA256  string // hex SHA-256 of the server's leaf certificate, instead of a CA
	Insecure   bool   // accept any certificate, and a server without StartTLS
	Options
}

const (
	nsStartTLS = "urn:ietf:params:xml:ns:xmpp-tls"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
)

// NewClient returns the login's link; it does not dial yet.
// It refuses a config without address, password (or mechanisms) or a proper JID,
// and one that says more than one thing about whom to trust.
func NewClient(cfg ClientConfig) (*Link, error) {
	origin, err := jid.Parse(cfg.JID)
	switch {
	case cfg.Addr == "":
		return nil, errors.New("component: no server address")
	case err != nil:
		return nil, fmt.Errorf("component: JID %q: %w", cfg.JID, err)
	case cfg.Mechanisms == nil && cfg.Password == "":
		return nil, errors.New("component: no password")
	}
	if cfg.Mechanisms == nil {
		cfg.Mechanisms = []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = origin.Domainpart()
	}
	if _, err := cfg.TLS(); err != nil {
		return nil, err
	}
	l := newLink(kindClient, stanza.NSClient, origin.Domainpart(), cfg.Options)
	l.login = func(ctx context.Context) (*conn, string, error) {
		c, full, err := l.negotiate(ctx, cfg.Addr, cfg.login(origin, true))
		if cfg.Insecure && errors.Is(err, errNoStartTLS) {
			c, full, err = l.negotiate(ctx, cfg.Addr, cfg.login(origin, false))
		}
		return c, full, err
	}
	return l, nil
}

// login returns the negotiation of StartTLS (where startTLS is set), SASL and a
// resource.
func (cfg ClientConfig) login(origin jid.JID, startTLS bool) func(context.Context, *conn) (*conn, string, error) {
	return func(ctx context.Context, plain *conn) (*conn, string, error) {
		var full string // the address that the server has bound
		features := []xmpp.StreamFeature{
			saslFeature(cfg.Password, startTLS, cfg.Mechanisms),
			bindFeature(origin.Resourcepart(), &full),
		}
		if startTLS {
			trust, err := cfg.TLS()
			if err != nil {
				return nil, "", err
			}
			features = append(features, tlsFeature(trust))
		}
		session, err := xmpp.NewClientSession(ctx, origin, plain, features...)
		if err == nil && full == "" {
			err = errors.New("server bound no resource")
		}
		if err != nil {
			return nil, "", err
		}
		return session.Conn().(*conn), full, nil
	}
}

// saslFeature proves who logs in, and names a refusal.
func saslFeature(password string, needTLS bool, mechanisms []sasl.Mechanism) xmpp.StreamFeature {
	f := xmpp.SASL("", password, mechanisms...)
	if !needTLS {
		f.Necessary = 0
	}
	negotiate := f.Negotiate
	f.Negotiate = func(ctx context.Context, s *xmpp.Session, data any) (xmpp.SessionState, io.ReadWriter, error) {
		state, rw, err := negotiate(ctx, s, data)
		return state, rw, saslError(err)
	}
	return f
}

// saslError marks a refusal, as opposed to trouble with the connection or the server.
func saslError(err error) error {
	var (
		netErr net.Error
		syntax *xml.SyntaxError
	)
	switch {
	case err == nil, errors.As(err, &netErr), errors.As(err, &syntax), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, errOverCap):
		return err
	case saslCondition(err) == "temporary-auth-failure":
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotAuthorized, err)
}

// saslCondition returns the condition of a SASL failure (RFC 6120 §6.5), whose
// type mellium does not export.
func saslCondition(err error) string {
	m, ok := err.(xmlstream.Marshaler)
	if !ok {
		return ""
	}
	var failure struct {
		Conditions []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if xml.NewTokenDecoder(m.TokenReader()).Decode(&failure) != nil || len(failure.Conditions) == 0 {
		return ""
	}
	return failure.Conditions[0].XMLName.Local
}

// bindFeature asks for exactly this resource (RFC 6120 §7) and keeps the
// address that the server grants as the string that it is.
// mellium's own feature always asks for an empty resource, and the server then
// makes one up; a random address would leave a ghost after a crash.
func bindFeature(resource string, full *string) xmpp.StreamFeature {
	type bind struct {
		XMLName  xml.Name `xml:"urn:ietf:params:xml:ns:xmpp-bind bind"`
		Resource string   `xml:"resource,omitempty"`
	}
	return xmpp.StreamFeature{
		Name:       xml.Name{Space: nsBind, Local: "bind"},
		Necessary:  xmpp.Authn,
		Prohibited: xmpp.Ready,
		Parse: func(_ context.Context, d *xml.Decoder, _ *xml.StartElement) (bool, any, error) {
			return true, nil, d.Skip()
		},
		Negotiate: func(_ context.Context, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, error) {
			request, err := encode("iq", "", "", "set", rand.Text(), bind{Resource: resource})
			if err != nil {
				return 0, nil, err
			}
			if _, err := s.Conn().Write(request); err != nil {
				return 0, nil, err
			}
			r := s.TokenReader()
			defer r.Close()
			var bound struct {
				JID string `xml:"jid"`
			}
			reply := iq{Payload: payload{into: &bound}}
			if err := xml.NewTokenDecoder(r).Decode(&reply); err != nil {
				return 0, nil, err
			}
			if reply.Type != "result" || bound.JID == "" {
				return 0, nil, fmt.Errorf("resource %q not bound: %s", resource, reply.err().Condition)
			}
			*full = bound.JID
			return xmpp.Ready, nil, nil
		},
	}
}
