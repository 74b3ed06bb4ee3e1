package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"usher/config"
)

// Secrets of Standard Webhooks: whsec_ and base64 of 24 to 64 bytes.
const (
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
	newSecret    = 32 // bytes of one that we make: as long as the hash
)

var errSecret = errors.New("is not whsec_ followed by base64 of 24 to 64 bytes")

// bytes returns the key itself. Its error quotes nothing.
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

// signature returns the value of webhook-signature: one v1 signature for each
// key, newest first, separated by spaces (Standard Webhooks 1.0.0,
// "Signature scheme").
func signature(keys [][]byte, id string, at time.Time, body []byte) string {
	var all []byte
	head := append(strconv.AppendInt([]byte(id+"."), at.Unix(), 10), '.')
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(head)
		mac.Write(body)
		if len(all) > 0 {
			all = append(all, ' ')
		}
		all = append(all, "v1,"...)
		all = base64.StdEncoding.AppendEncode(all, mac.Sum(nil))
	}
	return string(all)
}
