package component

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	xcomponent "mellium.im/xmpp/component"
	"mellium.im/xmpp/jid"
)

// ComponentConfig configures the external component's stream (XEP-0114).
type ComponentConfig struct {
	Addr    string // host:port of Prosody's component listener
	Domain  string // the component's own domain, such as usher.meet.jitsi
	Secret  string
	Handler Handler
	// Explain puts a failed login in the terms of whoever has to mend it, for
	// [Link.Status] and the log. It wraps the error. nil leaves it as it is.
	Explain func(error) error
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nowhere
	LogXML  bool                  // log every stanza at debug level
}

// NewComponent returns the component's link; it does not dial yet.
// It refuses a config without address, secret or a proper domain.
func NewComponent(cfg ComponentConfig) (*Link, error) {
	domain, err := jid.New("", cfg.Domain, "")
	switch {
	case cfg.Addr == "":
		return nil, errors.New("component: no server address")
	case cfg.Secret == "":
		return nil, errors.New("component: no secret")
	case err != nil:
		return nil, fmt.Errorf("component: domain %q: %w", cfg.Domain, err)
	}
	l := newLink(kindComponent, xcomponent.NSAccept, domain.String(), cfg.Handler, cfg.Log, cfg.Metrics, cfg.LogXML)
	l.explain = cfg.Explain
	l.login = func(ctx context.Context) (*conn, string, error) {
		c, release, err := l.dialConn(ctx, cfg.Addr)
		if err != nil {
			return nil, "", err
		}
		_, err = xcomponent.NewSession(context.WithoutCancel(ctx), domain, []byte(cfg.Secret), c)
		if err == nil && !release() {
			err = ctx.Err()
		}
		if err != nil {
			release()
			c.Close()
			return nil, "", loginError(err)
		}
		return c, l.domain, nil
	}
	return l, nil
}
