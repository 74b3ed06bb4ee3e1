package component

import (
	"context"
	"errors"
	"fmt"

	xcomponent "mellium.im/xmpp/component"
	"mellium.im/xmpp/jid"
)

// ComponentConfig configures the external component's stream (XEP-0114).
type ComponentConfig struct {
	Addr   string // host:port of Prosody's component listener
	Domain string // the component's own domain, such as usher.meet.jitsi
	Secret string
	Options
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
	l := newLink(kindComponent, xcomponent.NSAccept, domain.String(), cfg.Options)
	l.login = func(ctx context.Context) (*conn, string, error) {
		return l.negotiate(ctx, cfg.Addr, func(ctx context.Context, c *conn) (*conn, string, error) {
			_, err := xcomponent.NewSession(ctx, domain, []byte(cfg.Secret), c)
			return c, l.domain, err
		})
	}
	return l, nil
}
