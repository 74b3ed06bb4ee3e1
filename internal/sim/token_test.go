package sim

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"usher/internal/stack"
)

func token(t *testing.T, room, userID, name string, expires time.Duration) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": stack.JWTAppID, "aud": "jitsi", "sub": stack.Domain, "room": room,
		"nbf": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(expires).Unix(),
		"context": map[string]any{"user": map[string]any{"id": userID, "name": name}},
	}).SignedString([]byte(stack.JWTAppSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestTokens(t *testing.T) {
	site := startSite(t, stack.ProsodyConfig{})
	startFocus(t, site, nil)

	t.Run("the server says who it is", func(t *testing.T) {
		alice := NewPerson(site, "tokens", "Alice", token(t, "tokens", "u-alice", "Alice Tok", time.Hour))
		t.Cleanup(alice.Drop)
		must(t, alice.Join(within(t)))
		guest := visit(t, site, "tokens", "Guest", true)
		if got := guest.Occupants().Named("Alice").UserID; got != "u-alice" {
			t.Errorf("alice's user id is %q, want u-alice", got)
		}
		if got := guest.Occupants()[guest.Nick()].UserID; got != "" {
			t.Errorf("the guest's user id is %q, want none", got)
		}
		must(t, alice.Reload(within(t)))
		waitFor(t, guest, func(o Occupants) bool { return o.Named("Alice").UserID == "u-alice" })
	})

	t.Run("a token out of date is refused at the login", func(t *testing.T) {
		late := NewPerson(site, "tokens", "Late", token(t, "tokens", "u-late", "Late", -time.Minute))
		refused, ok := errors.AsType[*RefusedError](late.Join(within(t)))
		if !ok || refused.Step != "login" || !strings.Contains(refused.Text, "Not acceptable by exp") {
			t.Errorf("join = %v, want login refused: Not acceptable by exp", refused)
		}
	})

	t.Run("a token for another room is refused there", func(t *testing.T) {
		lost := NewPerson(site, "tokens", "Lost", token(t, "elsewhere", "u-lost", "Lost", time.Hour))
		refused, ok := errors.AsType[*RefusedError](lost.Join(within(t)))
		if !ok || refused.Step != "join" || refused.Condition != "not-allowed" {
			t.Errorf("join = %v, want join refused: not-allowed", refused)
		}
	})
}

func TestReservationRefuses(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("name") == "booked" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"1","name":"booked","mail_owner":"x","start_time":"2026-11-23T00:00:00.000Z","duration":3600}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"This room has not been booked"}`)
	}))
	t.Cleanup(api.Close)
	site := startSite(t, stack.ProsodyConfig{ReservationURL: api.URL})
	startFocus(t, site, nil)

	visit(t, site, "booked", "Alice", true)
	err := visit(t, site, "other", "Bob", false).Join(within(t))
	want := RefusedError{Step: "conference request", Condition: "service-unavailable", Text: "This room has not been booked"}
	if refused, ok := errors.AsType[*RefusedError](err); !ok || *refused != want {
		t.Errorf("join = %v, want %v", err, &want)
	}
}
