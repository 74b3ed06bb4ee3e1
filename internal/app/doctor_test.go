package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"usher/api"
	"usher/config"
	"usher/internal/child"
	"usher/internal/stack/stacktest"
)

// TestDoctorLeavesTheStreamsToAnUsherWithItsOwnRedis has one run that the doctor does
// not find by USHER_ADMIN_LISTEN.
func TestDoctorLeavesTheStreamsToAnUsherWithItsOwnRedis(t *testing.T) {
	stacktest.Needed(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_ = nobody.Close()
	dir := t.TempDir()
	d := func() *doctor {
		d := &doctor{cfg: config.Config{AdminListen: nobody.Addr().String(), DataDir: dir}}
		d.find(t.Context())
		return d
	}
	if got := d().inUse; got.State != "" {
		t.Errorf("before any usher the logins are left alone: %+v", got)
	}
	redis, err := child.StartRedis(t.Context(), dir)
	must(t, err)
	defer redis.Kill()
	if got := d().inUse; !strings.Contains(got.Seen, "USHER_DATA_DIR") || !strings.Contains(got.Do, "set USHER_ADMIN_LISTEN") {
		t.Errorf("beside an usher with its own Redis the doctor finds %+v, want that an usher runs with USHER_DATA_DIR", got)
	}
	redis.Kill()
	if got := d().inUse; got.State != "" {
		t.Errorf("after that usher's end the logins are left alone: %+v", got)
	}
}

// TestDoctorBlamesReceiversForTheirOwn has a running usher refuse to send, and a
// receiver hang for longer than the doctor looks.
func TestDoctorBlamesReceiversForTheirOwn(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/webhooks", func(w http.ResponseWriter, _ *http.Request) {
		ids := []string{"limited", "hangs", "fine"}
		for i := range maxPinged {
			ids = append(ids, fmt.Sprint("more", i))
		}
		_, _ = io.WriteString(w, `{"data":[{"enabled":true,"id":"`+strings.Join(ids, `"},{"enabled":true,"id":"`)+`"}]}`)
	})
	mux.HandleFunc("POST /v1/webhooks/{id}/test", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("id") {
		case "limited":
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"status":429,"code":"rate_limited"}`)
		case "hangs":
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, `{"result":"delivered","status":200}`)
		}
	})
	usher := httptest.NewServer(mux)
	defer usher.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	d := &doctor{running: &api.Readiness{}, cfg: config.Config{Listen: usher.Listener.Addr().String(), APIKeys: []config.Secret{"key"}}}
	found := map[string]string{}
	for _, r := range d.receivers(ctx) {
		found[r.Name] = fmt.Sprintf("%s: %s -> %s", r.State, r.Seen, r.Do)
	}
	for name, want := range map[string]string{
		"receiver limited": "warn: not tried: usher answers 429 Too Many Requests -> see what api",
		"receiver hangs":   "fail: no answer: timeout -> " + unreached["timeout"],
		"receiver fine":    "ok: ",
		"receivers":        "warn: not tried: 3 more, after the first 20 -> ",
	} {
		if got := found[name]; !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestDoctorSaysOneThingOfSettings: what is refused, and what a running usher says.
func TestDoctorSaysOneThingOfSettings(t *testing.T) {
	refused := config.Config{} // it lacks everything
	running := &api.Readiness{Checks: []api.Result{{Name: "settings", Finding: warn("an old name", "take it out")}, {Name: "muc", Finding: ok("fine")}}}
	for _, tt := range []struct {
		running *api.Readiness
		want    string
	}{{nil, ""}, {running, "an old name"}} {
		d := &doctor{cfg: refused, running: tt.running}
		f := d.settings(t.Context())
		if f.State != api.CheckFail || strings.Contains(f.Seen, "well formed") || !strings.Contains(f.Do, "refuses to start") || !strings.Contains(f.Seen, tt.want) {
			t.Errorf("settings are %+v, want fail with %q, and nothing good", f, tt.want)
		}
	}
	d := &doctor{running: running}
	for _, r := range d.usher(t.Context()) {
		if r.Name == "settings" {
			t.Errorf("a running usher's settings are said twice: %+v", r)
		}
	}
}

// TestDoctorAsksUsherThroughNoProxy: the key is for nobody else.
func TestDoctorAsksUsherThroughNoProxy(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer proxy.Close()
	to, err := url.Parse(proxy.URL)
	must(t, err)
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = &http.Transport{Proxy: http.ProxyURL(to)}
	usher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":[],"checks":[{"name":"store"}]}`)
	}))
	defer usher.Close()
	_, port, err := net.SplitHostPort(usher.Listener.Addr().String())
	must(t, err)
	all := net.JoinHostPort("0.0.0.0", port)
	d := &doctor{cfg: config.Config{Listen: all, AdminListen: all, APIKeys: []config.Secret{"key"}}}
	d.find(t.Context())
	if d.running == nil {
		t.Fatalf("usher at %s is not found: %v", all, d.absent)
	}
	if f := d.api(t.Context()); f.State != api.CheckOK {
		t.Errorf("api is %+v, want ok", f)
	}
	if found := d.receivers(t.Context()); found[0].State != api.CheckOK {
		t.Errorf("receivers are %+v, want ok", found)
	}
	if asked.Load() {
		t.Error("the proxy was asked, want usher alone")
	}
}

