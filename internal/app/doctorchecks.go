package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"usher/api"
	"usher/config"
	"usher/jibri/handover"
)

// settings are those that can be seen to be wrong without a server, and what a running
// usher says of its own.
func (d *doctor) settings(ctx context.Context) api.Finding {
	f := settingsCheck(d.cfg).Run(ctx)
	if d.running != nil {
		for _, r := range d.running.Checks {
			if r.Name == settingsName {
				f = r.Finding
			}
		}
	}
	err := Check(d.cfg)
	if err == nil {
		return f
	}
	refused := fail(strings.ReplaceAll(err.Error(), "\n", "; "), "put it right: usher serve refuses to start")
	if f.State == api.CheckOK {
		return refused
	}
	return also(refused, f)
}

// dns asks for each host that a setting names.
func (d *doctor) dns(ctx context.Context) api.Finding {
	var f api.Finding
	asked := 0
	for _, s := range []struct{ setting, value string }{
		{"USHER_COMPONENT_ADDR", d.cfg.ComponentAddr}, {"USHER_CLIENT_ADDR", d.cfg.ClientAddr}, {"USHER_REDIS_URL", d.cfg.RedisURL},
		{"USHER_SITE_URL", d.cfg.SiteURL}, {"USHER_PUBLIC_URL", d.cfg.PublicURL}, {"USHER_S3_ENDPOINT", d.cfg.Recording.S3.Endpoint},
	} {
		host := hostOf(s.value)
		if host == "" {
			continue
		}
		asked++
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			f = also(f, fail(fmt.Sprintf("host %s of %s: %v", host, s.setting, err), "set "+s.setting+" to a name that this machine knows, or to an address"))
		}
	}
	return orElse(f, fmt.Sprintf("known are all hosts of settings: %d", asked))
}

