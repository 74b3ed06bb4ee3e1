package stack

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"usher/internal/child"
	prosodyconfig "usher/prosody-config"
)

// prosodyTimeout is how long Prosody may take to answer: half a second when
// idle, and much more when other tests keep both cores busy.
const prosodyTimeout = 30 * time.Second

// ProsodyConfig says what differs between local Prosodys.
type ProsodyConfig struct {
	// ReservationURL is what mod_reservations puts /conference behind, with
	// [ReservationToken] as bearer token. Empty: everybody may open a room.
	ReservationURL string
	// KeepPoolOut lets only the site's own services into the brewery, as
	// docker-jitsi-meet does, and not usher.
	KeepPoolOut bool
	// Certificates is a folder with certificates and keys to show in place of
	// those made here, as a site may give docker-jitsi-meet's Prosody. Empty: none.
	Certificates string
	// MUCModule is the path of a module mod_NAME.lua that the MUC component
	// loads in addition. Empty: none. Its option bench_post_file is MUCModuleFile.
	MUCModule, MUCModuleFile string
	// Env are further variables, NAME=VALUE, as a site's .env gives them to
	// docker-jitsi-meet's Prosody; they beat those that are set here.
	Env []string
	// LogLevel is Prosody's: debug, info (default), warn or error.
	LogLevel string
}

// Prosody is a child that serves the local site.
type Prosody struct {
	*child.Process
	ComponentAddr string // XEP-0114 components
	ClientAddr    string // c2s, RFC 6120
	HTTPAddr      string // BOSH and websocket: ws://HTTPAddr/xmpp-websocket
	// CAFile is the PEM file of the authority behind the site's certificates.
	// As in docker-jitsi-meet, HiddenDomain shows the certificate of Domain.
	CAFile string
}

// StartProsody starts a Prosody that serves the local site from dir, and
// blocks until its three ports answer or ctx ends. Configuration,
// certificates and accounts are written anew.
func StartProsody(ctx context.Context, dir string, cfg ProsodyConfig) (*Prosody, error) {
	p := &Prosody{}
	process, err := child.Start(ctx, dir, 3, func(dir string, ports []int) (child.Program, error) {
		return p.program(dir, cfg, ports)
	})
	if err != nil {
		return nil, err
	}
	p.Process = process
	return p, nil
}

// program writes what Prosody reads into dir and sets p's addresses to the three
// ports.
func (p *Prosody) program(dir string, cfg ProsodyConfig, ports []int) (child.Program, error) {
	p.ComponentAddr, p.ClientAddr, p.HTTPAddr = child.Loopback(ports[0]), child.Loopback(ports[1]), child.Loopback(ports[2])
	p.CAFile = filepath.Join(dir, "ca.pem")
	err := p.writeSite(dir)
	if err == nil && cfg.Certificates != "" {
		err = copyFiles(filepath.Join(dir, "certs"), cfg.Certificates)
	}
	return child.Program{
		Name:        "prosody",
		Args:        []string{"-F", "--config", filepath.Join(dir, prosodyconfig.LocalFile)},
		Env:         environment(dir, cfg, ports),
		Timeout:     prosodyTimeout,
		BindFailure: "Failed to open server port",
		OnDeath:     syscall.SIGKILL, // nothing to save, and it also ends a paused one
		Answers:     p.answers,
	}, err
}

