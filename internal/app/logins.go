package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"usher/component"
	"usher/config"
)

// checkLogins returns what is wrong with the settings of usher's two logins, as
// far as can be said without the server.
func checkLogins(cfg config.Config) error {
	if _, err := component.NewComponent(componentLogin(cfg)); err != nil {
		return fmt.Errorf("the component's login, by USHER_COMPONENT_ADDR, USHER_COMPONENT_DOMAIN and USHER_COMPONENT_SECRET: %w", err)
	}
	if cfg.OccupantPassword != "" {
		if _, err := component.NewClient(occupantLogin(cfg)); err != nil {
			return fmt.Errorf("the occupant's login, by USHER_CLIENT_ADDR, USHER_OCCUPANT_USER, USHER_HIDDEN_DOMAIN, "+
				"USHER_TLS_CA_FILE, USHER_TLS_PIN and USHER_TLS_INSECURE: %w", err)
		}
	}
	if cfg.BreweryPassword != "" {
		if _, err := component.NewClient(breweryLogin(cfg)); err != nil {
			return fmt.Errorf("the login that watches the recorders, by USHER_CLIENT_ADDR, USHER_OCCUPANT_USER, USHER_FOCUS_JID, "+
				"USHER_TLS_CA_FILE, USHER_TLS_PIN and USHER_TLS_INSECURE: %w", err)
		}
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

// account is one of usher's accounts, with the settings that it hangs on.
type account struct {
	user, domain, domainSetting, passwordSetting string
	server                                       string // what the server's certificate must name
	what                                         string // the domain is for
}

func (a account) jid() string { return a.user + "@" + a.domain }

// occupantAccount is who usher is in rooms, in hidden mode.
func occupantAccount(cfg config.Config) account {
	return account{
		user: cfg.OccupantUser, domain: cfg.HiddenDomain, server: cfg.TLSServerName,
		domainSetting: "USHER_HIDDEN_DOMAIN", passwordSetting: "USHER_OCCUPANT_PASSWORD",
		what: "the host that recorders log in to, which docker-jitsi-meet has with ENABLE_RECORDING=1",
	}
}

// breweryAccount is who watches the recorders, where the site lets only Jicofo's
// domain into their room. That domain has a certificate of its own.
func breweryAccount(cfg config.Config) account {
	_, domain, _ := strings.Cut(cfg.FocusJID, "@")
	return account{ //nolint:gosec // names of settings, no credentials
		user: cfg.OccupantUser, domain: domain, server: domain,
		domainSetting: "USHER_FOCUS_JID", passwordSetting: "USHER_BREWERY_PASSWORD",
		what: "the host that Jicofo and Jibri log in to",
	}
}

// occupantLogin says how usher logs in as the hidden occupant.
func occupantLogin(cfg config.Config) component.ClientConfig {
	return clientLogin(cfg, occupantAccount(cfg), cfg.OccupantPassword)
}

// breweryLogin says how usher logs in to watch the recorders.
func breweryLogin(cfg config.Config) component.ClientConfig {
	login := clientLogin(cfg, breweryAccount(cfg), cfg.BreweryPassword)
	login.Name = "brewery"
	return login
}

func clientLogin(cfg config.Config, a account, password config.Secret) component.ClientConfig {
	return component.ClientConfig{
		Addr: cfg.ClientAddr, JID: a.jid() + "/" + resource, Password: string(password), ServerName: a.server,
		CAFile: cfg.TLSCAFile, PinSHA256: cfg.TLSPin, Insecure: cfg.TLSInsecure,
		Options: component.Options{Explain: func(err error) error { return explainClient(cfg, a, err) }, LogXML: cfg.LogXML},
	}
}

// explained is an error in the terms of whoever has to mend it.
type explained struct {
	seen  string
	cause error
	do    string
}

func (e *explained) Error() string {
	text := e.seen + ": " + e.cause.Error()
	if e.do != "" {
		text += "; " + e.do
	}
	return text
}

func (e *explained) Unwrap() error { return e.cause }

// explainComponent says which settings a failed login of the component hangs
// on, and what to do.
func explainComponent(cfg config.Config, err error) error {
	e := &explained{fmt.Sprintf("component %s cannot connect to %s (USHER_COMPONENT_ADDR)", cfg.ComponentDomain, cfg.ComponentAddr), err, ""}
	switch {
	case errors.Is(err, component.ErrNotAuthorized):
		e.seen = fmt.Sprintf("XMPP server has another secret for component %s (USHER_COMPONENT_SECRET)", cfg.ComponentDomain)
		e.do = "set the same one for Prosody and restart Prosody"
	case errors.Is(err, component.ErrHostUnknown):
		e.seen = fmt.Sprintf("XMPP server does not know the component %s (USHER_COMPONENT_DOMAIN)", cfg.ComponentDomain)
		e.do = fmt.Sprintf("have Prosody read usher.cfg.lua and restart it; USHER_XMPP_DOMAIN must be the site's domain, and %s (USHER_COMPONENT_ADDR) its port for components, which is 5347 by default, not the one for clients", cfg.ComponentAddr)
	case dialFailed(err):
		e.seen = fmt.Sprintf("no XMPP server listens on %s (USHER_COMPONENT_ADDR)", cfg.ComponentAddr)
		e.do = "start Prosody, or set USHER_COMPONENT_ADDR to its component_interfaces and component_ports"
	}
	return e
}

// explainClient does the same for the login of an account.
func explainClient(cfg config.Config, a account, err error) error {
	e := &explained{fmt.Sprintf("%s cannot log in on %s (USHER_CLIENT_ADDR)", a.jid(), cfg.ClientAddr), err, ""}
	switch {
	case errors.Is(err, component.ErrHostUnknown):
		e.seen = fmt.Sprintf("XMPP server does not know the domain %s (%s)", a.domain, a.domainSetting)
		e.do = fmt.Sprintf("set it to %s, and restart Prosody if that was added since", a.what)
	case errors.Is(err, component.ErrNotAuthorized):
		e.seen = fmt.Sprintf("XMPP server refuses %s: there is no such account (USHER_OCCUPANT_USER, %s), or it has another password (%s)", a.jid(), a.domainSetting, a.passwordSetting)
		e.do = fmt.Sprintf("to create it, run: prosodyctl register %s %s PASSWORD", a.user, a.domain)
	case errors.Is(err, component.ErrWrongPort):
		e.seen = cfg.ClientAddr + " is not the XMPP server's port for clients"
		e.do = "set USHER_CLIENT_ADDR to it, which is 5222 by default"
	case errors.Is(err, component.ErrTLS):
		e.seen, e.do = untrusted(cfg, a, err)
	case errors.As(err, new(*fs.PathError)):
		e.seen, e.do = "certificates to trust cannot be read", "set USHER_TLS_CA_FILE to a file that usher may read"
	case dialFailed(err):
		e.seen = fmt.Sprintf("no XMPP server listens on %s (USHER_CLIENT_ADDR)", cfg.ClientAddr)
		e.do = "start Prosody, or set USHER_CLIENT_ADDR to its c2s_interfaces and c2s_ports"
	}
	return e
}

// otherName is what to do about a certificate of another name.
const otherName = "set USHER_TLS_SERVER_NAME to a name that it is for, or USHER_XMPP_DOMAIN to the site's domain"

// tlsAlert is what crypto/tls calls an error that the other side has sent.
const tlsAlert = "remote error"

// untrusted says which settings make the server's certificate trusted.
func untrusted(cfg config.Config, a account, err error) (seen, do string) {
	shown := fmt.Sprintf("certificate that %s (USHER_CLIENT_ADDR) shows for %s ", cfg.ClientAddr, a.server)
	var alert *net.OpError
	switch {
	case errors.As(err, &alert) && alert.Op == tlsAlert:
		return "Prosody refuses TLS, as it does without a certificate for " + a.domain, "give it one for " + a.domain + ", and restart Prosody"
	case errors.As(err, new(x509.HostnameError)) && a.server == cfg.TLSServerName:
		return fmt.Sprintf("certificate of %s (USHER_CLIENT_ADDR) is not for %s", cfg.ClientAddr, a.server), otherName
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Sprintf("certificate of %s (USHER_CLIENT_ADDR) is not for %s", cfg.ClientAddr, a.server), "give Prosody one that is"
	case cfg.TLSPin != "":
		return shown + "is not the one of USHER_TLS_PIN, or there is none", "set USHER_TLS_PIN to the SHA-256 of the one that Prosody has now"
	}
	return shown + "is not trusted", "set USHER_TLS_CA_FILE to the PEM file of its authority, or of itself, or USHER_TLS_PIN to its SHA-256; " +
		"inside one machine or container network USHER_TLS_INSECURE=true accepts any"
}

// dialFailed reports whether there was no connection at all.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
