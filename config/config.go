// Package config holds usher's settings: flags, environment and an optional
// JSON file, in that order of precedence, read by kong from struct tags.
//
// Every setting's flag --some-name is also the environment variable
// USHER_SOME_NAME; a secret may instead be in the file that
// USHER_SOME_NAME_FILE names. An empty one counts as unset.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
)

// Config is what `usher serve` runs with. Domains left empty follow from
// XMPPDomain, with the names that docker-jitsi-meet uses.
type Config struct {
	Site string `default:"main" help:"Name of this Jitsi site, part of every Redis key."`

	Jitsi

	MUC             string `name:"muc" placeholder:"muc.DOMAIN" help:"Domain of the main MUC."`
	BreakoutDomain  string `placeholder:"breakout.DOMAIN" help:"Domain of the MUC of breakout rooms (Prosody's breakout_rooms_muc): who is in them is believed from it alone."`
	LobbyDomain     string `placeholder:"lobby.DOMAIN" help:"Domain of the MUC of lobbies (Prosody's lobby_muc), where people wait to be let in."`
	HiddenDomain    string `placeholder:"hidden.DOMAIN" help:"Domain whose members web clients hide: recorders and usher's occupant."`
	FocusJID        string `name:"focus-jid" placeholder:"focus@auth.DOMAIN" help:"Address of Jicofo."`
	ComponentDomain string `placeholder:"usher.DOMAIN" help:"Domain of usher's component."`
	ComponentAddr   string `default:"127.0.0.1:5347" help:"Prosody's component listener, host:port."`
	ComponentSecret Secret `help:"Secret of the component."`

	OccupantUser     string `placeholder:"usher" help:"Account in the hidden domain that usher is in rooms as; needs occupant-password."`
	OccupantPassword Secret `help:"Its password. Only with neither user nor password usher joins as a visible, labelled occupant of its component."`
	ClientAddr       string `default:"127.0.0.1:5222" help:"Prosody's client listener, host:port."`
	TLSCAFile        string `name:"tls-ca-file" help:"PEM file with the certificates to trust for the login; default the system's."`
	TLSServerName    string `name:"tls-server-name" placeholder:"DOMAIN" help:"Name that the server's certificate carries; Prosody shows the main domain's for hidden domains."`
	TLSPin           string `name:"tls-pin" help:"SHA-256 of the server's certificate in hex, instead of a CA."`
	TLSInsecure      bool   `name:"tls-insecure" help:"Accept any certificate, for inside one machine or one container network."`
	DisplayName      string `default:"Usher" help:"Name of the occupant where people can see it."`

	TrustIdentity   bool     `help:"Believe <identity> in presence from the XMPP domain: set it when that host loads mod_presence_identity, which keeps people from claiming to be others."`
	IdentityDomains []string `name:"identity-domain" placeholder:"guest.DOMAIN" help:"Further hosts to believe it from, each of which must load that module. Never a component, whose presence no module sees."`
	TrustedDomains  []string `name:"trusted-domain" placeholder:"jigasi.DOMAIN" help:"Further hosts, besides those of hidden-domain and focus-jid, where only the site's own recorders, transcribers and dial-ins log in, so that what they say they are is believed, as by Jicofo's and Jigasi's trusted-domains."`
	DialInDomains   []string `name:"dial-in-domain" placeholder:"guest.DOMAIN" help:"Further hosts from which dial-ins (Jigasi) are believed although people log in there too: whoever comes from there can then pass for a phone, and is not counted."`
	ElectsModerator bool     `default:"true" negatable:"" help:"The site makes the first human a moderator (Jicofo's auto-owner); usher then warns when that does not happen."`

	Store    string `hidden:"" default:"redis" help:"Of versions until November 2026; redis is the only one."`
	RedisURL string `name:"redis-url" help:"redis:// or rediss:// URL, more nodes of a cluster as ?addr=HOST:PORT&addr=…, sentinels likewise with &master_name=NAME; without one usher starts a redis-server of its own in the data directory."`
	DataDir  string `default:"usher-data" help:"Directory for that redis-server's files."`

	// Neither the video bridge's port (8080) nor Prometheus's (9090), which
	// docker-jitsi-meet publishes on the same machine.
	Listen         string         `default:"127.0.0.1:8480" help:"Address of the HTTP API."`
	PublicURL      string         `name:"public-url" help:"URL under which people reach the API's listener, for join links; default http:// and its address."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" help:"Networks of reverse proxies, such as 10.0.0.0/8, whose X-Forwarded-For is believed."`
	AdminListen    string         `default:"127.0.0.1:9480" help:"Address of /metrics, /livez, /readyz and pprof; keep it private."`
	APIKeys        []Secret       `name:"api-key" env:"USHER_API_KEY" help:"Keys that the API accepts; more than one while rotating."`
	// The limits of a key are above what a busy app needs, and below what would
	// starve the others.
	APIRate                 float64 `name:"api-rate" default:"500" help:"Requests per second that one API key may make in the long run; 0: as many as it likes."`
	APIBurst                int     `name:"api-burst" default:"1000" help:"Requests that one API key may make at once, 1 or more."`
	ReservationToken        Secret  `help:"Bearer token that Prosody's mod_reservations sends; without one the callback is refused."`
	ReservationMaxOccupants bool    `help:"Pass max_participants on to Prosody with a reservation: set it only where the site sets reservations_enable_max_occupants, because others refuse the answer."`
	ReservationLobby        bool    `help:"Have people wait in meetings that ask for a lobby until a host lets them in: set it only where the site has mod_persistent_lobby, mod_token_lobby_bypass and reservations_enable_lobby_support, because elsewhere nobody waits, or nobody gets in."`

	Webhooks     Webhooks       `name:"webhooks" env:"USHER_WEBHOOKS" placeholder:"JSON" help:"Endpoints that every event is sent to, besides those made over the API: [{\"name\":\"crm\",\"url\":\"https://...\",\"secrets\":[\"whsec_...\"]}]; docs/webhooks.md has the other fields."`
	WebhookAllow []netip.Prefix `name:"webhook-allow" help:"Networks of receivers that are not on the public internet, such as 10.0.0.0/8; over http too."`
	OldWebhooks

	Recording
	Tracks Tracks `embed:"" prefix:"tracks-"`
	Whereby
	Upstream

	LogLevel slog.Level `default:"info" help:"debug, info, warn or error."`
	LogXML   bool       `name:"log-xml" help:"Log every stanza, at debug level."`

	// Warnings say, each in a sentence, which settings work and are not as they should be.
	Warnings []string `kong:"-"`
}

