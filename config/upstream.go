package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Upstream is Whereby itself behind usher's copy of its API, for apps that move
// over gradually. Without a URL there is none.
type Upstream struct {
	UpstreamURL           string   `name:"whereby-upstream-url" placeholder:"https://api.whereby.dev/v1" help:"Base URL of Whereby's own API: meetings are made there too, and what is about them is passed on."`
	UpstreamKey           Secret   `name:"whereby-upstream-key" help:"Whereby's API key."`
	UpstreamWebhookSecret Secret   `name:"whereby-upstream-webhook-secret" help:"Secret of the webhook that Whereby sends to /whereby/webhooks, from where it goes on to the endpoints of the dialect whereby; without one such requests are refused."`
	Share                 int      `name:"whereby-share" default:"0" help:"Percent of new meetings that are made here, the others are made at Whereby; 0: none."`
	SharePrefixes         []string `name:"whereby-share-prefix" help:"The share is of meetings whose roomNamePrefix begins with one of these, all others are made at Whereby; without any it is of all."`
	Fallback              string   `name:"whereby-fallback" default:"whereby" help:"Where else a meeting may be made. whereby: there, when usher is not ready or has no recorder for it; both: besides, here when Whereby does not answer; none: nowhere."`
}

// Values of Fallback.
const (
	FallbackNone    = "none"
	FallbackWhereby = "whereby"
	FallbackBoth    = "both"
)

// checkUpstream reports what cannot work.
func (c *Config) checkUpstream(p *problems) {
	u := &c.Upstream
	p.when(u.Share < 0 || u.Share > 100, "whereby-share must be from 0 to 100 percent, not %d", u.Share)
	p.when(!slices.Contains([]string{FallbackNone, FallbackWhereby, FallbackBoth}, u.Fallback),
		"whereby-fallback must be %s, %s or %s, not %q", FallbackNone, FallbackWhereby, FallbackBoth, u.Fallback)
	for i, prefix := range u.SharePrefixes {
		u.SharePrefixes[i] = strings.TrimSpace(prefix)
		p.when(u.SharePrefixes[i] == "", "whereby-share-prefix has an empty element, which every name begins with")
	}
	if u.UpstreamURL != "" {
		c.checkUpstreamURL(p)
		c.checkUpstreamNeeds(p)
		return
	}
	p.when(u.Share != 0 || len(u.SharePrefixes) > 0 || u.UpstreamKey+u.UpstreamWebhookSecret != "",
		"whereby-share, whereby-share-prefix, whereby-upstream-key and whereby-upstream-webhook-secret need a whereby-upstream-url: without one all meetings are made here")
}

// checkUpstreamNeeds reports what is missing beside a URL.
func (c *Config) checkUpstreamNeeds(p *problems) {
	p.when(c.UpstreamKey == "", "whereby-upstream-url needs a whereby-upstream-key")
	n := len(c.UpstreamWebhookSecret)
	p.when(n > 0 && n < minKey, "whereby-upstream-webhook-secret has %d characters, at least %d are needed", n, minKey)
	p.when(c.Share > 0 && (c.SiteURL == "" || !c.MakesTokens()),
		"whereby-share above 0 needs site-url, and jwt-secret or jwt-key-file: no meeting could be made here")
}

// checkUpstreamURL makes sure that Whereby's key is sent to another server than
// usher, and in clear to none but one on this machine. What it
// reports quotes nothing.
func (c *Config) checkUpstreamURL(p *problems) {
	u, err := url.Parse(c.UpstreamURL)
	if err != nil || !plainURL(c.UpstreamURL, "https", "http") {
		p.add("whereby-upstream-url is not a URL such as https://api.whereby.dev/v1")
		return
	}
	addr, _ := netip.ParseAddr(u.Hostname())
	p.when(u.Scheme == "http" && !addr.IsLoopback() && u.Hostname() != "localhost", "whereby-upstream-url must be https: the key would be sent in clear")
	p.when(c.isOurs(u), "whereby-upstream-url is usher itself; it must be Whereby's own API")
}

// isOurs reports whether a URL leads to this usher.
func (c *Config) isOurs(u *url.URL) bool {
	at := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	public, err := url.Parse(c.PublicURL)
	return err == nil && public.Host != "" && strings.EqualFold(public.Host, u.Host) || at == c.Listen || at == c.WherebyAddr
}