// environment is what the local configuration reads through ENV_….
func environment(dir string, cfg ProsodyConfig, ports []int) []string {
	env := []string{
		"USHER_LOCAL_DIR=" + dir,
		"USHER_LOCAL_CLIENT_PORT=" + strconv.Itoa(ports[1]),
		"USHER_LOCAL_HTTP_PORT=" + strconv.Itoa(ports[2]),
		"USHER_LOCAL_FOCUS_SECRET=" + FocusSecret,
		"USHER_LOCAL_CROWD_SECRET=" + CrowdSecret,
		"JWT_APP_ID=" + JWTAppID,
		"JWT_APP_SECRET=" + JWTAppSecret,
		"USHER_COMPONENT_PORT=" + strconv.Itoa(ports[0]),
		"USHER_COMPONENT_SECRET=" + ComponentSecret,
		"USHER_RESERVATION_TOKEN=" + ReservationToken,
	}
	if cfg.LogLevel != "" {
		env = append(env, "LOG_LEVEL="+cfg.LogLevel)
	}
	if cfg.MUCModule != "" {
		folder, file := filepath.Split(cfg.MUCModule)
		env = append(env, "USHER_LOCAL_PLUGINS="+folder,
			"USHER_LOCAL_MUC_MODULE="+strings.TrimSuffix(strings.TrimPrefix(file, "mod_"), ".lua"),
			"USHER_LOCAL_MUC_MODULE_FILE="+cfg.MUCModuleFile)
	}
	if cfg.KeepPoolOut {
		env = append(env, "USHER_LOCAL_KEEP_POOL_OUT=1")
	}
	if cfg.ReservationURL != "" {
		env = append(env, "PROSODY_RESERVATION_REST_BASE_URL="+cfg.ReservationURL)
	}
	return append(env, cfg.Env...)
}

// copyFiles copies the files of a folder into another one, over those there.
func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	for _, entry := range entries {
		var data []byte
		if data, err = os.ReadFile(filepath.Join(from, entry.Name())); err == nil {
			err = os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600)
		}
		if err != nil {
			break
		}
	}
	return err
}

// writeSite puts everything that Prosody reads into dir.
func (p *Prosody) writeSite(dir string) error {
	if err := prosodyconfig.WriteLocal(dir); err != nil {
		return err
	}
	if err := writeCertificates(p.CAFile, filepath.Join(dir, "certs"), Domain, AuthDomain); err != nil {
		return err
	}
	for _, a := range accounts {
		// The layout of Prosody's internal storage: host names percent-encoded,
		// the account a Lua table. mod_auth_internal_hashed replaces a plain
		// password by its hash at the first login.
		folder := filepath.Join(dir, "data", strings.ReplaceAll(a.Domain, ".", "%2e"), "accounts")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		account := fmt.Sprintf("return { [\"password\"] = %q; };\n", a.Password)
		if err := os.WriteFile(filepath.Join(folder, a.User+".dat"), []byte(account), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// answers asks each of the three listeners once.
func (p *Prosody) answers(ctx context.Context) error {
	if err := openStream(ctx, p.ComponentAddr, "jabber:component:accept", ComponentDomain); err != nil {
		return fmt.Errorf("component port: %w", err)
	}
	if err := openStream(ctx, p.ClientAddr, "jabber:client", Domain); err != nil {
		return fmt.Errorf("client port: %w", err)
	}
	if err := getOK(ctx, (&url.URL{Scheme: "http", Host: p.HTTPAddr, Path: "/xmpp-websocket"}).String()); err != nil {
		return fmt.Errorf("http port: %w", err)
	}
	return nil
}

// openStream sends a stream header (RFC 6120 §4.2) and waits for one.
func openStream(ctx context.Context, addr, namespace, domain string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "<?xml version='1.0'?><stream:stream xmlns='%s' "+
		"xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>", namespace, domain)
	if err != nil {
		return err
	}
	answer := bufio.NewReader(conn)
	for {
		tag, err := answer.ReadString('>')
		if err != nil {
			return err
		}
		// A host that is not loaded yet is answered with a header and an error.
		if strings.Contains(tag, "<stream:error") {
			return fmt.Errorf("%s is not served", domain)
		}
		if strings.Contains(tag, "<stream:stream") && strings.Contains(tag, "from='"+domain+"'") {
			return nil
		}
	}
}

func getOK(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Close = true // Prosody may be restarted behind a kept connection
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}

// answerTimeout bounds one question to a server that starts; the next poll asks
// again.
const answerTimeout = time.Second

// dial connects to a server that starts; the connection gives up by itself.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: answerTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(answerTimeout))
}

// FreeAddr returns a loopback address, host:port, that nobody listens on now.
func FreeAddr() (string, error) {
	port, err := child.FreePort()
	return child.Loopback(port), err
}
