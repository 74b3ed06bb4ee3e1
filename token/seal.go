package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
)

// codeBytes is the length of a derived code: 136 bits, as hard to guess as
// those of [Code].
const codeBytes = 17

// ErrSealed says that something was sealed under another secret or for another
// purpose, or has been changed.
var ErrSealed = errors.New("token: what is sealed does not open with this secret")

// Seal encrypts what must be readable again (AES-256-GCM, NIST SP 800-38D), for
// keeping it in a store that is not to know it. The purpose says what it is:
// what was sealed for one does not open for another. The text is base64url.
func Seal(secret, purpose string, plain []byte) string {
	sealed := sealer(secret, purpose).Seal(nil, nil, plain, nil) //nolint:gosec // it draws the nonce itself
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// Unseal returns what [Seal] encrypted, or [ErrSealed].
func Unseal(secret, purpose, text string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrSealed
	}
	plain, err := sealer(secret, purpose).Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func sealer(secret, purpose string) cipher.AEAD {
	block, err := aes.NewCipher(derive(secret, "seal\x00"+purpose, 32))
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(err) // 32 bytes are always a key
}

// CodeFor returns a code like that of [Code], but for one secret and purpose
// always the same: for a link that must be shown again although only its hash
// is kept.
func CodeFor(secret, purpose string) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(derive(secret, "code\x00"+purpose, codeBytes))
}

// derive returns a key of its own for each purpose (HKDF, RFC 5869).
func derive(secret, purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "usher "+purpose, length)
	if err != nil {
		panic(err) // only for lengths far greater
	}
	return key
}
