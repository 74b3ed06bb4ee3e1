package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"usher/config"
	"usher/token"
)

// Secrets of Standard Webhooks: whsec_ and base64 of 24 to 64 bytes.
const (
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
	newSecret    = 32 // bytes of one that we make: as long as the hash
)

// Secrets of other dialects sign as they stand. Shorter ones are guessed, and
// longer ones were pasted by mistake.
const (
	minText = 16 // bytes
	maxText = 256
)

var (
	errSecret = errors.New("is not whsec_ followed by base64 of 24 to 64 bytes")
	errText   = fmt.Errorf("does not have %d to %d characters", minText, maxText)
)

// key returns what a secret signs with. Its error quotes nothing.
func (e Endpoint) key(s Secret) ([]byte, error) {
	switch {
	case e.dialect == nil:
		return s.bytes()
	case len(s.Key) < minText || len(s.Key) > maxText:
		return nil, errText
	}
	return []byte(s.Key), nil
}

// signs reports whether the endpoint's requests are signed.
func (e Endpoint) signs() bool { return e.dialect == nil || e.dialect.Sign != nil }

// checkSecrets sets what the endpoint signs with, or returns why its secrets cannot
// sign.
func (e *Endpoint) checkSecrets() error {
	e.signing = nil
	if !e.signs() {
		return nil
	}
	if len(e.Secrets) == 0 || !e.Secrets[0].ExpiresAt.IsZero() {
		return &InvalidError{"secret", "that never expires is missing"}
	}
	for _, s := range e.Secrets {
		key, err := e.key(s)
		if err != nil {
			return &InvalidError{"secret", err.Error()}
		}
		e.signing = append(e.signing, key)
	}
	return nil
}

// keys returns what signs at the given time, newest first and at least one;
// none where nothing is signed.
func (e Endpoint) keys(now time.Time) (keys [][]byte) {
	for i, key := range e.signing {
		if s := e.Secrets[i]; s.ExpiresAt.IsZero() || s.ExpiresAt.After(now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// bytes returns the key of Standard Webhooks. Its error quotes nothing.
func (s Secret) bytes() ([]byte, error) {
	text, ok := strings.CutPrefix(string(s.Key), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, errSecret
	}
	return key, nil
}

// NewSecret returns a signing key that nobody else has.
func NewSecret() Secret {
	key := make([]byte, newSecret)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return Secret{Key: config.Secret(secretPrefix + base64.StdEncoding.EncodeToString(key))}
}

// signStandard adds the time and a v1 signature for each key, newest first,
// separated by spaces (Standard Webhooks 1.0.0, "Signature scheme").
func signStandard(h http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	var all []string
	for _, key := range keys {
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(token.MAC(key, id+"."+seconds+".", body)))
	}
	h["Webhook-Timestamp"] = []string{seconds}
	h["Webhook-Signature"] = []string{strings.Join(all, " ")}
}
