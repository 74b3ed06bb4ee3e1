package component

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mellium.im/xmpp"
)

// TLS says whom the login trusts: the system's roots, one CA file, one
// pinned certificate, or anybody. It reads CAFile anew for each login, because
// a site may renew its certificate while we run. It returns an error when that
// cannot be read, and for settings that contradict each other.
func (cfg ClientConfig) TLS() (*tls.Config, error) {
	ca, pin := cfg.CAFile != "", cfg.PinSHA256 != ""
	if ca && pin || ca && cfg.Insecure || pin && cfg.Insecure {
		return nil, errors.New("component: more than one of CA file, pin and insecure")
	}
	t := &tls.Config{ServerName: cfg.ServerName, MinVersion: tls.VersionTLS12}
	switch {
	case ca:
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("component: CA file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("component: CA file %s holds no certificate", cfg.CAFile)
		}
	case pin:
		want, err := hex.DecodeString(strings.ReplaceAll(cfg.PinSHA256, ":", ""))
		if err != nil || len(want) != sha256.Size {
			return nil, errors.New("component: pin is not a SHA-256 in hex")
		}
		// The pin takes the place of the chain and the name.
		t.InsecureSkipVerify = true
		t.VerifyConnection = func(cs tls.ConnectionState) error {
			if got := sha256.Sum256(cs.PeerCertificates[0].Raw); string(got[:]) != string(want) {
				return fmt.Errorf("certificate has SHA-256 %x, not the pinned one", got)
			}
			return nil
		}
	case cfg.Insecure:
		t.InsecureSkipVerify = true
	}
	return t, nil
}

// tlsFeature negotiates StartTLS (RFC 6120 §5) and finishes the handshake
// before anything else is said, so that its errors are recognised.
func tlsFeature(cfg *tls.Config) xmpp.StreamFeature {
	f := xmpp.StartTLS(cfg)
	negotiate := f.Negotiate
	f.Negotiate = func(ctx context.Context, s *xmpp.Session, data any) (xmpp.SessionState, io.ReadWriter, error) {
		if _, offered := s.Feature(nsStartTLS); !offered {
			return 0, nil, errNoStartTLS
		}
		state, rw, err := negotiate(ctx, s, data)
		if err != nil {
			return 0, nil, err
		}
		secure := rw.(*tls.Conn)
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, nil, tlsError(err)
		}
		return state, newConn(secure), nil
	}
	return f
}
