package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// checkAddresses reports addresses that are none, by the name of their setting.
func (c *Config) checkAddresses(p *problems) {
	for _, u := range []struct{ setting, url string }{{"site-url", c.SiteURL}, {"public-url", c.PublicURL}} {
		p.when(u.url != "" && !plainURL(u.url, "https", "http"),
			"%s is %q, which is not a URL such as https://meet.example.org", u.setting, u.url)
	}
	for _, a := range []struct{ setting, addr string }{
		{"component-addr", c.ComponentAddr}, {"client-addr", c.ClientAddr},
		{"listen", c.Listen}, {"admin-listen", c.AdminListen}, {"whereby-addr", c.WherebyAddr}, {"tracks-listen", c.Tracks.Listen},
	} {
		listens := strings.HasSuffix(a.setting, "listen") || a.setting == "whereby-addr"
		if a.addr == "" && (a.setting == "whereby-addr" || a.setting == "tracks-listen") {
			continue // optional; one that is not is empty only by a flag, and would be any port of any interface
		}
		host, port, err := net.SplitHostPort(a.addr)
		n, portErr := net.LookupPort("tcp", port)
		p.when(err != nil || portErr != nil || !listens && (host == "" || n == 0),
			"%s is %q, which is not host:port, such as 127.0.0.1:5347", a.setting, a.addr)
	}
}

// plainURL reports whether the text is a URL of one of the schemes, with a host and
// without user, query and fragment.
func plainURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && u.RawQuery+u.Fragment == "" && u.User == nil
}
