package config

import (
	"regexp"
	"strings"
)

// SiteNames are a site's domains, as the configuration of its web client has them.
// Empty: it names none.
type SiteNames struct {
	Domain string // where people log in
	MUC    string // the rooms
	Hidden string // whose members it does not show
}

var (
	commentJS = regexp.MustCompile(`(?m)^\s*(//|\*).*$`)
	hostsJS   = regexp.MustCompile(`\bhosts['"]?\s*[:=]\s*\{([^}]*)\}`)
	// In docker-jitsi-meet's form, config.hosts.muc = …;
	hostJS = regexp.MustCompile(`\bhosts\.(domain|muc)\s*=\s*([^;\n]+)`)
	// In that of Debian's package, hosts: { muc: … }.
	memberJS = regexp.MustCompile(`(?m)(?:^|[{,])\s*['"]?(domain|muc)['"]?\s*:\s*([^,\n]+)`)
	hiddenJS = regexp.MustCompile(`\bhiddenDomain['"]?\]?\s*[:=]\s*([^,;\n}]+)`)
	stringJS = regexp.MustCompile(`'([^'\n]*)'|"([^"\n]*)"`)
	ssi      = regexp.MustCompile(`<!--.*?-->`) // what the web server puts in per tenant
)

// ReadSiteNames reads them from config.js of Jitsi's web client, which is a program:
// what it puts together of strings and of a tenant's name is read as without tenant.
func ReadSiteNames(configJS string) SiteNames {
	text := commentJS.ReplaceAllString(configJS, "")
	var names SiteNames
	set := func(found [][]string) {
		for _, f := range found {
			switch value := joinedJS(f[2]); f[1] {
			case "domain":
				names.Domain = value
			case "muc":
				names.MUC = value
			}
		}
	}
	for _, block := range hostsJS.FindAllStringSubmatch(text, -1) {
		set(memberJS.FindAllStringSubmatch(block[1], -1))
	}
	set(hostJS.FindAllStringSubmatch(text, -1))
	if found := hiddenJS.FindAllStringSubmatch(text, -1); found != nil {
		names.Hidden = joinedJS(found[len(found)-1][1]) // the last assignment counts
	}
	return names
}

// joinedJS joins the strings of an expression.
func joinedJS(expression string) string {
	var joined strings.Builder
	for _, s := range stringJS.FindAllStringSubmatch(expression, -1) {
		joined.WriteString(s[1] + s[2])
	}
	return strings.ToLower(ssi.ReplaceAllString(joined.String(), ""))
}

// Variables returns the settings that make usher's names the site's, in the form
// NAME=VALUE. Those of the second list are not in its web client's configuration:
// they are what docker-jitsi-meet or Debian's package has beside such names.
func (n SiteNames) Variables() (read, assumed []string) {
	read = []string{"USHER_XMPP_DOMAIN=" + n.Domain, "USHER_MUC=" + n.MUC}
	base, internal := n.Domain, "internal-muc."
	if strings.HasPrefix(n.MUC, "conference.") { // Debian's package
		internal = "internal.auth."
	}
	hidden := &read
	if _, parent, ok := strings.Cut(n.Hidden, "."); ok {
		base = parent // docker-jitsi-meet's defaults do not follow its XMPP_DOMAIN
	} else {
		n.Hidden, hidden = "hidden."+base, &assumed
	}
	*hidden = append(*hidden, "USHER_HIDDEN_DOMAIN="+n.Hidden)
	assumed = append(assumed, "USHER_FOCUS_JID=focus@auth."+base, "USHER_BREWERY=jibribrewery@"+internal+base)
	return read, assumed
}
