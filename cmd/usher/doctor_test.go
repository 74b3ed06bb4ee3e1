package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/api"
	"usher/internal/stack"
	"usher/webhook"
)

// ward is a site with the web server in front of it, for usher doctor.
type ward struct {
	*scene
	web      *httptest.Server
	site     atomic.Value // config.js
	clockOff atomic.Int64 // of the web server, in seconds
	grants   atomic.Bool  // the site's reservation system lets everybody in, and is not usher
	key      string       // of the webhook receiver
}

const configJS = "var config = { hosts: { domain: 'meet.jitsi', muc: 'muc.meet.jitsi' }, hiddenDomain: 'hidden.meet.jitsi' };"

func newWard(t *testing.T) *ward {
	w := &ward{key: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}
	w.site.Store(configJS)
	var toProsody, toUsher http.Handler // set before anybody asks
	receiver, err := webhook.NewInbox(w.key, func([]byte, time.Time) {}, func(error) {})
	must(t, err)
	w.web = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if off := w.clockOff.Load(); off != 0 {
			rw.Header().Set("Date", time.Now().Add(time.Duration(off)*time.Second).UTC().Format(http.TimeFormat))
		}
		switch path := r.URL.Path; {
		case path == "/config.js":
			_, _ = io.WriteString(rw, w.site.Load().(string))
		case path == "/http-bind":
			toProsody.ServeHTTP(rw, r)
		case strings.HasPrefix(path, "/reservations/conference") && w.grants.Load():
			_ = json.NewEncoder(rw).Encode(map[string]any{"id": 1, "name": r.FormValue("name"), "mail_owner": "x", "start_time": time.Now().UTC().Format(time.RFC3339), "duration": 3600})
		case strings.HasPrefix(path, "/reservations/"), strings.HasPrefix(path, "/j/"):
			toUsher.ServeHTTP(rw, r)
		case path == "/receiver":
			receiver.ServeHTTP(rw, r)
		default:
			http.NotFound(rw, r)
		}
	}))
	t.Cleanup(w.web.Close)
	w.scene = newSiteOn(t, func(p *stack.ProsodyConfig) { p.ReservationURL = w.web.URL + "/reservations" },
		"--site-url="+w.web.URL, "--public-url="+w.web.URL, "--webhook-allow=127.0.0.0/8",
		`--webhooks=[{"name":"crm","url":"`+w.web.URL+`/receiver","secrets":["`+w.key+`"]}]`)
	proxy := func(addr string) http.Handler {
		p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
		p.ErrorLog = log.New(io.Discard, "", 0)
		return p
	}
	toProsody, toUsher = proxy(w.prosody.HTTPAddr), proxy(w.cfg.Listen)
	return w
}

// doctor runs usher doctor with the site's settings and more, and returns what it found.
func (w *ward) doctor(more ...string) []api.Result {
	w.t.Helper()
	args := slices.DeleteFunc(slices.Clone(w.args), func(arg string) bool { // of lists too these take the place
		name, _, _ := strings.Cut(arg, "=")
		return slices.ContainsFunc(more, func(one string) bool { return strings.HasPrefix(one, name+"=") })
	})
	cfg, err := localConfig(append(args, more...))
	must(w.t, err)
	var out strings.Builder
	began := time.Now()
	c := doctorCommand{Settings: Settings{Config: cfg}, JSON: true}
	failed := c.look(w.t.Context(), &out)
	if took := time.Since(began); took > 10*time.Second {
		w.t.Errorf("usher doctor took %v, want 10 s at most", took)
	}
	var found []api.Result
	must(w.t, json.Unmarshal([]byte(out.String()), &found))
	if (failed != nil) != slices.ContainsFunc(found, func(r api.Result) bool { return r.State == api.CheckFail }) {
		w.t.Errorf("usher doctor returns %v with %s", failed, out.String())
	}
	for _, secret := range []string{string(w.cfg.APIKeys[0]), string(w.cfg.ComponentSecret), w.key, stack.Usher.Password} {
		if strings.Contains(out.String(), secret) {
			w.t.Errorf("usher doctor prints a secret: %s", out.String())
		}
	}
	return found
}