// hostOf returns the host of a URL, or of host:port.
func hostOf(value string) string {
	if !strings.Contains(value, "://") {
		value = "//" + value
	}
	u, err := url.Parse(value)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// orElse returns what was found, or that all is fine.
func orElse(f api.Finding, fine string) api.Finding {
	if f.State == "" {
		return ok(fine)
	}
	return f
}

// webClient compares names with the site's config.js.
func (d *doctor) webClient(ctx context.Context) api.Finding {
	if d.cfg.SiteURL == "" {
		return warn("not looked at: there is no USHER_SITE_URL, so links lead nowhere", "set USHER_SITE_URL to the address of the web client, such as https://"+d.cfg.XMPPDomain)
	}
	names, err := ReadSite(ctx, d.cfg.SiteURL)
	if err != nil {
		return warn(err.Error(), lookYourself(d.cfg.SiteURL, d.cfg.HiddenDomain))
	}
	var f api.Finding
	for _, n := range Differences(d.cfg, names) {
		if n.Setting == hiddenSetting { // as hidden_domain says of a running usher
			f = also(f, problem(hidesAnother(n.Theirs, n.Ours), ""))
			continue
		}
		f = also(f, fail(n.String(), "set "+variableOf(n.Setting)+"="+n.Theirs))
	}
	return orElse(f, "config.js has the names of the settings")
}

// hiddenSetting is the flag of the domain that web clients hide.
const hiddenSetting = "hidden-domain"

// variableOf returns the variable of a flag.
func variableOf(flag string) string {
	return "USHER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Difference is a name that a setting has and the site's web client has not.
type Difference struct{ Setting, Ours, Theirs string }

// String says so.
func (n Difference) String() string {
	return fmt.Sprintf("%s is %q, and %q in config.js of the site", n.Setting, n.Ours, n.Theirs)
}

// Differences compares the settings with the names of a site.
func Differences(cfg config.Config, names config.SiteNames) (all []Difference) {
	for _, n := range []Difference{{"xmpp-domain", cfg.XMPPDomain, names.Domain}, {"muc", cfg.MUC, names.MUC}, {hiddenSetting, cfg.HiddenDomain, names.Hidden}} {
		if n.Ours != n.Theirs && (n.Setting != hiddenSetting || !labelled(cfg)) {
			all = append(all, n)
		}
	}
	return all
}

// Limits of clocks.
const (
	// clockNoticed is what may be a slow answer; Date of HTTP has no fractions.
	clockNoticed = 5 * time.Second
	// clockRefused is when Prosody takes usher's tokens for ones of the future: they
	// are valid from a minute ago on.
	clockRefused = 55 * time.Second
)

// clock compares this machine's clock with those of Redis and of the site.
func (d *doctor) clock(ctx context.Context) api.Finding {
	var f api.Finding
	var compared []string
	compare := func(whose string, theirs time.Time, tokens bool) {
		compared = append(compared, whose)
		if apart := clocksApart(whose, time.Since(theirs), tokens); apart.State != "" {
			f = also(f, apart)
		}
	}
	if d.st != nil {
		if at, err := d.st.Time(ctx); err == nil { // else the store's check says so
			compare("Redis", at, false)
		}
	}
	if d.cfg.SiteURL != "" {
		if resp, err := ask(ctx, http.DefaultClient, http.MethodHead, d.cfg.SiteURL, "", nil); err == nil { //nolint:bodyclose // ask has; else web_client says so
			if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
				compare(d.cfg.SiteURL, at, true)
			}
		}
	}
	if compared == nil {
		return ok("not looked at: neither Redis nor the site answers, or none is set")
	}
	return orElse(f, "as that of "+strings.Join(compared, " and of "))
}

// clocksApart says what it means that two clocks are so far apart, where tokens are
// judged by the other one or not; no state: nothing.
func clocksApart(whose string, off time.Duration, tokens bool) (f api.Finding) {
	off = off.Abs().Round(time.Second)
	seen := fmt.Sprintf("this machine's clock and that of %s are %v apart", whose, off)
	switch do := "have both follow the time of the network (timedatectl set-ntp true)"; {
	case tokens && off >= clockRefused:
		f = fail(seen+", so tokens are refused", do)
	case off >= clockNoticed:
		f = warn(seen, do)
	}
	return f
}

// notRunning is the finding of what only a running usher can do.
var notRunning = ok("not tried: no usher runs here")

// api tries the key of the settings on the running usher.
func (d *doctor) api(ctx context.Context) api.Finding {
	if d.running == nil {
		return notRunning
	}
	resp, err := ask(ctx, direct, http.MethodGet, d.at("/v1/meetings?limit=1"), d.cfg.APIKeys[0], nil) //nolint:bodyclose // ask has
	switch {
	case err != nil:
		return fail("usher runs, and its API does not answer: "+err.Error(), "set USHER_LISTEN as the running usher has it, or restart that")
	case resp.StatusCode == http.StatusUnauthorized:
		return fail("the running usher does not take USHER_API_KEY of these settings", "restart usher, which has older settings, or set USHER_API_KEY as it has it")
	case resp.StatusCode != http.StatusOK:
		return fail("what answers at USHER_LISTEN ("+d.cfg.Listen+") says "+resp.Status, "set USHER_LISTEN as the running usher has it")
	}
	return ok("answers at " + d.cfg.Listen + ", and takes the key")
}

// at returns a URL of the running usher's API.
func (d *doctor) at(path string) string { return "http://" + d.cfg.Listen + path }

// publicURL asks for a link that there is not, the way people's browsers do.
func (d *doctor) publicURL(ctx context.Context) api.Finding {
	address := d.cfg.PublicURL
	if address == "" {
		return warn("join links lead to http://"+d.cfg.Listen+", where people hardly get", "set USHER_PUBLIC_URL to the address under which they reach usher, such as that of the site")
	}
	if d.running == nil {
		return notRunning
	}
	var problem struct{ Status int }
	resp, err := ask(ctx, http.DefaultClient, http.MethodGet, strings.TrimSuffix(address, "/")+"/j/doctor", "", &problem) //nolint:bodyclose // ask has
	if err == nil && (resp.StatusCode != http.StatusNotFound || problem.Status != http.StatusNotFound) {
		err = fmt.Errorf("it is not usher: %s", resp.Status)
	}
	if err != nil {
		return fail("USHER_PUBLIC_URL ("+address+") does not lead to usher: "+err.Error(),
			"have the web server of that address pass /j/, /d/, /v1/ and /whereby/ on to "+d.cfg.Listen+", as nginx.conf in deploy/ does")
	}
	return ok(address + " leads to usher")
}

// recordings tries the place where finished files are.
func (d *doctor) recordings(context.Context) api.Finding {
	r := d.cfg.Recording
	if r.RecordingsDir == "" {
		if r.S3.Endpoint == "" && len(r.RecorderKeys) > 0 {
			return warn("recorders may hand files over, and usher sees none of them", "set USHER_RECORDINGS_DIR to the folder that they are in, or USHER_S3_ENDPOINT, USHER_S3_ACCESS_KEY and USHER_S3_SECRET_KEY")
		}
		return ok("no folder is set (USHER_RECORDINGS_DIR)")
	}
	_, err := os.ReadDir(r.RecordingsDir)
	if err == nil {
		var file *os.File
		if file, err = os.CreateTemp(r.RecordingsDir, ".usher-doctor-*"); err == nil {
			err = cmp.Or(file.Close(), os.Remove(file.Name()))
		}
	}
	if err != nil {
		return fail("USHER_RECORDINGS_DIR: "+err.Error(), "set it to a folder that usher's user may read and write, or mount it there")
	}
	return ok("files can be read and written in " + r.RecordingsDir)
}

// handOver has usher take what a recorder says to try its settings.
func (d *doctor) handOver(ctx context.Context) api.Finding {
	keys := d.cfg.Recording.RecorderKeys
	switch {
	case len(keys) == 0:
		return ok("no recorder may hand files over (USHER_RECORDER_KEY)")
	case d.running == nil:
		return notRunning
	}
	if _, err := handover.Ask(ctx, handover.Settings{URL: d.at(""), Recorder: keys[0].Name, RecorderSecret: keys[0].Value}); err != nil {
		return fail("usher does not take what "+keys[0].Name+" would hand over: "+err.Error(), "restart usher, so that it has USHER_RECORDER_KEY of these settings")
	}
	return ok("usher takes what " + keys[0].Name + " hands over; each recorder's own end: usher finalize --check there")
}
