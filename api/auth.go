package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
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

// guarded has, for each path prefix that is not public, what opens it. Going by
// prefix and not by route, no route can be added and forgotten.
type guarded map[string]credentials

func (g guarded) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for prefix, c := range g {
			if strings.HasPrefix(r.URL.Path, prefix) && !c.match(bearer(r)) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
				writeProblem(w, r, newProblem(http.StatusUnauthorized, ""))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
