package prosodyconfig_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	streams "usher/component"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// TestCertificateOfTheGuide runs the commands of README.md and logs in to a
// Prosody that shows the certificate they made, verified by the authority they
// made, and by no other.
func TestCertificateOfTheGuide(t *testing.T) {
	guide, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		if strings.Contains(block[1], "openssl req -x509") {
			commands += block[1]
		}
	}
	if commands == "" {
		t.Fatal("README.md has no commands that make a certificate")
	}
	home := t.TempDir()
	sh := exec.CommandContext(t.Context(), "sh", "-eu", "-c", commands)
	sh.Env, sh.Dir = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}, home
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out) // make test installs openssl
	}
	site := filepath.Join(home, ".jitsi-meet-cfg")
	// docker-jitsi-meet copies this folder into the one that Prosody reads.
	p := stacktest.Prosody(t, stack.ProsodyConfig{Certificates: filepath.Join(site, "prosody", "config", "certs")})

	for caFile, trusted := range map[string]bool{filepath.Join(site, "usher", "ca.pem"): true, p.CAFile: false} {
		for server, who := range map[string]stack.Account{stack.Domain: stack.Usher, stack.AuthDomain: stack.Watcher} {
			login, err := streams.NewClient(streams.ClientConfig{
				Addr: p.ClientAddr, JID: who.JID() + "/usher", Password: who.Password, ServerName: server, CAFile: caFile,
			})
			if err != nil {
				t.Fatal(err)
			}
			up, err := firstOutcome(t, login)
			switch {
			case trusted && !up:
				t.Errorf("login of %s that trusts %s: %v, want it up", who.JID(), caFile, err)
			case !trusted && !errors.Is(err, streams.ErrTLS):
				t.Errorf("login of %s that trusts another authority: up %v, %v; want %v", who.JID(), up, err, streams.ErrTLS)
			}
		}
	}
}

// firstOutcome runs a link until it is up or has failed for the first time.
func firstOutcome(t *testing.T, l *streams.Link) (up bool, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if up, _, err := l.Status(); up || err != nil {
			return up, err
		}
	}
	t.Fatal("the login is neither up nor failed")
	return false, nil
}
