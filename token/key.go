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

// JWKS returns the public half of an RSA key as a JSON Web Key Set (RFC 7517 §5),
// as Prosody's cache_keys_url reads it (jitsi-meet pull request 16649 and later).
// Publish the next key beside the present one before it signs: Prosody reads the
// set only now and then. A shared secret has none.
func (k *Key) JWKS() []byte {
	if k.public == nil {
		return nil
	}
	n, e := numbers(k.public)
	set, err := json.Marshal(map[string][]map[string]string{"keys": {
		{"kty": "RSA", "use": "sig", "alg": k.method.Alg(), "kid": k.id, "n": n, "e": e},
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return set
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

// signed reports whether the token is signed with this key. It looks at nothing
// else in it.
func (k *Key) signed(text string) bool {
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{k.method.Alg()}), jwt.WithoutClaimsValidation()).
		Parse(text, func(*jwt.Token) (any, error) {
			if k.public != nil {
				return k.public, nil
			}
			return k.signer(), nil
		})
	return err == nil
}
