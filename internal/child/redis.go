package child

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// redisTimeout is how long redis-server may take to answer: it first reads
	// its whole append-only file.
	redisTimeout = 2 * time.Minute
	// pingTimeout bounds one question to a redis-server that starts; the next
	// poll asks again.
	pingTimeout = time.Second
)

const redisServer = "redis-server"

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
// the machine may lose the last one or two seconds. The server asks for a
// password, made anew at each start, because every user of the machine can reach
// a loopback port.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	r := &Redis{}
	process, err := Start(ctx, dir, 1, func(dir string, ports []int) (Program, error) {
		return r.program(dir, ports[0])
	})
	if err != nil {
		return nil, err
	}
	r.Process = process
	return r, nil
}

// InUse reports whether a redis-server of [StartRedis] runs in dir. It changes
// nothing there and does not block. It returns an error when it may not look.
func InUse(dir string) (bool, error) {
	file, err := os.Open(filepath.Join(dir, redisServer+lockSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// program writes the configuration for the port into dir and sets r's URL.
func (r *Redis) program(dir string, port int) (Program, error) {
	password := rand.Text()
	r.URL = fmt.Sprintf("redis://:%s@%s/0", password, Loopback(port))
	return Program{
		Name:        redisServer,
		Args:        []string{"redis.conf"},
		Timeout:     redisTimeout,
		BindFailure: "Could not create server TCP listening socket",
		// It then writes what it has acknowledged and not yet handed to the
		// kernel, which it may put off for two seconds while the disk is slow.
		OnDeath: syscall.SIGTERM,
		Answers: func(ctx context.Context) error { return ping(ctx, Loopback(port), password) },
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

// ping asks a redis-server once.
func ping(ctx context.Context, addr, password string) error {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: password, MaxRetries: -1, DialTimeout: pingTimeout, ReadTimeout: pingTimeout})
	defer func() { _ = client.Close() }()
	return client.Ping(ctx).Err()
}
