package component_test

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/stanza"

	"usher/component"
	"usher/internal/stack/stacktest"
)

// outcome runs the link until it is first up, has first failed, or the test
// has waited long enough, and ends it again.
func outcome(t *testing.T, l *component.Link) error {
	t.Helper()
	stop := run(t, l)
	defer stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if up, _, err := l.Status(); up || err != nil {
			return err
		}
	}
	t.Fatal("link neither up nor failed")
	return nil
}

// run runs the link until the returned function is called, which waits for it.
func run(t *testing.T, l *component.Link) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	return func() { cancel(); <-done }
}

func TestLogin(t *testing.T) {
	stacktest.Needed(t)
	p := startProsody(t)
	var jid string // of the link that was up last
	opts := component.Options{Handler: component.Handler{Up: func(j string) { jid = j }}}
	comp := func(change func(*component.ComponentConfig)) *component.Link {
		cfg := component.ComponentConfig{Addr: p.component, Domain: "usher.test", Secret: "component-secret", Options: opts}
		change(&cfg)
		return must(t, component.NewComponent, cfg)
	}
	client := func(change func(*component.ClientConfig)) *component.Link {
		cfg := component.ClientConfig{Addr: p.c2s, JID: "usher@hidden.test/usher", Password: "login-secret",
			CAFile: p.certFile, ServerName: "meet.test", Options: opts}
		change(&cfg)
		return must(t, component.NewClient, cfg)
	}
	tests := []struct {
		name string
		link *component.Link
		want error  // found by errors.Is
		text string // or by its text
		jid  string
	}{
		{"component", comp(func(c *component.ComponentConfig) {}), nil, "", "usher.test"},
		{"component, wrong secret", comp(func(c *component.ComponentConfig) { c.Secret = "wrong" }), component.ErrNotAuthorized, "", ""},
		{"component, unknown host", comp(func(c *component.ComponentConfig) { c.Domain = "other.test" }), component.ErrHostUnknown, "", ""},
		{"client, CA file and server name", client(func(c *component.ClientConfig) {}), nil, "", "usher@hidden.test/usher"},
		{"client, pin", client(func(c *component.ClientConfig) { c.CAFile, c.PinSHA256 = "", p.pin }), nil, "", "usher@hidden.test/usher"},
		{"client, insecure", client(func(c *component.ClientConfig) { c.CAFile, c.Insecure = "", true }), nil, "", "usher@hidden.test/usher"},
		{"client, anonymous", client(func(c *component.ClientConfig) { c.JID, c.Mechanisms = "guest.test", []sasl.Mechanism{sasl.Anonymous} }), nil, "", "@guest.test/"}, // of the server's choice
		{"client, system's roots", client(func(c *component.ClientConfig) { c.CAFile = "" }), nil, "certificate signed by unknown authority", ""},
		{"client, other name", client(func(c *component.ClientConfig) { c.ServerName = "" }), nil, "certificate is valid for meet.test, not hidden.test", ""},
		{"client, other pin", client(func(c *component.ClientConfig) { c.CAFile, c.PinSHA256 = "", strings.Repeat("00", 32) }), nil, "not the pinned one", ""},
		{"client, wrong password", client(func(c *component.ClientConfig) { c.Password = "wrong" }), component.ErrNotAuthorized, "", ""},
		{"client, unknown account", client(func(c *component.ClientConfig) { c.JID = "nobody@hidden.test/x" }), component.ErrNotAuthorized, "", ""},
		{"client, unknown host", client(func(c *component.ClientConfig) { c.JID = "usher@other.test/usher" }), component.ErrHostUnknown, "", ""},
		{"client, port of components", client(func(c *component.ClientConfig) { c.Addr = p.component }), component.ErrWrongPort, "", ""},
		{"component, port of clients", comp(func(c *component.ComponentConfig) { c.Addr = p.c2s }), component.ErrHostUnknown, "", ""},
		{"client, untrusted certificate", client(func(c *component.ClientConfig) { c.CAFile = "" }), component.ErrTLS, "", ""},
		{"client, no StartTLS", client(func(c *component.ClientConfig) { c.JID = "usher@plain.test/usher" }), nil, "server offers no StartTLS", ""},
		{"client, no StartTLS, insecure", client(func(c *component.ClientConfig) {
			c.JID, c.CAFile, c.Insecure = "usher@plain.test/usher", "", true
		}), nil, "", "usher@plain.test/usher"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := outcome(t, tt.link)
			switch {
			case tt.want != nil:
				if !errors.Is(err, tt.want) {
					t.Errorf("error = %v, want %v", err, tt.want)
				}
			case tt.text != "":
				if err == nil || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error = %v, want %q in it", err, tt.text)
				}
			case err != nil:
				t.Errorf("error = %v, want none", err)
			default:
				if ofItsChoice := tt.jid[0] == '@' && strings.Contains(jid, tt.jid); jid != tt.jid && !ofItsChoice {
					t.Errorf("JID = %q, want %q", jid, tt.jid)
				}
			}
		})
	}
}