// finds fails unless exactly these checks are not ok, each as said; a name with what it
// says after it, "muc fail: USHER_MUC".
func (w *ward) finds(what string, found []api.Result, want ...string) {
	w.t.Helper()
	left := slices.Clone(want)
	for _, r := range found {
		if r.State == api.CheckOK {
			continue
		}
		if r.Name == "callers" && !strings.Contains(r.Seen, "USHER_RESERVATION_TOKEN") {
			continue // the doctor's own hand-over with a wrong key, in a row beside or before
		}
		text := fmt.Sprintf("%s %s: %s -> %s", r.Name, r.State, r.Seen, r.Do)
		i := slices.IndexFunc(left, func(one string) bool {
			name, says, _ := strings.Cut(one, ": ")
			return strings.HasPrefix(text, name+": ") && containsAll(text, strings.Split(says, " … "))
		})
		if i < 0 {
			w.t.Errorf("%s: usher doctor says %q, want no more than %q", what, text, want)
			continue
		}
		if r.Do == "" {
			w.t.Errorf("%s: usher doctor says %q, and not what to do", what, text)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		w.t.Errorf("%s: usher doctor does not say %q, but %+v", what, left, found)
	}
}

const notRunning = "usher warn: none runs at USHER_ADMIN_LISTEN … usher serve"

// TestDoctor breaks the settings of a site, one after the other, and has usher doctor
// name each, and what mends it.
func TestDoctor(t *testing.T) {
	w := newWard(t)
	nowhere := freeAddr(t)
	hung, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	must(t, err)
	defer hung.Close()
	everythingHangs := make(chan []api.Result, 1)
	go func() {
		at := hung.Addr().String()
		everythingHangs <- w.doctor("--component-addr="+at, "--client-addr="+at, "--redis-url=redis://"+at, "--site-url=http://"+at, "--public-url=http://"+at,
			`--webhooks=[{"name":"crm","url":"http://`+at+`/","secrets":["`+w.key+`"]}]`)
	}()
	w.withoutUsher(nowhere, hung.Addr().String())
	w.besideUsher(nowhere)
	w.finds("everything hangs", <-everythingHangs, notRunning, "store fail: set USHER_REDIS_URL", "streams warn: not tried … see what store says", "web_client warn: set USHER_SITE_URL", "people fail: set USHER_SITE_URL", "certificate warn: is not seen", "receiver whk_crm fail: no answer")
}

// withoutUsher has usher doctor log in itself.
func (w *ward) withoutUsher(nowhere, hung string) {
	badCA := filepath.Join(w.t.TempDir(), "ca.pem")
	must(w.t, os.WriteFile(badCA, otherAuthority(w.t), 0o600))
	for _, tt := range []struct {
		flags []string
		want  []string
	}{
		{},
		{[]string{"--component-secret=not-the-secret"}, []string{"component fail: USHER_COMPONENT_SECRET … set the same one for Prosody and restart Prosody"}},
		{[]string{"--component-domain=nobody.meet.jitsi"}, []string{"component fail: USHER_COMPONENT_DOMAIN … usher.cfg.lua"}},
		{[]string{"--component-addr=" + w.prosody.ClientAddr}, []string{"component fail: USHER_COMPONENT_ADDR … 5347"}},
		{[]string{"--component-addr=" + nowhere}, []string{"component fail: no XMPP server listens on " + nowhere + " … set USHER_COMPONENT_ADDR"}},
		{[]string{"--component-addr=nowhere.invalid:5347"}, []string{"dns fail: nowhere.invalid … set USHER_COMPONENT_ADDR", "component fail: USHER_COMPONENT_ADDR"}},
		{[]string{"--component-domain=" + stack.CrowdDomain, "--component-secret=" + stack.CrowdSecret}, []string{`control fail: ctl@crowd.meet.jitsi is no admin … admins = { "ctl@crowd.meet.jitsi", "focus@auth.meet.jitsi" }`}},
		{[]string{"--client-addr=" + w.prosody.ComponentAddr}, []string{"occupant fail: set USHER_CLIENT_ADDR … 5222", "recorders warn: USHER_CLIENT_ADDR", "certificate warn: is not seen … occupant"}},
		{[]string{"--occupant-user=somebody"}, []string{"occupant fail: prosodyctl register somebody hidden.meet.jitsi PASSWORD", "recorders warn: prosodyctl register somebody auth.meet.jitsi PASSWORD"}},
		{[]string{"--occupant-password=wrong"}, []string{"occupant fail: USHER_OCCUPANT_PASSWORD … prosodyctl register usher hidden.meet.jitsi PASSWORD"}},
		{[]string{"--brewery-password=wrong"}, []string{"recorders warn: USHER_BREWERY_PASSWORD … prosodyctl register usher auth.meet.jitsi PASSWORD"}},
		{[]string{"--brewery-password="}, []string{"recorders warn: set USHER_BREWERY_PASSWORD"}},
		{[]string{"--hidden-domain=nowhere.meet.jitsi"}, []string{"occupant fail: does not know the domain nowhere.meet.jitsi (USHER_HIDDEN_DOMAIN)", "web_client warn: set USHER_HIDDEN_DOMAIN=hidden.meet.jitsi", "certificate warn: is not seen … occupant"}},
		{[]string{"--tls-ca-file=" + badCA}, []string{"occupant fail: USHER_TLS_CA_FILE", "recorders warn: USHER_TLS_CA_FILE", "certificate fail: unknown authority … set USHER_TLS_CA_FILE … USHER_TLS_PIN="}},
		{[]string{"--tls-ca-file=", "--tls-insecure"}, []string{"occupant warn: USHER_TLS_INSECURE", "certificate warn: set USHER_TLS_PIN= … in the place of USHER_TLS_INSECURE"}},
		{[]string{"--tls-ca-file=", "--tls-pin=" + strings.Repeat("0", 64)}, []string{"occupant fail: USHER_TLS_PIN", "recorders warn: USHER_TLS_PIN", "certificate fail: not the one of USHER_TLS_PIN … set USHER_TLS_PIN="}},
		{[]string{"--tls-server-name=elsewhere.example"}, []string{"occupant fail: set USHER_TLS_SERVER_NAME", "certificate fail: not elsewhere.example"}},
		{[]string{"--muc=conference.meet.jitsi"}, []string{"muc fail: conference.meet.jitsi (USHER_MUC) is not there … meet.jitsi has … set USHER_MUC", "web_client fail: set USHER_MUC=muc.meet.jitsi"}},
		{[]string{"--focus-jid=jicofo@auth.meet.jitsi"}, []string{"focus warn: jicofo@auth.meet.jitsi (USHER_FOCUS_JID) does not answer … set USHER_FOCUS_JID"}},
		{[]string{"--redis-url=redis://127.0.0.1:1"}, []string{"store fail: start Redis, or set USHER_REDIS_URL", "streams warn: not tried … see what store says"}},
		{[]string{"--redis-url=redis://:wrong@" + w.redis.URL[strings.Index(w.redis.URL, "@")+1:]}, []string{"store fail: redis refuses usher … USHER_REDIS_URL", "streams warn: not tried … see what store says"}},
		{[]string{"--admin-listen=" + hung}, []string{"usher warn: USHER_ADMIN_LISTEN", "streams warn: not tried … set USHER_ADMIN_LISTEN"}},
	} {
		want := tt.want
		if !slices.ContainsFunc(want, func(one string) bool { return strings.HasPrefix(one, "usher ") }) {
			want = append(want, notRunning)
		}
		w.finds(fmt.Sprint(tt.flags), w.doctor(tt.flags...), want...)
	}

	w.grants.Store(true)
	found := w.doctor("--reservation-token=")
	w.finds("a site where anybody opens rooms", found, notRunning)
	if i := slices.IndexFunc(found, func(r api.Result) bool { return r.Name == "people" }); i < 0 || found[i].Seen != "people get in with a token, and into a room" {
		w.t.Errorf("usher doctor says %+v, want that it was in a room", found)
	}
	w.grants.Store(false)
}

// besideUsher has usher doctor ask a running one, which must not notice.
func (w *ward) besideUsher(nowhere string) {
	p := w.runUsher()
	w.waitReady("")
	connects := func() float64 { return w.metric("usher_xmpp_connects_total") }
	w.until("all three streams are up", func() bool { return connects() == 3 })
	here := "--admin-listen=" + p.at.admin
	receiver := func(url, key string) string {
		return fmt.Sprintf(`--webhooks=[{"name":"crm","url":%q,"secrets":[%q]}]`, url, key)
	}
	var rows errgroup.Group
	rows.SetLimit(4)
	for _, tt := range []struct {
		flags []string
		want  []string
	}{
		{},
		{[]string{"--api-key=another-key-0123456789"}, []string{"api fail: USHER_API_KEY … restart usher", "receivers warn: 401"}},
		{[]string{"--listen=" + nowhere}, []string{"api fail: set USHER_LISTEN", "receivers warn: see what api", "hand_over fail: USHER_RECORDER_KEY"}},
		{[]string{"--recorder-key=jibri-9=another-key-0123456789"}, []string{"hand_over fail: jibri-9 … USHER_RECORDER_KEY"}},
		{[]string{"--public-url=http://" + nowhere}, []string{"public_url fail: USHER_PUBLIC_URL … pass /j/, /d/, /v1/ and /whereby/ on to"}},
		{[]string{"--public-url="}, []string{"public_url warn: set USHER_PUBLIC_URL"}},
		{[]string{"--site-url="}, []string{"web_client warn: set USHER_SITE_URL"}},
		{[]string{"--site-url=http://" + nowhere}, []string{"web_client warn: set USHER_SITE_URL", "people fail: set USHER_SITE_URL"}},
		{[]string{"--xmpp-domain=other.example", "--muc=muc.meet.jitsi", "--hidden-domain=hidden.meet.jitsi", "--tls-server-name=meet.jitsi"}, []string{"web_client fail: set USHER_XMPP_DOMAIN=meet.jitsi", "people fail: does not know the domain other.example … set USHER_XMPP_DOMAIN"}},
		{[]string{"--jwt-app-id=other"}, []string{"people fail: issuer … set USHER_JWT_APP_ID to Prosody's app_id (JWT_APP_ID)"}},
		{[]string{"--jwt-secret=" + strings.Repeat("x", 32)}, []string{"people fail: Invalid signature … set USHER_JWT_SECRET to Prosody's app_secret (JWT_APP_SECRET)"}},
		{[]string{"--jwt-secret=short"}, []string{"settings fail: jwt-secret: … at least 32", "people warn: jwt-secret … settings"}},
		{[]string{"--recordings-dir=/nowhere"}, []string{"recordings fail: USHER_RECORDINGS_DIR: open /nowhere … set it to a folder"}},
		{[]string{"--recordings-dir="}, []string{"recordings warn: set USHER_RECORDINGS_DIR"}},
		{[]string{"--admin-listen=127.0.0.1:1"}, []string{"usher warn: none runs at USHER_ADMIN_LISTEN", "streams warn: not tried … leads … run usher doctor there"}},
		{[]string{"--admin-listen=127.0.0.1:1", receiver(w.web.URL+"/receiver", "whsec_c29tZXRoaW5nLWVsc2Utb2YtMjQtYnl0ZXM=")}, []string{"usher warn: none", "streams warn: not tried", "receiver whk_crm fail: give the receiver the same secret"}},
		{[]string{"--admin-listen=127.0.0.1:1", receiver(w.web.URL+"/nowhere", w.key)}, []string{"usher warn: none", "streams warn: not tried", "receiver whk_crm fail: answers 404 … mend the path"}},
		{[]string{"--admin-listen=127.0.0.1:1", receiver("http://"+nowhere, w.key)}, []string{"usher warn: none", "streams warn: not tried", "receiver whk_crm fail: no answer: connect … start the receiver"}},
	} {
		rows.Go(func() error {
			w.finds(fmt.Sprint(tt.flags), w.doctor(append([]string{here}, tt.flags...)...), tt.want...)
			return nil
		})
	}
	must(w.t, rows.Wait())

	w.grants.Store(true)
	w.finds("Prosody asks nobody", w.doctor(here), `people warn: into a room that no app has made … put "reservations" into modules_enabled of VirtualHost "meet.jitsi"`)
	w.grants.Store(false)
	w.site.Store("var config = { hosts: { domain: 'meet.jitsi', muc: 'muc.meet.jitsi' } };")
	w.clockOff.Store(120)
	w.finds("the client hides nobody, and clocks differ", w.doctor(here), "web_client warn: hides no domain … config.hiddenDomain = 'hidden.meet.jitsi'", "clock fail: apart, so tokens are refused … timedatectl set-ntp true")
	w.site.Store(configJS)
	w.clockOff.Store(0)
	resp, err := http.PostForm("http://"+w.at.api+"/reservations/conference", url.Values{"name": {"standup"}})
	must(w.t, err)
	must(w.t, resp.Body.Close())
	w.finds("another reservation token", w.doctor(here), "callers warn: USHER_RESERVATION_TOKEN … reservations_api_headers")
	if connects() != 3 || w.metric("usher_xmpp_disconnects_total") != 0 {
		w.t.Errorf("the running usher has connected %v times, want the first three", connects())
	}
}

// otherAuthority returns the PEM of a certificate that has signed nothing here.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
