package token

import (
	"crypto/hmac"
	"crypto/sha256"
)

// MAC returns the HMAC-SHA256 (RFC 2104) of a text and of the body behind it.
func MAC(key []byte, text string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	mac.Write(body)
	return mac.Sum(nil)
}
