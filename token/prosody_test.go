package token_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
	"usher/internal/tokentest"
	"usher/token"
)

// patience bounds each thing that a person does; it takes milliseconds.
const patience = 30 * time.Second

// A real Prosody lets people in with our tokens, and keeps out those whom
// Inspect keeps out.
func TestOnRealProsody(t *testing.T) {
	p := stacktest.Prosody(t, stack.ProsodyConfig{})
	local := sim.Site{Domain: stack.Domain, ClientAddr: p.ClientAddr, ComponentAddr: p.ComponentAddr, CAFile: p.CAFile, Log: slog.New(slog.DiscardHandler)}
	startFocus(t, local)

	site := token.Site{AppID: stack.JWTAppID, Audience: "jitsi", Domain: stack.Domain}
	keyOf := func(secret string) *token.Key {
		key, err := token.SecretKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key := keyOf(stack.JWTAppSecret)
	ours, err := token.NewIssuer(site, key)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := token.NewIssuer(site, keyOf(strings.ToUpper(stack.JWTAppSecret)))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(i *token.Issuer, at time.Time, c token.Claims) string {
		text, _, err := i.Issue(at, c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	start := time.Now()
	user := token.User{ID: "u1", Name: "José <b>&😀"}
	room := token.RoomName("Prosody")

	tests := []struct {
		name   string
		token  string
		reason string // the beginning of Inspect's; empty: let in
		says   string // Prosody
	}{
		{"host", issue(ours, start, token.Claims{Room: room, User: user, Host: true}), "", ""},
		{"guest", issue(ours, start, token.Claims{Room: strings.ToUpper(room), User: token.User{ID: "u2"}}), "", ""},
		{"valid since now", issue(ours, start.Add(59*time.Second), token.Claims{Room: room}), "", ""},
		{"other room", issue(ours, start, token.Claims{Room: "other", User: user}), "claim room is", "not-allowed"},
		{"reload after an hour", issue(ours, start.Add(-time.Hour), token.Claims{Room: room, User: user}), "", ""},
		{"expired", issue(ours, start.Add(-token.DefaultTTL-time.Second), token.Claims{Room: room}), "it expired", "not-authorized"},
		{"not yet valid", issue(ours, start.Add(time.Hour), token.Claims{Room: room}), "it is valid in", "not-authorized"},
		{"wrong secret", issue(theirs, start, token.Claims{Room: room}), "the signature is not", "not-authorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			person := sim.NewPerson(local, room, "someone", tt.token)
			defer person.Drop()
			err := person.Join(ctx)
			if tt.reason == "" && err != nil {
				t.Errorf("join: %v, want in", err)
			}
			if tt.reason != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("join: %v, want refused: %s", err, tt.says)
			}
			_, err = tokentest.Verify(time.Now(), tt.token, token.Expect{Site: site, Key: key, Room: room})
			if (err == nil) != (tt.reason == "") || err != nil && !strings.HasPrefix(err.Error(), tt.reason) {
				t.Errorf("inspect: %v, want reason %q", err, tt.reason)
			}
		})
	}
}

// startFocus runs a focus until the test ends.
func startFocus(t *testing.T, site sim.Site) {
	t.Helper()
	focus, err := sim.NewFocus(sim.FocusConfig{Site: site, Password: stack.Focus.Password, Secret: stack.FocusSecret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = focus.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	up, done := context.WithTimeout(t.Context(), patience)
	defer done()
	if err := focus.WaitUp(up); err != nil {
		t.Fatal(err)
	}
}