// Two real streams talk to each other through Prosody.
func TestStanzasThroughProsody(t *testing.T) {
	stacktest.Needed(t)
	p := startProsody(t)
	got := make(chan string, 8)
	comp := must(t, component.NewComponent, component.ComponentConfig{
		Addr: p.component, Domain: "usher.test", Secret: "component-secret",
		Options: component.Options{Handler: component.Handler{
			Presence: func(d *xml.Decoder, start xml.StartElement) {
				var p struct {
					From   string `xml:"from,attr"`
					Status string `xml:"status"`
				}
				if err := d.DecodeElement(&p, &start); err != nil {
					t.Error(err)
				}
				got <- p.From + ": " + p.Status
			},
		}},
	})
	defer run(t, comp)()
	login := must(t, component.NewClient, component.ClientConfig{
		Addr: p.c2s, JID: "usher@hidden.test/usher", Password: "login-secret", CAFile: p.certFile, ServerName: "meet.test",
	})
	defer run(t, login)()
	waitUp(t, comp)
	waitUp(t, login)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	type status struct {
		XMLName xml.Name `xml:"status"`
		Text    string   `xml:",chardata"`
	}
	if err := login.As("").Send(ctx, "presence", "bot@usher.test/x", "", status{Text: "<hello> & 'good' day"}); err != nil {
		t.Fatal(err)
	}
	if got, want := <-got, "usher@hidden.test/usher: <hello> & 'good' day"; got != want {
		t.Errorf("presence = %q, want %q", got, want)
	}

	bot := comp.As("bot@usher.test/x")
	var info disco.Info
	if err := bot.IQ(ctx, "usher@hidden.test/usher", "get", disco.InfoQuery{Node: component.Caps().Node + "#" + component.Caps().Ver}, &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Identity) != 1 || info.Identity[0].Name != "usher" {
		t.Errorf("identities = %+v, want usher alone", info.Identity)
	}
	type jingle struct {
		XMLName xml.Name `xml:"urn:xmpp:jingle:1 jingle"`
		Action  string   `xml:"action,attr"`
	}
	for _, from := range []struct {
		*component.Sender
		to string
	}{{bot, "usher@hidden.test/usher"}, {login.As(""), "bot@usher.test/x"}} {
		err := from.IQ(ctx, from.to, "set", jingle{Action: "session-initiate"}, nil)
		var se stanza.Error
		if !errors.As(err, &se) || se.Condition != stanza.ServiceUnavailable {
			t.Errorf("session-initiate to %s = %v, want service-unavailable", from.to, err)
		}
	}
}

// The address taken over by another instance ends Run, and is not dialled again.
func TestConflictOnProsody(t *testing.T) {
	p := startProsody(t)
	cfg := component.ComponentConfig{Addr: p.component, Domain: "usher.test", Secret: "component-secret"}
	old := must(t, component.NewComponent, cfg)
	ended := make(chan error, 1)
	go func() { ended <- old.Run(t.Context()) }()
	waitUp(t, old)
	defer run(t, must(t, component.NewComponent, cfg))()
	select {
	case err := <-ended:
		if !errors.Is(err, component.ErrConflict) {
			t.Errorf("Run = %v, want ErrConflict", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the old instance was not told")
	}
}

func must[C any](t *testing.T, create func(C) (*component.Link, error), cfg C) *component.Link {
	t.Helper()
	l, err := create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func waitUp(t *testing.T, l *component.Link) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if up, _, _ := l.Status(); up {
			return
		}
	}
	_, _, err := l.Status()
	t.Fatalf("link is not up: %v", err)
}
