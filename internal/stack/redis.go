package stack

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// redisPatience is how long redis-server may take to answer: it first reads
// its whole append-only file.
const redisPatience = 2 * time.Minute

// Redis is a redis-server child.
type Redis struct {
	*Process
	// URL is what clients connect to, password included
	// (redis://:password@127.0.0.1:port/0).
	URL string
}

// StartRedis starts a redis-server whose data lives in dir and survives into
// the next start there. It blocks until the server answers or ctx ends.
//
// Every write goes to the append-only file, which reaches the disk within a
// second. The death of this program loses nothing; that of redis-server or of
// the machine may lose the last one or two seconds. The server asks for a password, made anew at each
// start, because every user of the machine can reach a loopback port.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	dir, err := ownFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	r := &Redis{}
	r.Process, err = startOnFreePorts(ctx, 1, func(ports []int) (program, error) {
		password := rand.Text()
		r.URL = fmt.Sprintf("redis://:%s@%s/0", password, loopback(ports[0]))
		return redisProgram(dir, ports[0], password)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// redisProgram writes the configuration for port into dir.
func redisProgram(dir string, port int, password string) (program, error) {
	return program{
		name:          "redis-server",
		debianPackage: "redis-server",
		dir:           dir,
		args:          []string{"redis.conf"},
		patience:      redisPatience,
		bindFailure:   "Could not create server TCP listening socket",
		// It then writes what it has acknowledged and not yet handed to the
		// kernel, which it may put off for two seconds while the disk is slow.
		onDeath: syscall.SIGTERM,
		answers: func(ctx context.Context) error {
			return pingRedis(ctx, loopback(port), password)
		},
	}, os.WriteFile(filepath.Join(dir, "redis.conf"), redisConfig(port, password), 0o600)
}

func redisConfig(port int, password string) []byte {
	return fmt.Appendf(nil, `# Written anew at each start.
bind 127.0.0.1
port %d
requirepass %s
# The folder of this file: redis-server is started in it.
dir ./
# Every write goes to the file at once and to the disk within a second.
appendonly yes
appendfsync everysec
# The append-only file holds everything; snapshots would only cost a fork.
save ""
# A full Redis refuses writes; it never throws state away.
maxmemory-policy noeviction
`, port, password)
}

// pingRedis authenticates and pings once, in Redis's inline form.
func pingRedis(ctx context.Context, addr, password string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", password); err != nil {
		return err
	}
	answer := bufio.NewReader(conn)
	for _, want := range []string{"+OK", "+PONG"} {
		line, err := answer.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.TrimSpace(line); line != want {
			return fmt.Errorf("answered %q, not %q", line, want)
		}
	}
	return nil
}

// answerPatience bounds one question to a server that starts; the next poll
// asks again.
const answerPatience = time.Second

// dial connects to a server that starts; the connection gives up by itself.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: answerPatience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(answerPatience))
}

// ownFolder makes dir, readable by nobody else, and returns its absolute path.
func ownFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}
