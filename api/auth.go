package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// minSecret is the least length of a secret in bytes. As hex digits these carry
// 64 random bits, which nobody tries out over HTTP.
const minSecret = 16

// credentials are secrets of which any opens the door. Only digests are kept,
// so that no dump of memory or log of this value tells a secret.
type credentials [][sha256.Size]byte

func newCredentials(secrets ...string) (credentials, error) {
	var c credentials
	for _, s := range secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("shorter than %d bytes", minSecret)
		}
		if strings.TrimSpace(s) != s {
			return nil, fmt.Errorf("begins or ends with white space")
		}
		c = append(c, sha256.Sum256([]byte(s)))
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

// bearer returns the token of an Authorization header (RFC 6750 §2.1).
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// guard opens /v1 to API keys and /reservations to its token. Going by prefix
// and not by route, no route can be added and forgotten.
type guard struct {
	keys        *keyring
	limits      *limiters   // by key
	reservation credentials // nil: the site does not use reservations
	next        http.Handler
	log         *slog.Logger
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		who, ok, err := g.keys.find(r.Context(), bearer(r))
		switch {
		case err != nil:
			g.log.Warn("cannot read the API keys", "request_id", requestID(r.Context()), "err", err)
			writeProblem(w, r, newProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again"))
			return
		case !ok:
			unauthorized(w, r)
			return
		}
		exchangeOf(r.Context()).caller = who
		if !g.limits.take(w, who.id) {
			writeProblem(w, r, newProblem(http.StatusTooManyRequests, "more requests than this API key may make"))
			return
		}
	case strings.HasPrefix(r.URL.Path, "/reservations/") && g.reservation != nil:
		if !g.reservation.match(bearer(r)) {
			unauthorized(w, r)
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

func unauthorized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
	writeProblem(w, r, newProblem(http.StatusUnauthorized, ""))
}
