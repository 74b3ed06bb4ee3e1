package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// minSecret is the least length of a secret in bytes. As hex digits these carry
// 64 random bits, which nobody tries out over HTTP.
const minSecret = 16

// credentials are secrets of which any is good. Only digests are kept, so that no
// dump of memory or log of this value shows a secret.
type credentials [][sha256.Size]byte

func newCredentials(secrets ...string) (credentials, error) {
	var c credentials
	for _, s := range secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("shorter than %d bytes", minSecret)
		}
		if strings.TrimSpace(s) != s {
			return nil, errors.New("begins or ends with white space")
		}
		c = append(c, sha256.Sum256([]byte(s)))
	}
	return c, nil
}

// secondSecret returns the credential of a secret that is for something else than
// the keys, nil for none.
func secondSecret(keys credentials, name, secret string) (credentials, error) {
	if secret == "" {
		return nil, nil
	}
	c, err := newCredentials(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if keys.match(secret) {
		return nil, fmt.Errorf("api: the %s must not be an API key", name)
	}
	return c, nil
}

// match takes the same time whichever of the secrets it is, or none.
func (c credentials) match(secret string) bool {
	digest := sha256.Sum256([]byte(secret))
	found := 0
	for i := range c {
		found |= subtle.ConstantTimeCompare(c[i][:], digest[:])
	}
	return found == 1
}

// SitePart is a part of the site that has a secret of its own.
type SitePart string

// The parts.
const (
	PartReservations SitePart = "reservations" // Prosody, with USHER_RESERVATION_TOKEN
	PartJibriHook    SitePart = "jibri_hook"   // Jibris, with USHER_JIBRI_HOOK_SECRET
	PartHandOver     SitePart = "hand_over"    // recorders' hosts, with USHER_RECORDER_KEY
	PartWherebyHook  SitePart = "whereby_hook" // Whereby, with USHER_WHEREBY_UPSTREAM_WEBHOOK_SECRET
)

// bearer returns the token of an Authorization header (RFC 6750 §2.1).
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authenticate is the middleware that opens /v1 and the platforms to API keys, and
// /reservations to its token, if there is one. Going by prefix and not by route, no
// route can be added and forgotten; a platform names the few that need no key.
func (s *server) authenticate(next http.Handler) http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request) error {
		info, known := infoOf(r.Context()), true
		switch {
		case info.platform != nil && info.platform.isHook(r.URL.Path):
		case strings.HasPrefix(r.URL.Path, "/v1/") || info.platform != nil:
			var err error
			if info.caller, known, err = s.keys.find(r.Context(), bearer(r)); err != nil {
				s.Log.Warn("cannot read the API keys", "request_id", info.id, "err", err)
				return NewProblem(http.StatusServiceUnavailable, tryAgain)
			}
			if known && !s.limits.take(w, info.caller.id) {
				return NewProblem(http.StatusTooManyRequests, "more requests than this API key may make: "+info.caller.id)
			}
		case strings.HasPrefix(r.URL.Path, "/reservations/"):
			if known = s.reservation != nil && s.reservation.match(bearer(r)); !known {
				s.asked.WithLabelValues(reservationToken).Inc()
				s.Refused(PartReservations)
			}
			known = known || s.reservation == nil // then there are no such routes
		}
		if !known {
			w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
			return NewProblem(http.StatusUnauthorized, "send a valid key in the header Authorization: Bearer …")
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// Scope is something that an API key may do.
type Scope string

// Scopes. One does not include another, but admin includes all.
const (
	ScopeMeetingsRead      Scope = "meetings:read"
	ScopeMeetingsWrite     Scope = "meetings:write" // tokens and links too
	ScopeParticipantsWrite Scope = "participants:write"
	ScopeRecordingsWrite   Scope = "recordings:write"
	ScopeWebhooksWrite     Scope = "webhooks:write"
	ScopeEventsRead        Scope = "events:read"
	ScopeAdmin             Scope = "admin"
)

// anyScope is what an operation needs that every key may ask for.
const anyScope Scope = ""

// caller is who makes a request.
type caller struct {
	id     string // of the key, or configuredKey
	scopes []Scope
}

// configuredKey stands for the keys of the configuration, which have no id.
const configuredKey = "configured"

// needs returns a [Problem] unless the caller has the scope.
func (c caller) needs(s Scope) error {
	if s == anyScope || slices.Contains(c.scopes, s) || slices.Contains(c.scopes, ScopeAdmin) {
		return nil
	}
	return NewProblem(http.StatusForbidden, "the API key lacks the scope "+string(s))
}
