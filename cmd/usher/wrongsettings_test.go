package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// TestEachWrongSetting gives usher serve, as a process of its own, one wrong setting
// after the other. Each is said by its name, with what mends it: those that nothing can
// be done with end usher at once, the others are in its log. What is about the names
// of the site is in TestNamesThatTheServerDoesNotKnow and TestNeverVisibleByMistake.
func TestEachWrongSetting(t *testing.T) {
	t.Parallel()
	young := stacktest.Redis(t)
	prosody := stacktest.Prosody(t, stack.ProsodyConfig{})
	_, redisHost, _ := strings.Cut(young.URL, "@")
	evicts := evictingRedis(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	config := func(text string) []string {
		return []string{"USHER_CONFIG=" + file(fmt.Sprintf("%d.json", len(text)), text)}
	}
	empty := file("empty", "\n")
	noFile := filepath.Join(dir, "nowhere")

	for _, row := range []struct {
		what  string
		env   []string
		ends  bool
		wants []string
	}{
		{"component secret", []string{"USHER_COMPONENT_SECRET=h1dden-secret"}, false, []string{"USHER_COMPONENT_SECRET", "set the same one for Prosody and restart Prosody"}},
		{"component to 5222", []string{"USHER_COMPONENT_ADDR=" + prosody.ClientAddr}, false, []string{"USHER_COMPONENT_ADDR", "its port for components, which is 5347"}},
		{"client to 5347", []string{"USHER_CLIENT_ADDR=" + prosody.ComponentAddr}, false, []string{"not the XMPP server's port for clients", "set USHER_CLIENT_ADDR"}},
		{"account missing", []string{"USHER_OCCUPANT_USER=nobody"}, false, []string{"no such account", "prosodyctl register nobody hidden.meet.jitsi PASSWORD"}},
		{"password wrong", []string{"USHER_OCCUPANT_PASSWORD=h1dden-password"}, false, []string{"USHER_OCCUPANT_PASSWORD", "prosodyctl register usher hidden.meet.jitsi PASSWORD"}},
		{"hidden domain", []string{"USHER_HIDDEN_DOMAIN=nowhere.meet.jitsi"}, false, []string{"does not know the domain nowhere.meet.jitsi", "USHER_HIDDEN_DOMAIN"}},
		{"CA unknown", []string{"USHER_TLS_CA_FILE="}, false, []string{"is not trusted", "set USHER_TLS_CA_FILE", "USHER_TLS_PIN", "USHER_TLS_INSECURE=true"}},
		{"pin of another", []string{"USHER_TLS_CA_FILE=", "USHER_TLS_PIN=" + strings.Repeat("0", 64)}, false, []string{"USHER_TLS_PIN", "SHA-256 of the one that Prosody has"}},
		{"Prosody down", []string{"USHER_COMPONENT_ADDR=127.0.0.1:1"}, false, []string{"no XMPP server listens on 127.0.0.1:1", "start Prosody, or set USHER_COMPONENT_ADDR"}},
		{"Redis down", []string{"USHER_REDIS_URL=redis://127.0.0.1:1"}, false, []string{`"level":"ERROR"`, "start Redis, or set USHER_REDIS_URL"}},
		{"Redis password", []string{"USHER_REDIS_URL=redis://:h1dden@" + redisHost}, false, []string{`"level":"ERROR"`, "USHER_REDIS_URL: redis://user:password@host"}},
		{"Redis evicts", []string{"USHER_REDIS_URL=" + evicts.URL}, false, []string{"maxmemory-policy allkeys-lru", "config set maxmemory-policy noeviction", "config set appendonly yes"}},
		{"Redis old", []string{"USHER_REDIS_URL=" + agedRedis(t, young.URL)}, false, []string{`"level":"ERROR"`, "redis is too old", "version 5.", "6.2 or newer", "USHER_REDIS_URL"}},
		{"mistyped variable", []string{"USHER_SITEURL=https://meet.example.org"}, false, []string{"there is no setting USHER_SITEURL, did you mean USHER_SITE_URL?"}},
		{"kept variable of before", []string{"USHER_WEBHOOK=crm=https://crm.example", "USHER_WEBHOOK_SECRET=crm=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}, false, []string{"one setting, USHER_WEBHOOKS"}},

		{"CA file missing", []string{"USHER_TLS_CA_FILE=" + noFile}, true, []string{"USHER_TLS_CA_FILE", noFile, "no such file"}},
		{"pin that is none", []string{"USHER_TLS_CA_FILE=", "USHER_TLS_PIN=abc"}, true, []string{"USHER_TLS_PIN", "not a SHA-256"}},
		{"Redis URL malformed", []string{"USHER_REDIS_URL=localhost:6379"}, true, []string{"redis-url", "redis://user:password@host:6379/0"}},
		{"port taken", []string{"USHER_LISTEN=" + taken.Addr().String()}, true, []string{"USHER_LISTEN", "address already in use"}},
		{"admin port taken", []string{"USHER_ADMIN_LISTEN=" + taken.Addr().String()}, true, []string{"USHER_ADMIN_LISTEN", "address already in use"}},
		{"no port", []string{"USHER_LISTEN=8480"}, true, []string{"listen", "host:port"}},
		{"secret file missing", []string{"USHER_COMPONENT_SECRET=", "USHER_COMPONENT_SECRET_FILE=" + noFile}, true, []string{"USHER_COMPONENT_SECRET_FILE", noFile}},
		{"secret file empty", []string{"USHER_COMPONENT_SECRET=", "USHER_COMPONENT_SECRET_FILE=" + empty}, true, []string{"USHER_COMPONENT_SECRET_FILE", empty + " is empty"}},
		{"VAR and VAR_FILE", []string{"USHER_COMPONENT_SECRET_FILE=" + empty}, true, []string{"USHER_COMPONENT_SECRET and USHER_COMPONENT_SECRET_FILE are both set"}},
		{"secret missing", []string{"USHER_COMPONENT_SECRET="}, true, []string{"component-secret is missing"}},
		{"key too short", []string{"USHER_API_KEY=h1dden"}, true, []string{"api-key has 6 characters, at least 16"}},
		{"JWT secret short", []string{"USHER_JWT_SECRET=h1dden"}, true, []string{"jwt-secret", "at least 32"}},
		{"half-set S3", []string{"USHER_S3_ENDPOINT=s3.example"}, true, []string{"s3-endpoint, s3-access-key and s3-secret-key belong together"}},
		{"site URL without scheme", []string{"USHER_SITE_URL=meet.example.org"}, true, []string{"site-url", "https://meet.example.org"}},
		{"public URL without scheme", []string{"USHER_PUBLIC_URL=meet.example.org"}, true, []string{"public-url"}},
		{"webhook", []string{`USHER_WEBHOOKS=[{"name":"crm","url":"https://crm.example","secrets":["h1dden"]}]`}, true, []string{"webhooks: endpoint crm", "whsec_"}},
		{"private receiver", []string{`USHER_WEBHOOKS=[{"name":"crm","url":"https://10.1.2.3","secrets":["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"]}]`}, true, []string{"webhooks: endpoint crm", "USHER_WEBHOOK_ALLOW"}},
		{"unknown key", config("{\"muc\": \"muc.meet.jitsi\",\n\"hiden_domain\": \"x\"}"), true, []string{".json:2", `"hiden_domain"`, "did you mean hidden-domain?"}},
		{"YAML", config("muc: muc.meet.jitsi\n"), true, []string{".json:1", "not a JSON object"}},
		{"half-written config", config("{\"muc\": \"muc.meet.jitsi\",\n\"hidden-do"), true, []string{".json:2", "it ends in the middle"}},
		{"config missing", []string{"USHER_CONFIG=" + noFile}, true, []string{"config: ", noFile}},
		{"a number that is none", []string{"USHER_API_BURST=many"}, true, []string{"USHER_API_BURST", `"many"`, "1 or more"}},
		{"redis-server missing", []string{"PATH=" + dir}, true, []string{"USHER_REDIS_URL", "redis-server", "apt-get install -y redis-server"}},
		{"data directory", []string{"USHER_DATA_DIR=" + empty}, true, []string{"USHER_DATA_DIR", empty}},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			p := startWrong(t, append([]string{
				"USHER_LISTEN=127.0.0.1:0", "USHER_ADMIN_LISTEN=127.0.0.1:0", "USHER_API_KEY=0123456789abcdef", "USHER_DATA_DIR=" + t.TempDir(),
				"USHER_COMPONENT_ADDR=" + prosody.ComponentAddr, "USHER_CLIENT_ADDR=" + prosody.ClientAddr, "USHER_TLS_CA_FILE=" + prosody.CAFile,
				// Of all of them no two may have the component's stream.
				"USHER_COMPONENT_SECRET=h1dden-secret", "USHER_OCCUPANT_PASSWORD=" + stack.Usher.Password,
			}, row.env...))
			p.says(row.wants...)
			if row.ends {
				p.failed()
			}
			if text := p.log.String(); strings.Contains(text, "h1dden") || strings.Contains(text, "labelled") {
				t.Errorf("it says %s, want no secret, and no other mode", text)
			}
		})
	}
}

// wrongUsher is a process of usher serve that has a wrong setting.
type wrongUsher struct {
	t     *testing.T
	log   *logText
	ended chan error
}

func startWrong(t *testing.T, env []string) *wrongUsher {
	t.Helper()
	p := &wrongUsher{t, &logText{}, make(chan error, 1)}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve")
	cmd.Env, cmd.Stderr = append([]string{beUsher(), "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")}, env...), p.log
	must(t, cmd.Start())
	done := make(chan struct{})
	go func() { p.ended <- cmd.Wait(); close(done) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	return p
}

// says waits for one line with all of that. On an idle machine it takes 1.2 s at most;
// how long without the machine is in the test of the monitor.
func (p *wrongUsher) says(want ...string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for line := range strings.Lines(p.log.String()) {
			if containsAll(line, want) {
				return
			}
		}
	}
	p.t.Fatalf("it says %s, want a line with %q", p.log, want)
}

