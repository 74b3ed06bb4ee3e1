package stacktest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/child"
)

const (
	// nodeTimeout is how long a server of a group may be silent before the
	// others replace it: short for a test, long for a machine that is busy.
	nodeTimeout = 1500 * time.Millisecond
	// groupTimeout bounds each step of forming a group, which takes a second.
	groupTimeout = time.Minute
	groupPoll    = 20 * time.Millisecond
	// slots is how many slots the masters of a cluster share.
	slots = 16384
	// masterName is what sentinels call the master that they watch.
	masterName = "main"
)

// RedisGroup is several redis-servers of which one takes over when another
// dies.
type RedisGroup struct {
	URL   string // as usher takes it
	nodes []*redisNode
}

// redisNode is one server. Its client speaks to it alone: redirections are
// errors.
type redisNode struct {
	*child.Process
	*redis.Client
	ports []int // the one for clients first
}

// RedisCluster starts a Redis Cluster for the test, with as many masters and
// replicas of them, and returns when each node knows it to work.
func RedisCluster(t testing.TB, masters, replicas int) *RedisGroup {
	t.Helper()
	password := rand.Text()
	g := &RedisGroup{}
	for range masters + replicas {
		g.start(t, password, 2, func(ports []int) string {
			return fmt.Sprintf(`cluster-enabled yes
cluster-port %d
cluster-node-timeout %d
# A replica takes over however old its state is.
cluster-replica-validity-factor 0
`, ports[1], nodeTimeout.Milliseconds())
		})
	}
	g.URL = groupURL(password, g.nodes)
	ids := make([]string, masters)
	for i, n := range g.nodes[:masters] {
		g.do(t, n, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		g.do(t, n, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		ids[i] = fmt.Sprint(g.do(t, n, "CLUSTER", "MYID"))
	}
	for _, n := range g.nodes[1:] {
		g.do(t, g.nodes[0], "CLUSTER", "MEET", "127.0.0.1", n.ports[0], n.ports[1])
	}
	g.wait(t, "the nodes know each other", func(n *redisNode) bool {
		return strings.Contains(n.ClusterInfo(t.Context()).Val(), fmt.Sprintf("cluster_known_nodes:%d\r", len(g.nodes)))
	})
	for i, n := range g.nodes[masters:] {
		g.do(t, n, "CLUSTER", "REPLICATE", ids[i%masters])
	}
	g.wait(t, "the cluster works", func(n *redisNode) bool {
		known := 0
		for _, shard := range n.ClusterShards(t.Context()).Val() {
			known += len(shard.Nodes)
		}
		return known == len(g.nodes) && strings.Contains(n.ClusterInfo(t.Context()).Val(), "cluster_state:ok") && replicates(t, n)
	})
	return g
}

// RedisSentinels starts a master and a replica for the test, and three sentinels
// that watch them and ask for a password of their own, and returns when these could replace the master.
func RedisSentinels(t testing.TB) *RedisGroup {
	t.Helper()
	password := rand.Text()
	g := &RedisGroup{}
	master := g.start(t, password, 1, func([]int) string { return "" })
	g.start(t, password, 1, func([]int) string { return fmt.Sprintf("replicaof 127.0.0.1 %d\n", master.ports[0]) })
	sentinels, own := &RedisGroup{}, rand.Text()
	for range 3 {
		sentinels.start(t, own, 1, func([]int) string {
			return fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]d 2
sentinel auth-pass %[1]s %[3]s
sentinel down-after-milliseconds %[1]s %[4]d
sentinel sentinel-pass %[5]s
`, masterName, master.ports[0], password, nodeTimeout.Milliseconds(), own)
		}, "--sentinel")
	}
	g.URL = groupURL(password, sentinels.nodes) + "&master_name=" + masterName + "&sentinel_password=" + own
	g.wait(t, "the replica has all", func(n *redisNode) bool { return replicates(t, n) })
	sentinels.wait(t, "the sentinels know the replica and each other", func(n *redisNode) bool {
		state := n.Info(t.Context(), "sentinel").Val()
		return strings.Contains(state, "status=ok") && strings.Contains(state, "slaves=1,sentinels=3")
	})
	return g
}

// groupURL names the nodes as usher takes them.
func groupURL(password string, nodes []*redisNode) string {
	var url strings.Builder
	for i, n := range nodes {
		switch i {
		case 0:
			fmt.Fprintf(&url, "redis://:%s@%s/0?addr=%[2]s", password, n.addr())
		default:
			fmt.Fprintf(&url, "&addr=%s", n.addr())
		}
	}
	return url.String()
}

// replicates reports whether a node is a master, or a replica that has what its
// master has.
func replicates(t testing.TB, n *redisNode) bool {
	state := n.Info(t.Context(), "replication").Val()
	return strings.Contains(state, "role:master") || strings.Contains(state, "master_link_status:up")
}

func (n *redisNode) addr() string { return child.Loopback(n.ports[0]) }

// start adds a server with as many ports and the lines in its configuration.
func (g *RedisGroup) start(t testing.TB, password string, ports int, lines func(ports []int) string, args ...string) *redisNode {
	t.Helper()
	Needed(t)
	n := &redisNode{}
	process, err := child.Start(t.Context(), t.TempDir(), ports, func(dir string, ports []int) (child.Program, error) {
		if n.Client != nil {
			_ = n.Client.Close() // of a try on other ports
		}
		n.ports = ports
		n.Client = redis.NewClient(&redis.Options{
			Addr: n.addr(), Password: password, MaxRetries: -1, DialerRetries: 1,
			DialTimeout: time.Second, ReadTimeout: time.Second, ContextTimeoutEnabled: true,
		})
		config := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir ./\n", ports[0]) + lines(ports)
		config += fmt.Sprintf("requirepass %s\n", password)
		if len(args) == 0 { // no sentinel
			config += fmt.Sprintf("masterauth %s\nsave \"\"\nappendonly yes\nrepl-diskless-sync-delay 0\n", password)
		}
		return child.Program{
			Name: "redis-server", Args: append([]string{"redis.conf"}, args...), Timeout: groupTimeout,
			BindFailure: "Could not create server TCP listening socket", OnDeath: syscall.SIGKILL,
			Answers: func(ctx context.Context) error { return n.Ping(ctx).Err() },
		}, os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(config), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Process = process
	t.Cleanup(func() { _ = n.Client.Close(); n.Kill() })
	g.nodes = append(g.nodes, n)
	return n
}

func (g *RedisGroup) do(t testing.TB, n *redisNode, args ...any) any {
	t.Helper()
	answer, err := n.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatal(args, err)
	}
	return answer
}

// wait returns once all nodes are as wanted.
func (g *RedisGroup) wait(t testing.TB, what string, ok func(*redisNode) bool) {
	t.Helper()
	deadline := time.Now().Add(groupTimeout)
	for _, n := range g.nodes {
		for ; !ok(n); time.Sleep(groupPoll) {
			if time.Now().After(deadline) {
				t.Fatalf("not so within %v at %s: %s", groupTimeout, n.Log(), what)
			}
		}
	}
}

// Master returns the server that takes writes of the key now.
func (g *RedisGroup) Master(ctx context.Context, key string) (*child.Process, error) {
	var all error
	for _, n := range g.nodes {
		err := n.Set(ctx, key, "", 0).Err()
		if err == nil {
			return n.Process, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// Detach has the replicas of a group with one master miss what that is told from
// now on, as if they lagged.
func (g *RedisGroup) Detach(t testing.TB) {
	t.Helper()
	for _, n := range g.nodes {
		if strings.Contains(n.Info(t.Context(), "replication").Val(), "role:slave") {
			g.do(t, n, "CONFIG", "SET", "masterauth", "wrong")
		}
	}
	for _, n := range g.nodes {
		g.do(t, n, "CLIENT", "KILL", "TYPE", "replica")
	}
}

// WaitMaster returns once a server takes writes of the key, which it asks each
// one for by itself.
func (g *RedisGroup) WaitMaster(ctx context.Context, key string) error {
	for deadline := time.Now().Add(groupTimeout); ; time.Sleep(groupPoll) {
		if _, err := g.Master(ctx, key); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
