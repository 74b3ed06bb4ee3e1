// Package config holds usher's settings: flags, environment and an optional
// JSON file, in that order of precedence, read by kong from struct tags.
//
// Every setting's flag --some-name is also the environment variable
// USHER_SOME_NAME; a secret may instead be in the file that
// USHER_SOME_NAME_FILE names.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Config is what `usher serve` runs with. Domains left empty follow from
// XMPPDomain, with the names that docker-jitsi-meet uses.
type Config struct {
	Site string `default:"main" help:"Name of this Jitsi site, part of every Redis key."`

	Jitsi

	MUC             string `name:"muc" placeholder:"muc.DOMAIN" help:"Domain of the main MUC."`
	HiddenDomain    string `placeholder:"hidden.DOMAIN" help:"Domain whose members web clients hide: recorders and usher's occupant."`
	FocusJID        string `name:"focus-jid" placeholder:"focus@auth.DOMAIN" help:"Address of Jicofo."`
	ComponentDomain string `placeholder:"usher.DOMAIN" help:"Domain of usher's component."`
	ComponentAddr   string `default:"127.0.0.1:5347" help:"Prosody's component listener, host:port."`
	ComponentSecret Secret `help:"Secret of the component."`

	OccupantUser     string `default:"usher" help:"Account in the hidden domain that usher is in rooms as."`
	OccupantPassword Secret `help:"Its password. Without one usher joins as a visible, labelled occupant of its component."`
	ClientAddr       string `default:"127.0.0.1:5222" help:"Prosody's client listener, host:port."`
	TLSCAFile        string `name:"tls-ca-file" help:"PEM file with the certificates to trust for the login; default the system's."`
	TLSServerName    string `name:"tls-server-name" placeholder:"DOMAIN" help:"Name that the server's certificate carries; Prosody shows the main domain's for hidden domains."`
	TLSPin           string `name:"tls-pin" help:"SHA-256 of the server's certificate in hex, instead of a CA."`
	TLSInsecure      bool   `name:"tls-insecure" help:"Accept any certificate, for inside one machine or one container network."`
	DisplayName      string `default:"Usher" help:"Name of the occupant where people can see it."`

	TrustIdentity   bool `help:"Believe <identity> in presence: set it when the site loads mod_presence_identity, which keeps people from claiming to be others."`
	ElectsModerator bool `default:"true" negatable:"" help:"The site makes the first human a moderator (Jicofo's auto-owner); usher then warns when that does not happen."`

	Store    string `enum:"redis,memory" default:"redis" help:"Where state is kept: redis, or memory (not durable, for trying things out)."`
	RedisURL string `name:"redis-url" help:"redis:// or rediss:// URL; without one usher starts a redis-server of its own in the data directory."`
	DataDir  string `default:"usher-data" help:"Directory for that redis-server's files."`

	// Neither the video bridge's port (8080) nor Prometheus's (9090), which
	// docker-jitsi-meet publishes on the same machine.
	Listen         string         `default:"127.0.0.1:8480" help:"Address of the HTTP API."`
	PublicURL      string         `name:"public-url" help:"URL under which people reach the API's listener, for join links; default http:// and its address."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" help:"Networks of reverse proxies, whose X-Forwarded-For is believed."`
	AdminListen    string         `default:"127.0.0.1:9480" help:"Address of /metrics, /livez, /readyz and pprof; keep it private."`
	APIKeys        []Secret       `name:"api-key" env:"USHER_API_KEY" help:"Keys that the API accepts; more than one while rotating."`
	// The limits of a key are above what a busy app needs, and below what would
	// starve the others.
	APIRate                 float64 `name:"api-rate" default:"500" help:"Requests per second that one API key may make in the long run; 0: as many as it likes."`
	APIBurst                int     `name:"api-burst" default:"1000" help:"Requests that one API key may make at once, 1 or more."`
	ReservationToken        Secret  `help:"Bearer token that Prosody's mod_reservations sends; without one the callback is refused."`
	ReservationMaxOccupants bool    `help:"Pass max_participants on to Prosody with a reservation: set it only where the site sets reservations_enable_max_occupants, because others refuse the answer."`

	Webhooks        []Webhook        `name:"webhook" env:"USHER_WEBHOOK" placeholder:"NAME=URL" help:"Endpoints that are told of every event, besides those made over the API."`
	WebhookSecrets  []WebhookSecret  `name:"webhook-secret" env:"USHER_WEBHOOK_SECRET" placeholder:"NAME=whsec_..." help:"Their signing keys, whsec_ and base64 of 24 to 64 bytes, for whereby and jitsi any 16 to 256 characters; two of one name while rotating, the newer first."`
	WebhookDialects []WebhookDialect `name:"webhook-dialect" env:"USHER_WEBHOOK_DIALECT" placeholder:"NAME=DIALECT" help:"What is sent to them, if not usher's own events by Standard Webhooks: whereby, jitsi or event_sync."`
	WebhookHeaders  []WebhookHeader  `name:"webhook-header" env:"USHER_WEBHOOK_HEADER" placeholder:"NAME=HEADER: VALUE" help:"Headers that requests to them carry besides, such as crm=Authorization: Bearer ...; a comma in a value is written \\,"`
	WebhookAllow    []netip.Prefix   `name:"webhook-allow" help:"Networks of receivers that are not on the public internet; over http too."`

	Recording
	Whereby

	LogLevel slog.Level `default:"info" help:"debug, info, warn or error."`
	LogXML   bool       `name:"log-xml" help:"Log every stanza, at debug level."`
}