// AfterApply fills in the domains that follow from XMPPDomain, puts them all in
// lower case, and reports everything that is wrong, at once. Kong calls it.
// Afterwards IdentityDomains and TrustedDomains hold all domains that are believed.
func (c *Config) AfterApply() error {
	var p problems
	if c.checkDomains(&p); len(p) > 0 {
		return errors.Join(p...) // what follows from them would be wrong as well
	}
	c.MUC = cmp.Or(c.MUC, "muc."+c.XMPPDomain)
	c.BreakoutDomain = cmp.Or(c.BreakoutDomain, "breakout."+c.XMPPDomain)
	c.LobbyDomain = cmp.Or(c.LobbyDomain, "lobby."+c.XMPPDomain)
	c.HiddenDomain = cmp.Or(c.HiddenDomain, "hidden."+c.XMPPDomain)
	c.FocusJID = cmp.Or(c.FocusJID, "focus@auth."+c.XMPPDomain)
	c.ComponentDomain = cmp.Or(c.ComponentDomain, "usher."+c.XMPPDomain)
	c.TLSServerName = cmp.Or(c.TLSServerName, c.XMPPDomain)
	c.Brewery = cmp.Or(c.Brewery, "jibribrewery@internal-muc."+c.XMPPDomain)
	c.Tracks.Brewery = cmp.Or(c.Tracks.Brewery, "jvbbrewery@internal-muc."+c.XMPPDomain)
	// The server sends addresses in lower case.
	for _, s := range []*string{&c.XMPPDomain, &c.MUC, &c.BreakoutDomain, &c.LobbyDomain, &c.HiddenDomain, &c.FocusJID, &c.ComponentDomain, &c.OccupantUser, &c.Brewery, &c.Tracks.Brewery} {
		*s = strings.ToLower(*s)
	}
	c.checkIdentities(&p)
	c.checkOccupant(&p)
	c.OccupantUser = cmp.Or(c.OccupantUser, "usher")
	p.when(c.Store != "redis",
		"store: %q is no longer possible; leave store and redis-url out, and usher starts a redis-server of its own in data-dir", c.Store)
	p.when(c.ComponentSecret == "", "component-secret is missing")
	p.when(len(c.APIKeys) == 0, "api-key is missing: nobody could use the API")
	for _, key := range c.APIKeys {
		p.when(len(key) < minKey, "an api-key has %d characters, at least %d are needed", len(key), minKey)
	}
	c.checkAddresses(&p)
	c.checkRate(&p)
	c.checkWebhooks(&p)
	c.Recording.check(&p)
	c.Tracks.check(&p, &c.Recording)
	c.Whereby.check(&p)
	c.checkUpstream(&p)
	return errors.Join(p...)
}

// problems are what is wrong with the settings.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// when adds a problem where there is one.
func (p *problems) when(wrong bool, format string, args ...any) {
	if wrong {
		p.add(format, args...)
	}
}

