package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"usher/component"
	"usher/config"
)

// checkLogins returns what is wrong with the settings of usher's two logins, as
// far as can be said without the server.
func checkLogins(cfg config.Config) error {
	if _, err := component.NewComponent(componentLogin(cfg)); err != nil {
		return fmt.Errorf("the component's login, by USHER_COMPONENT_ADDR, USHER_COMPONENT_DOMAIN and USHER_COMPONENT_SECRET: %w", err)
	}
	if cfg.OccupantPassword == "" {
		return nil
	}
	if _, err := component.NewClient(occupantLogin(cfg)); err != nil {
		return fmt.Errorf("the occupant's login, by USHER_CLIENT_ADDR, USHER_OCCUPANT_USER, USHER_HIDDEN_DOMAIN, "+
			"USHER_TLS_CA_FILE, USHER_TLS_PIN and USHER_TLS_INSECURE: %w", err)
	}
	return nil
}

// componentLogin says how usher connects as an external component.
func componentLogin(cfg config.Config) component.ComponentConfig {
	return component.ComponentConfig{
		Addr: cfg.ComponentAddr, Domain: cfg.ComponentDomain, Secret: string(cfg.ComponentSecret),
		Options: component.Options{Explain: func(err error) error { return explainComponent(cfg, err) }, LogXML: cfg.LogXML},
	}
}

// occupantLogin says how usher logs in as the hidden occupant.
func occupantLogin(cfg config.Config) component.ClientConfig {
	return component.ClientConfig{
		Addr: cfg.ClientAddr, JID: occupantAccount(cfg) + "/" + resource,
		Password: string(cfg.OccupantPassword), ServerName: cfg.TLSServerName,
		CAFile: cfg.TLSCAFile, PinSHA256: cfg.TLSPin, Insecure: cfg.TLSInsecure,
		Options: component.Options{Explain: func(err error) error { return explainOccupant(cfg, err) }, LogXML: cfg.LogXML},
	}
}

func occupantAccount(cfg config.Config) string { return cfg.OccupantUser + "@" + cfg.HiddenDomain }

// explainComponent says which settings a failed login of the component hangs
// on, and what to do.
func explainComponent(cfg config.Config, err error) error {
	text := fmt.Sprintf("component %s cannot connect to %s (USHER_COMPONENT_ADDR)", cfg.ComponentDomain, cfg.ComponentAddr)
	switch {
	case errors.Is(err, component.ErrNotAuthorized):
		text = fmt.Sprintf("XMPP server has another secret for component %s (USHER_COMPONENT_SECRET); "+
			"set the same one for Prosody and restart Prosody", cfg.ComponentDomain)
	case errors.Is(err, component.ErrHostUnknown):
		text = fmt.Sprintf("XMPP server does not know the component %s (USHER_COMPONENT_DOMAIN); "+
			"Prosody must have read usher.cfg.lua, and %s (USHER_COMPONENT_ADDR) must be its port for components, not the one for clients",
			cfg.ComponentDomain, cfg.ComponentAddr)
	case dialFailed(err):
		text = fmt.Sprintf("no XMPP server listens on %s (USHER_COMPONENT_ADDR)", cfg.ComponentAddr)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// explainOccupant does the same for the occupant's login.
func explainOccupant(cfg config.Config, err error) error {
	text := fmt.Sprintf("%s cannot log in on %s (USHER_CLIENT_ADDR)", occupantAccount(cfg), cfg.ClientAddr)
	switch {
	case errors.Is(err, component.ErrHostUnknown):
		text = fmt.Sprintf("XMPP server does not know the domain %s (USHER_HIDDEN_DOMAIN); "+
			"it must be the host that recorders log in to, which docker-jitsi-meet has with ENABLE_RECORDING=1, and Prosody restarted since it was added",
			cfg.HiddenDomain)
	case errors.Is(err, component.ErrNotAuthorized):
		text = fmt.Sprintf("XMPP server refuses %s: there is no such account (USHER_OCCUPANT_USER, USHER_HIDDEN_DOMAIN), or it has another password (USHER_OCCUPANT_PASSWORD); "+
			"to create it, run: prosodyctl register %s %s PASSWORD", occupantAccount(cfg), cfg.OccupantUser, cfg.HiddenDomain)
	case errors.Is(err, component.ErrWrongPort):
		text = fmt.Sprintf("%s (USHER_CLIENT_ADDR) is not the XMPP server's port for clients, which is 5222 by default", cfg.ClientAddr)
	case errors.Is(err, component.ErrTLS):
		text = untrusted(cfg, err)
	case errors.As(err, new(*fs.PathError)):
		text = "certificates to trust cannot be read (USHER_TLS_CA_FILE)"
	case dialFailed(err):
		text = fmt.Sprintf("no XMPP server listens on %s (USHER_CLIENT_ADDR)", cfg.ClientAddr)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// untrusted says which settings make the server's certificate trusted.
func untrusted(cfg config.Config, err error) string {
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Sprintf("certificate of %s (USHER_CLIENT_ADDR) is not for %s; set USHER_TLS_SERVER_NAME to a name that it is for", cfg.ClientAddr, cfg.TLSServerName)
	case cfg.TLSPin != "":
		return fmt.Sprintf("certificate of %s (USHER_CLIENT_ADDR) is not the one of USHER_TLS_PIN, or there is none", cfg.ClientAddr)
	}
	return fmt.Sprintf("certificate of %s (USHER_CLIENT_ADDR) is not trusted; set USHER_TLS_CA_FILE to the PEM file of its authority, or of itself, or USHER_TLS_PIN to its SHA-256; "+
		"inside one machine or container network USHER_TLS_INSECURE=true accepts any", cfg.ClientAddr)
}

// dialFailed reports whether there was no connection at all.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