// failed waits for the end, which must be that of a refusal.
func (p *wrongUsher) failed() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			p.t.Errorf("it ended with %v, want exit code 1", err)
		}
	case <-time.After(patience):
		p.t.Error("it goes on")
	}
}

// evictingRedis is one that throws entries away, as caches do.
func evictingRedis(t *testing.T) *child.Redis {
	t.Helper()
	r := stacktest.Redis(t)
	opts, err := redis.ParseURL(r.URL)
	must(t, err)
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	for _, set := range [][2]string{{"appendonly", "no"}, {"maxmemory", "100mb"}, {"maxmemory-policy", "allkeys-lru"}} {
		must(t, rdb.ConfigSet(t.Context(), set[0], set[1]).Err())
	}
	return r
}

// agedRedis returns the URL of a way to the Redis on which it says that it is old.
func agedRedis(t *testing.T, young string) string {
	t.Helper()
	u, err := url.Parse(young)
	must(t, err)
	addr := u.Host
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	u.Host = ln.Addr().String()
	version := regexp.MustCompile(`redis_version:\d`)
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() {
				defer client.Close()
				part := make([]byte, 64<<10)
				for {
					n, err := server.Read(part)
					if _, writeErr := client.Write(version.ReplaceAll(part[:n], []byte("redis_version:5"))); err != nil || writeErr != nil {
						return
					}
				}
			}()
		}
	}()
	return u.String()
}
