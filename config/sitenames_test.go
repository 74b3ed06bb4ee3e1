package config

import (
	"slices"
	"testing"
)

func TestSiteNames(t *testing.T) {
	for name, tt := range map[string]struct {
		js            string
		want          SiteNames
		read, assumed []string
	}{
		"docker-jitsi-meet": {`
var config = {};
config.hosts = {};
config.hosts.domain = 'meet.jitsi';
var subdomain = '<!--# echo var="subdomain" default="" -->';
if (subdomain) {
    subdomain = subdomain.substring(0,subdomain.length-1).split('.').join('_').toLowerCase() + '.';
}
config.hosts.muc = 'muc.' + subdomain + 'meet.jitsi';
config.hiddenDomain = 'hidden.meet.jitsi';
`, SiteNames{"meet.jitsi", "muc.meet.jitsi", "hidden.meet.jitsi"},
			[]string{"USHER_XMPP_DOMAIN=meet.jitsi", "USHER_MUC=muc.meet.jitsi", "USHER_HIDDEN_DOMAIN=hidden.meet.jitsi"},
			[]string{"USHER_FOCUS_JID=focus@auth.meet.jitsi", "USHER_BREWERY=jibribrewery@internal-muc.meet.jitsi"}},
		// Only XMPP_DOMAIN and XMPP_MUC_DOMAIN are set: the others keep their defaults.
		"docker-jitsi-meet with a domain of its own": {`
config.hosts.domain = 'example.org';
config.hosts.muc = 'muc.' + subdomain + 'example.org';
config.hiddenDomain = 'hidden.meet.jitsi';
`, SiteNames{"example.org", "muc.example.org", "hidden.meet.jitsi"},
			[]string{"USHER_XMPP_DOMAIN=example.org", "USHER_MUC=muc.example.org", "USHER_HIDDEN_DOMAIN=hidden.meet.jitsi"},
			[]string{"USHER_FOCUS_JID=focus@auth.meet.jitsi", "USHER_BREWERY=jibribrewery@internal-muc.meet.jitsi"}},
		"Debian": {`
var subdomain = "<!--# echo var="subdomain" default="" -->";
var config = {
    // Connection
    //
    hosts: {
        // XMPP domain.
        domain: 'meet.example.org',

        // When using authentication, domain for guest users.
        // anonymousdomain: 'guest.example.com',

        // Focus component domain. Defaults to focus.<domain>.
        // focus: 'focus.meet.example.org',

        // XMPP MUC domain.
        muc: 'conference.' + subdomain + 'meet.example.org',
    },
    bosh: 'https://meet.example.org/' + subdir + 'http-bind',
    // hiddenDomain: 'recorder.yourdomain.com',
    deploymentUrls: { domain: 'elsewhere.example' },
};
`, SiteNames{"meet.example.org", "conference.meet.example.org", ""},
			[]string{"USHER_XMPP_DOMAIN=meet.example.org", "USHER_MUC=conference.meet.example.org"},
			[]string{"USHER_HIDDEN_DOMAIN=hidden.meet.example.org", "USHER_FOCUS_JID=focus@auth.meet.example.org", "USHER_BREWERY=jibribrewery@internal.auth.meet.example.org"}},
		"Debian with recording": {`
var config = { "hosts": { "domain": "Example.org", "muc": "conference.<!--# echo var="subdomain" default="" -->example.org" }, "hiddenDomain": "recorder.example.org" };
config.hiddenDomain = 'hidden.example.org';
`, SiteNames{"example.org", "conference.example.org", "hidden.example.org"},
			[]string{"USHER_XMPP_DOMAIN=example.org", "USHER_MUC=conference.example.org", "USHER_HIDDEN_DOMAIN=hidden.example.org"},
			[]string{"USHER_FOCUS_JID=focus@auth.example.org", "USHER_BREWERY=jibribrewery@internal.auth.example.org"}},
	} {
		got := ReadSiteNames(tt.js)
		if got != tt.want {
			t.Errorf("%s: names %+v, want %+v", name, got, tt.want)
			continue
		}
		if read, assumed := got.Variables(); !slices.Equal(read, tt.read) || !slices.Equal(assumed, tt.assumed) {
			t.Errorf("%s: read %q, assumed %q; want %q and %q", name, read, assumed, tt.read, tt.assumed)
		}
	}
	if got := ReadSiteNames("<!DOCTYPE html><html>Not Jitsi</html>"); got != (SiteNames{}) {
		t.Errorf("names of another page = %+v, want none", got)
	}
}
