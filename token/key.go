package token

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MinSecret is the least length of a shared secret in bytes: that of the
	// hash it is used with (RFC 7518 §3.2). A shorter one can be tried out by
	// whoever holds a single token.
	MinSecret = 32
	// MinRSABits is the least size of an RSA key (RFC 7518 §3.3).
	MinRSABits = 2048
)

// Key signs tokens and checks signatures. It never shows what it holds. Safe
// for concurrent use.
type Key struct {
	method jwt.SigningMethod
	id     string         // header kid; empty for a shared secret
	public *rsa.PublicKey // nil for a shared secret
	// signer returns what method signs with. It is a function because fmt prints
	// any value, however deep, but not what a function returns.
	signer func() any
}

// SecretKey returns the key for HS256 with Prosody's app_secret. A secret of
// fewer than [MinSecret] bytes is an error.
func SecretKey(secret string) (*Key, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("token: the secret has %d bytes, at least %d are needed", len(secret), MinSecret)
	}
	return &Key{method: jwt.SigningMethodHS256, signer: func() any { return []byte(secret) }}, nil
}

// RSAKey returns the key for RS256 from a private key in PEM, PKCS #1 or #8.
// Its id is its thumbprint (RFC 7638), so that a new key never goes by the name
// of an old one. A key of fewer than [MinRSABits] bits is an error.
func RSAKey(private []byte) (*Key, error) {
	key, err := jwt.ParseRSAPrivateKeyFromPEM(private)
	if err != nil {
		return nil, errors.New("token: no RSA private key in PEM") // the cause could quote it
	}
	if bits := key.N.BitLen(); bits < MinRSABits {
		return nil, fmt.Errorf("token: the RSA key has %d bits, at least %d are needed", bits, MinRSABits)
	}
	return &Key{
		method: jwt.SigningMethodRS256, id: thumbprint(&key.PublicKey), public: &key.PublicKey,
		signer: func() any { return key },
	}, nil
}

// thumbprint is the key's SHA-256 by RFC 7638 §3.
func thumbprint(key *rsa.PublicKey) string {
	n, e := numbers(key)
	sum := sha256.Sum256(fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`, e, n))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// String names the algorithm, and the key's id where it has one.
func (k *Key) String() string {
	if k.id == "" {
		return k.method.Alg()
	}
	return k.method.Alg() + " " + k.id
}

// JWKS returns the keys' public halves as a JSON Web Key Set (RFC 7517 §5), as
// Prosody's cache_keys_url reads it (jitsi-meet pull request 16649 and later).
// Shared secrets are left out. Publish the next key beside the present one
// before it signs: Prosody reads the set only now and then.
func JWKS(keys ...*Key) []byte {
	type jwk struct {
		Type      string `json:"kty"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
		N         string `json:"n"`
		E         string `json:"e"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range keys {
		if k.public != nil {
			n, e := numbers(k.public)
			set.Keys = append(set.Keys, jwk{"RSA", "sig", k.method.Alg(), k.id, n, e})
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// PublicPEM returns the public half of an RSA key as a PEM file, and the name
// of that file below Prosody's asap_key_server (docker-jitsi-meet's
// JWT_ASAP_KEYSERVER): the SHA-256 of its id in hex, and .pem. Both are empty
// for a shared secret.
func (k *Key) PublicPEM() (name string, file []byte) {
	if k.public == nil {
		return "", nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		panic(err) // an RSA key always encodes
	}
	sum := sha256.Sum256([]byte(k.id))
	return hex.EncodeToString(sum[:]) + ".pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// numbers returns modulus and exponent as RFC 7518 §6.3.1 writes them.
func numbers(key *rsa.PublicKey) (n, e string) {
	encode := base64.RawURLEncoding.EncodeToString
	return encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
}

// parse checks the signature and, once more and with the library's rules, the
// times of a token at the time now.
func (k *Key) parse(now time.Time, text string) error {
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{k.method.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	).Parse(text, func(*jwt.Token) (any, error) {
		if k.public != nil {
			return k.public, nil
		}
		return k.signer(), nil
	})
	return err
}
