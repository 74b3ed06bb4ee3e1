package stack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long the self-made certificates are valid: longer
// than any demo stays up. They are made anew at each start.
const certificateLife = 90 * 24 * time.Hour

// clockSkew dates certificates back, for clients whose clock is behind.
const clockSkew = time.Hour

// writeCertificates makes a certificate authority, writes its certificate to
// caFile, and for each domain a pair domain.crt and domain.key signed by it
// into dir, named as Prosody looks for them. The authority's key is thrown
// away.
func writeCertificates(caFile, dir string, domains ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "usher local test authority"},
		NotBefore:             time.Now().Add(-clockSkew),
		NotAfter:              time.Now().Add(certificateLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return err
	}
	if err := writePEM(caFile, "CERTIFICATE", der); err != nil {
		return err
	}
	for i, domain := range domains {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2),
			Subject:      pkix.Name{CommonName: domain},
			DNSNames:     []string{domain},
			NotBefore:    authority.NotBefore,
			NotAfter:     authority.NotAfter,
			KeyUsage:     x509.KeyUsageDigitalSignature,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), signer)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, domain+".crt"), "CERTIFICATE", der); err != nil {
			return err
		}
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, domain+".key"), "PRIVATE KEY", der); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