// AfterApply fills in the domains that follow from XMPPDomain and reports
// everything that is wrong, at once. Kong calls it.
func (c *Config) AfterApply() error {
	follow := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	follow(&c.MUC, "muc."+c.XMPPDomain)
	follow(&c.HiddenDomain, "hidden."+c.XMPPDomain)
	follow(&c.FocusJID, "focus@auth."+c.XMPPDomain)
	follow(&c.ComponentDomain, "usher."+c.XMPPDomain)
	follow(&c.TLSServerName, c.XMPPDomain)
	follow(&c.Brewery, "jibribrewery@internal-muc."+c.XMPPDomain)
	var problems []error
	if c.ComponentSecret == "" {
		problems = append(problems, errors.New("component-secret is missing"))
	}
	if len(c.APIKeys) == 0 {
		problems = append(problems, errors.New("api-key is missing: nobody could use the API"))
	}
	for _, key := range c.APIKeys {
		if len(key) < minKey {
			problems = append(problems, fmt.Errorf("an api-key has %d characters, at least %d are needed", len(key), minKey))
		}
	}
	problems = append(problems, c.checkRate(), c.checkWebhooks(), c.Recording.check(), c.Whereby.check())
	return errors.Join(problems...)
}

// Limits of api-rate, in requests per second. Below the least, one request an
// hour, an app that is refused would be told to come back another day; above
// the most there is no limit in practice, which is what 0 is for.
const (
	minAPIRate = 1.0 / 3600
	maxAPIRate = 1e6
)

// checkRate reports limits that would refuse everybody, or nobody.
func (c *Config) checkRate() error {
	var problems []error
	limited := c.APIRate >= minAPIRate && c.APIRate <= maxAPIRate // NaN is neither
	if !limited && c.APIRate != 0 {
		problems = append(problems, fmt.Errorf("api-rate must be 0, for no limit, or from %.5f (one request an hour) to %.0f requests per second, not %v", minAPIRate, maxAPIRate, c.APIRate))
	}
	if c.APIBurst < 1 && c.APIRate != 0 || c.APIBurst < 0 {
		problems = append(problems, fmt.Errorf("api-burst must be 1 or more, not %d: every request would be refused; for no limit set api-rate to 0", c.APIBurst))
	}
	return errors.Join(problems...)
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

// Options are the kong options that settings are read with; lookup is
// os.LookupEnv outside tests.
func Options(lookup func(string) (string, bool)) []kong.Option {
	return []kong.Option{
		kong.DefaultEnvars("USHER"),
		kong.Resolvers(secretFiles(lookup)),
	}
}

// secretFiles reads a setting from the file that its variable with _FILE
// names, as container platforms hand out secrets.
func secretFiles(lookup func(string) (string, bool)) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, env := range flag.Envs {
			path, ok := lookup(env + "_FILE")
			if !ok || path == "" {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("%s_FILE: %w", env, err)
			}
			return strings.TrimSpace(string(text)), nil
		}
		return nil, nil
	})
}
