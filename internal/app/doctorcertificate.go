package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"time"

	"usher/api"
)

// renewIn is how long before its end a certificate should have been replaced: what
// renews itself does so a month before.
const renewIn = 14 * 24 * time.Hour

// certificate looks at the one that usher's logins rely on.
func (d *doctor) certificate(ctx context.Context) api.Finding {
	cfg := d.cfg
	a, login, says := occupantAccount(cfg), occupantLogin(cfg), "occupant"
	if labelled(cfg) && cfg.BreweryPassword == "" {
		return ok("not looked at: usher logs in to no account")
	} else if labelled(cfg) {
		a, login, says = breweryAccount(cfg), breweryLogin(cfg), "recorders"
	}
	trust, err := login.TLS()
	if err != nil {
		return warn("Prosody's certificate is not looked at: "+err.Error(), "see what "+says+" and settings say")
	}
	shown, err := startTLS(ctx, cfg.ClientAddr, a.domain, trust)
	if shown == nil {
		return warn("Prosody's certificate is not seen: "+err.Error(), "see what "+says+" says")
	}
	sum := sha256.Sum256(shown[0].Raw)
	pin := hex.EncodeToString(sum[:])
	byPin := "USHER_TLS_PIN=" + pin
	switch {
	case cfg.TLSInsecure:
		return warn("any certificate is taken for Prosody's", "set "+byPin+", which it has now, in the place of USHER_TLS_INSECURE, or USHER_TLS_CA_FILE where it changes")
	case err != nil && cfg.TLSPin != "":
		return fail("Prosody's certificate is not the one of USHER_TLS_PIN", "set "+byPin+" if Prosody has a new one")
	case errors.As(err, new(x509.HostnameError)):
		_, do := untrusted(cfg, a, err)
		return fail("Prosody's certificate is not trusted: "+err.Error(), do)
	case err != nil:
		return fail("Prosody's certificate is not trusted: "+err.Error(), "set USHER_TLS_CA_FILE to the PEM file of its authority, or of itself, or "+byPin)
	}
	if left := time.Until(shown[0].NotAfter); left < renewIn {
		return warn("Prosody's certificate ends on "+shown[0].NotAfter.UTC().Format(time.DateOnly), "renew it; where it is pinned, set USHER_TLS_PIN anew")
	}
	return ok("Prosody's is trusted, until " + shown[0].NotAfter.UTC().Format(time.DateOnly))
}

// startTLS returns the certificates that an XMPP server shows clients of a domain
// (RFC 6120 §5), the server's own first, and an error when there are none or trust
// refuses them.
func startTLS(ctx context.Context, addr, domain string, trust *tls.Config) (shown []*x509.Certificate, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if _, err = fmt.Fprintf(conn, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>", domain); err != nil {
		return nil, err
	}
	said := xml.NewDecoder(conn)
	for _, want := range []string{"starttls", "proceed"} {
		if err := readTo(said, want); err != nil {
			return nil, err
		}
		if want == "starttls" {
			if err := readToEnd(said, "features"); err != nil {
				return nil, err
			}
			if _, err := conn.Write([]byte("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")); err != nil {
				return nil, err
			}
		}
	}
	pinned := trust.VerifyConnection
	trust.VerifyConnection = func(cs tls.ConnectionState) error {
		if shown = cs.PeerCertificates; pinned == nil {
			return nil
		}
		return pinned(cs)
	}
	err = tls.Client(conn, trust).HandshakeContext(ctx)
	if refused, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		shown = refused.UnverifiedCertificates
	}
	return shown, err
}

// readTo reads until an element begins; an error of the stream ends that.
func readTo(d *xml.Decoder, name string) error {
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if start, is := t.(xml.StartElement); is && start.Name.Local == name {
			return nil
		} else if is && start.Name.Local == "error" {
			return errors.New("the server refuses the stream")
		}
	}
}

func readToEnd(d *xml.Decoder, name string) error {
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if end, is := t.(xml.EndElement); is && end.Name.Local == name {
			return nil
		}
	}
}
