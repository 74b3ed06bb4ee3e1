package component

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// ClientConfig configures an ordinary client login (RFC 6120, 6121).
type ClientConfig struct {
	Addr       string // host:port of Prosody's client listener
	JID        string // user@domain/resource; no user: SASL ANONYMOUS
	Password   string
	ServerName string // name the certificate must carry; default the JID's domain
	CAFile     string // PEM file with the certificates to trust; default the system's
	PinSHA256  string // hex SHA-256 of the server's leaf certificate, instead of a CA
	Insecure   bool   // accept any certificate, and a server without StartTLS
	Handler    Handler
	Log        *slog.Logger
	Metrics    prometheus.Registerer
	LogXML     bool
}

// NewClient returns the login's link; it does not dial yet.
func NewClient(cfg ClientConfig) (*Link, error) { panic("not yet written") }
