package component

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// ComponentConfig configures the external component's stream (XEP-0114).
type ComponentConfig struct {
	Addr    string // host:port of Prosody's component listener
	Domain  string // the component's own domain, such as usher.meet.jitsi
	Secret  string
	Handler Handler
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	LogXML  bool                  // log every stanza at debug level
}

// NewComponent returns the component's link; it does not dial yet.
func NewComponent(cfg ComponentConfig) (*Link, error) { panic("not yet written") }
