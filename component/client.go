package component

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"mellium.im/sasl"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// ClientConfig configures an ordinary client login (RFC 6120, 6121).
type ClientConfig struct {
	Addr       string // host:port of Prosody's client listener
	JID        string // user@domain/resource; no user: SASL ANONYMOUS
	Password   string // of the account; without a user, the trace of ANONYMOUS (RFC 4505 §2)
	ServerName string // name the certificate must carry; default the JID's domain
	CAFile     string // PEM file with the certificates to trust; default the system's
	PinSHA256  string // hex SHA-256 of the server's leaf certificate, instead of a CA
	Insecure   bool   // accept any certificate, and a server without StartTLS
	Handler    Handler
	Explain    func(error) error     // see [ComponentConfig]
	Log        *slog.Logger          // nil discards
	Metrics    prometheus.Registerer // nil registers nowhere
	LogXML     bool                  // log every stanza at debug level
}

const (
	nsStartTLS = "urn:ietf:params:xml:ns:xmpp-tls"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
)

// NewClient returns the login's link; it does not dial yet.
// It refuses a config without address, password (unless the JID has no user)
// or a proper JID, and one that says more than one thing about whom to trust.
func NewClient(cfg ClientConfig) (*Link, error) {
	origin, err := jid.Parse(cfg.JID)
	switch {
	case cfg.Addr == "":
		return nil, errors.New("component: no server address")
	case err != nil:
		return nil, fmt.Errorf("component: JID %q: %w", cfg.JID, err)
	case origin.Localpart() != "" && cfg.Password == "":
		return nil, errors.New("component: no password")
	}
	if cfg.ServerName == "" {
		cfg.ServerName = origin.Domainpart()
	}
	if _, err := cfg.tlsConfig(); err != nil {
		return nil, err
	}
	l := newLink(kindClient, stanza.NSClient, origin.Domainpart(), cfg.Handler, cfg.Log, cfg.Metrics, cfg.LogXML)
	l.explain = cfg.Explain
	l.login = func(ctx context.Context) (*conn, string, error) {
		c, full, err := l.clientLogin(ctx, cfg, origin, true)
		if cfg.Insecure && errors.Is(err, errNoStartTLS) {
			c, full, err = l.clientLogin(ctx, cfg, origin, false)
		}
		return c, full, err
	}
	return l, nil
}

// clientLogin negotiates StartTLS (unless told not to), SASL and a resource.
func (l *Link) clientLogin(ctx context.Context, cfg ClientConfig, origin jid.JID, startTLS bool) (*conn, string, error) {
	plain, release, err := l.dialConn(ctx, cfg.Addr)
	if err != nil {
		return nil, "", err
	}
	var full string // the address that the server has bound
	features := []xmpp.StreamFeature{
		saslFeature(cfg.Password, origin.Localpart() == "", startTLS),
		bindFeature(origin.Resourcepart(), &full),
	}
	if startTLS {
		tlsCfg, err := cfg.tlsConfig()
		if err != nil {
			release()
			plain.Close()
			return nil, "", err
		}
		features = append(features, tlsFeature(tlsCfg))
	}
	session, err := xmpp.NewClientSession(context.WithoutCancel(ctx), origin, plain, features...)
	switch {
	case err != nil:
	case full == "":
		err = errors.New("server bound no resource")
	case !release():
		err = ctx.Err()
	default:
		return session.Conn().(*conn), full, nil
	}
	release()
	plain.Close()
	return nil, "", loginError(err)
}

// saslFeature proves the password without sending it, or logs in without one.
// PLAIN is left out: it hands the password to whoever answers, and Prosody
// offers SCRAM for every account that it keeps.
func saslFeature(password string, anonymous, needTLS bool) xmpp.StreamFeature {
	mechanisms := []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1}
	if anonymous {
		mechanisms = []sasl.Mechanism{traced(password)}
	}
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

// traced is ANONYMOUS with a trace, which mellium's own never sends (XEP-0175
// advises against one): a server may take a token there.
func traced(trace string) sasl.Mechanism {
	m := sasl.Anonymous
	m.Start = func(*sasl.Negotiator) (bool, []byte, any, error) {
		if trace == "" {
			return false, nil, nil, nil
		}
		return false, []byte(trace), nil, nil
	}
	return m
}

// saslError tells a refusal from trouble with the connection or the server.
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
			request, err := encode("iq", "", "", "set", nextID(), bind{Resource: resource})
			if err != nil {
				return 0, nil, err
			}
			if _, err := s.Conn().Write(request); err != nil {
				return 0, nil, err
			}
			r := s.TokenReader()
			defer r.Close()
			var reply struct {
				Type  string `xml:"type,attr"`
				JID   string `xml:"urn:ietf:params:xml:ns:xmpp-bind bind>jid"`
				Error struct {
					Conditions []struct {
						XMLName xml.Name
					} `xml:",any"`
				} `xml:"error"`
			}
			if err := xml.NewTokenDecoder(r).Decode(&reply); err != nil {
				return 0, nil, err
			}
			if reply.Type != "result" || reply.JID == "" {
				condition := "no reason given"
				if c := reply.Error.Conditions; len(c) > 0 {
					condition = c[0].XMLName.Local
				}
				return 0, nil, fmt.Errorf("resource %q not bound: %s", resource, condition)
			}
			*full = reply.JID
			return xmpp.Ready, nil, nil
		},
	}
}
