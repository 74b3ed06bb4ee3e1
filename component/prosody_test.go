package component_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// prosody is a real Prosody with one virtual host for logins and one
// component, started for one test.
type prosody struct {
	c2s, component string // addresses
	certFile, pin  string
}

const prosodyConfig = `
pidfile = "%[1]s/prosody.pid"
data_path = "%[1]s"
certificates = "%[1]s"
run_as_root = true
modules_enabled = { "disco", "ping", "saslauth", "tls", "roster" }
modules_disabled = { "s2s" }
authentication = "internal_hashed"
c2s_ports = { %[2]s }
c2s_interfaces = { "127.0.0.1" }
component_ports = { %[3]s }
component_interfaces = { "127.0.0.1" }
component_conflict_resolve = "kick_old"
network_settings = { nagle = false }
ssl = { key = "%[1]s/key.pem"; certificate = "%[1]s/cert.pem" }
c2s_require_encryption = true
log = { warn = "*stdout" }

VirtualHost "hidden.test"
VirtualHost "guest.test"
	authentication = "anonymous"
VirtualHost "plain.test"
	modules_disabled = { "tls" }
	c2s_require_encryption = false
Component "usher.test"
	component_secret = "component-secret"
`

// startProsody starts Prosody on free ports and ends it with the test.
func startProsody(t *testing.T) *prosody {
	t.Helper()
	dir := t.TempDir()
	c2s, comp := freePort(t), freePort(t)
	p := &prosody{
		c2s:       net.JoinHostPort("127.0.0.1", c2s),
		component: net.JoinHostPort("127.0.0.1", comp),
		certFile:  filepath.Join(dir, "cert.pem"),
	}
	p.pin = writeCertificate(t, dir, "meet.test")
	for _, host := range []string{"hidden", "plain"} {
		accounts := filepath.Join(dir, host+"%2etest", "accounts")
		if err := os.MkdirAll(accounts, 0o700); err != nil {
			t.Fatal(err)
		}
		// Prosody hashes the password when the account first logs in.
		if err := os.WriteFile(filepath.Join(accounts, "usher.dat"), []byte(`return { password = "login-secret" };`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, prosodyConfig, dir, c2s, comp), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("prosody", "-F", "--config", cfg)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start prosody: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("prosody said:\n%s", out.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if answers(p.c2s) && answers(p.component) {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("prosody does not answer on %s and %s", p.c2s, p.component)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// writeCertificate makes a self-signed certificate and returns its SHA-256.
func writeCertificate(t *testing.T, dir, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