// Limits of api-rate, in requests per second. Below the least, one request an
// hour, an app that is refused would be told to come back another day; above
// the most there is no limit in practice, which is what 0 is for.
const (
	minAPIRate = 1.0 / 3600
	maxAPIRate = 1e6
)

// checkRate reports limits that would refuse everybody, or nobody.
func (c *Config) checkRate(p *problems) {
	limited := c.APIRate >= minAPIRate && c.APIRate <= maxAPIRate // NaN is neither
	p.when(!limited && c.APIRate != 0,
		"api-rate must be 0, for no limit, or from %.5f (one request an hour) to %.0f requests per second, not %v", minAPIRate, maxAPIRate, c.APIRate)
	p.when(c.APIBurst < 1 && c.APIRate != 0 || c.APIBurst < 0,
		"api-burst must be 1 or more, not %d: every request would be refused; for no limit set api-rate to 0", c.APIBurst)
}

// notInHosts are characters of URLs, JIDs and patterns that are taken for names of hosts.
const notInHosts = "@/:* "

// checkDomains reports domains that are none.
func (c *Config) checkDomains(p *problems) {
	for _, d := range []struct{ setting, domain string }{
		{"xmpp-domain", c.XMPPDomain}, {"muc", c.MUC}, {"breakout-domain", c.BreakoutDomain}, {"lobby-domain", c.LobbyDomain},
		{"hidden-domain", c.HiddenDomain}, {"component-domain", c.ComponentDomain},
	} {
		p.when(strings.ContainsAny(d.domain, notInHosts), "%s is %q, which is not the name of a host, such as meet.example.org", d.setting, d.domain)
	}
}

// checkIdentities completes IdentityDomains and TrustedDomains, and reports what
// is wrong with who is who.
func (c *Config) checkIdentities(p *problems) {
	for _, list := range []struct {
		setting string
		domains *[]string
	}{{"identity-domain", &c.IdentityDomains}, {"trusted-domain", &c.TrustedDomains}, {"dial-in-domain", &c.DialInDomains}} {
		var domains []string
		for _, d := range *list.domains {
			if d = strings.ToLower(strings.TrimSpace(d)); strings.ContainsAny(d, notInHosts) {
				p.add("%s %q is not the name of a host, such as guest.%s", list.setting, d, c.XMPPDomain)
			} else if d != "" {
				domains = append(domains, d)
			}
		}
		*list.domains = domains
	}
	for _, d := range c.TrustedDomains {
		p.when(d == c.XMPPDomain || slices.Contains(c.IdentityDomains, d) || slices.Contains(c.DialInDomains, d),
			"trusted-domain %s is where people log in: anybody there could pass for a recorder; where dial-ins log in with people, name it in dial-in-domain alone", d)
	}
	if c.TrustIdentity {
		c.IdentityDomains = append(c.IdentityDomains, c.XMPPDomain)
	}
	_, services, _ := strings.Cut(c.FocusJID, "@")
	c.TrustedDomains = append(c.TrustedDomains, c.HiddenDomain, services)
	// Everybody in the hidden domain is taken for a part of the site.
	for _, other := range []struct{ setting, domain string }{
		{"xmpp-domain", c.XMPPDomain}, {"muc", c.MUC}, {"component-domain", c.ComponentDomain},
	} {
		p.when(c.HiddenDomain == other.domain,
			"hidden-domain is %s, as %s: it must be a host of its own, where recorders log in and people do not, such as hidden.%s", c.HiddenDomain, other.setting, c.XMPPDomain)
	}
}

// checkOccupant reports what is wrong with usher's account in the hidden domain.
// Half an account is a mistake, which must not make people see usher.
func (c *Config) checkOccupant(p *problems) {
	p.when(strings.ContainsAny(c.OccupantUser, "@/"),
		"occupant-user is %q: only what stands before the @ belongs here, hidden-domain has the rest", c.OccupantUser)
	p.when(c.OccupantUser != "" && c.OccupantPassword == "",
		"occupant-user is %q, but occupant-password is missing: set it, or neither of them for an usher that people see", c.OccupantUser)
}

// minKey is the least length of an API key: 16 characters of base64 or hex
// hold 64 bits or more, which nobody guesses over a network.
const minKey = 16

// Secret is a value that never shows in logs or help.
type Secret string

// String hides the secret; convert to string to use it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// LogValue hides the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret in any encoding.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// Named is a value that belongs to a name, given as NAME=VALUE.
type Named struct {
	Name  string
	Value Secret
}

// UnmarshalText reads NAME=VALUE. Its error quotes nothing: it may be secret.
func (n *Named) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), "=")
	if !ok || name == "" || value == "" {
		return errors.New("it must be given as NAME=VALUE")
	}
	*n = Named{name, Secret(value)}
	return nil
}
