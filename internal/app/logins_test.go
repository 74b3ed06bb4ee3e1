package app

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"usher/config"
)

// TestNoCertificateToShow: Prosody ends the handshake when it has no certificate for
// a host, and nothing that usher trusts would heal that.
func TestNoCertificateToShow(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
		_ = tls.Server(server, &tls.Config{GetCertificate: none}).Handshake()
	}()
	err := tls.Client(client, &tls.Config{ServerName: "meet.example.org"}).Handshake()
	seen, do := untrusted(config.Config{}, account{domain: "hidden.meet.jitsi", server: "meet.example.org"}, err)
	if !strings.HasSuffix(seen, "without a certificate for hidden.meet.jitsi") || !strings.Contains(do, "give it one for hidden.meet.jitsi") {
		t.Errorf("of %v it says %q, do %q", err, seen, do)
	}
}