// TestClocksApart: Redis judges no tokens.
func TestClocksApart(t *testing.T) {
	for _, tt := range []struct {
		off    time.Duration
		tokens bool
		want   api.CheckState
	}{
		{-4 * time.Second, true, ""}, {6 * time.Second, true, api.CheckWarn}, {-time.Minute, true, api.CheckFail},
		{4 * time.Second, false, ""}, {time.Minute, false, api.CheckWarn}, {-time.Hour, false, api.CheckWarn},
	} {
		f := clocksApart("it", tt.off, tt.tokens)
		if f.State != tt.want || !tt.tokens && strings.Contains(f.Seen, "tokens") {
			t.Errorf("%v apart, tokens %v: %+v, want %q", tt.off, tt.tokens, f, tt.want)
		}
	}
}

// TestDoctorLooksAtTheCertificateOfTheLogin that usher makes, as that trusts it.
func TestDoctorLooksAtTheCertificateOfTheLogin(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // for its certificate, which is of example.com
	defer web.Close()
	own := web.Certificate()
	pin := strings.ToUpper(fmt.Sprintf("%x", sha256.Sum256(own.Raw)))
	for i := len(pin) - 2; i > 0; i -= 2 {
		pin = pin[:i] + ":" + pin[i:]
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Raw}), 0o600))
	hidden := config.Config{OccupantUser: "usher", OccupantPassword: "secret", HiddenDomain: "hidden.example.com", TLSServerName: "example.com", FocusJID: "focus@auth.example.net"}
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		asks   string // domain and the name of the certificate
		want   string
	}{
		{"a pin as openssl prints it", func(c *config.Config) { c.TLSPin = pin }, "hidden.example.com example.com", "ok: "},
		{"another pin", func(c *config.Config) { c.TLSPin = strings.Repeat("0", 64) }, "hidden.example.com example.com", "fail: Prosody's certificate is not the one of USHER_TLS_PIN"},
		{"an authority", func(c *config.Config) { c.TLSCAFile = ca }, "hidden.example.com example.com", "ok: Prosody's is trusted"},
		{"no authority", func(*config.Config) {}, "hidden.example.com example.com", "fail: Prosody's certificate is not trusted"},
		{"any", func(c *config.Config) { c.TLSInsecure = true }, "hidden.example.com example.com", "warn: any certificate"},
		{"labelled, with the recorders' login", func(c *config.Config) { c.TLSCAFile, c.OccupantPassword, c.BreweryPassword = ca, "", "secret" },
			"auth.example.net auth.example.net", "fail: Prosody's certificate is not trusted: tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not auth.example.net -> give Prosody one"},
	} {
		cfg := hidden
		tt.change(&cfg)
		var asked <-chan string
		cfg.ClientAddr, asked = startTLSServer(t, web.TLS.Certificates[0])
		f := (&doctor{cfg: cfg}).certificate(t.Context())
		if got := fmt.Sprintf("%s: %s -> %s", f.State, f.Seen, f.Do); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: certificate is %q, want %q", tt.name, got, tt.want)
		}
		if got := <-asked; got != tt.asks {
			t.Errorf("%s: asked for %q, want %q", tt.name, got, tt.asks)
		}
	}
}

// startTLSServer takes one stream of XMPP as far as TLS, and then says which domain and
// which name it was asked for.
func startTLSServer(t *testing.T, certificate tls.Certificate) (addr string, asked <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	said := make(chan string, 1)
	go func() {
		defer close(said)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		header := make([]byte, 1024)
		n, _ := conn.Read(header)
		_, domain, _ := strings.Cut(string(header[:n]), " to='")
		domain, _, _ = strings.Cut(domain, "'")
		_, _ = io.WriteString(conn, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
		_, _ = conn.Read(header) // starttls
		_, _ = io.WriteString(conn, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		name := ""
		secure := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name = hello.ServerName
			return &certificate, nil
		}})
		_ = secure.HandshakeContext(t.Context()) // the client may refuse it
		said <- domain + " " + name
	}()
	return ln.Addr().String(), said
}
