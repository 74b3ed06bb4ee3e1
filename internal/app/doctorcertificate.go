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
	"os"
	"strings"
	"time"

	"usher/api"
)

// renewIn is how long before its end a certificate should have been replaced: what
// renews itself does so a month before.
const renewIn = 14 * 24 * time.Hour

// certificate looks at the one that usher's logins rely on.
func (d *doctor) certificate(ctx context.Context) api.Finding {
	cfg := d.cfg
	if labelled(cfg) && cfg.BreweryPassword == "" {
		return ok("not looked at: usher logs in to no account")
	}
	shown, err := startTLS(ctx, cfg.ClientAddr, cfg.HiddenDomain, cfg.TLSServerName)
	if err != nil {
		return warn("Prosody's certificate is not seen: "+err.Error(), "see what occupant says")
	}
	sum := sha256.Sum256(shown[0].Raw)
	pin := hex.EncodeToString(sum[:])
	byPin := "USHER_TLS_PIN=" + pin
	switch {
	case cfg.TLSInsecure:
		return warn("any certificate is taken for Prosody's", "set "+byPin+", which it has now, in the place of USHER_TLS_INSECURE, or USHER_TLS_CA_FILE where it changes")
	case cfg.TLSPin != "" && !strings.EqualFold(cfg.TLSPin, pin):
		return fail("Prosody's certificate is not the one of USHER_TLS_PIN", "set "+byPin+" if Prosody has a new one")
	case cfg.TLSPin == "":
		err := trusted(shown, cfg.TLSCAFile, cfg.TLSServerName)
		if errors.As(err, new(x509.HostnameError)) {
			return fail("Prosody's certificate is not trusted: "+err.Error(), otherName)
		}
		if err != nil {
			return fail("Prosody's certificate is not trusted: "+err.Error(), "set USHER_TLS_CA_FILE to the PEM file of its authority, or of itself, or "+byPin)
		}
	}
	if left := time.Until(shown[0].NotAfter); left < renewIn {
		return warn("Prosody's certificate ends on "+shown[0].NotAfter.UTC().Format(time.DateOnly), "renew it; where it is pinned, set USHER_TLS_PIN anew")
	}
	return ok("Prosody's is trusted, until " + shown[0].NotAfter.UTC().Format(time.DateOnly))
}

// trusted checks a chain as a login does.
func trusted(chain []*x509.Certificate, caFile, name string) error {
	options := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(text)
	}
	_, err := chain[0].Verify(options)
	return err
}

// startTLS returns the certificates that an XMPP server shows clients of a domain under a name
// (RFC 6120 §5), the server's own first.
func startTLS(ctx context.Context, addr, domain, name string) ([]*x509.Certificate, error) {
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
	secure := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // it is looked at, and nothing is said over it
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secure.ConnectionState().PeerCertificates, nil
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
