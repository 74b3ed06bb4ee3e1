package store

import (
	"syscall"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
)

// TestClusterCallIsNotRepeated proves that a call of a cluster that timed out is
// carried out once at most, as of a single server: whoever made it tries again,
// and knows how.
func TestClusterCallIsNotRepeated(t *testing.T) {
	t.Parallel()
	group := stacktest.RedisCluster(t, 1, 0)
	r := must(NewRedis(Config{URL: group.URL, Site: "one"}))(t)
	defer r.Close()
	until(t, "the cluster answers", func() bool { return r.Ping(t.Context()) == nil })
	node := must(group.Master(t.Context(), "{one}probe"))(t)
	node.Signal(syscall.SIGSTOP)
	time.AfterFunc(callTimeout*3/2, func() { node.Signal(syscall.SIGCONT) }) // between the first try and the end of a second
	counter := string(r.keys) + "counter"
	err := r.rdb.Incr(t.Context(), counter).Err()
	if _, passes := judge(err); err == nil || !passes {
		t.Errorf("a call of a node that hangs = %v, want an error that passes", err)
	}
	until(t, "the cluster answers", func() bool { return r.Ping(t.Context()) == nil })
	if got := must(r.rdb.IncrBy(t.Context(), counter, 0).Result())(t); got != 1 {
		t.Errorf("the call was carried out %d times, want once", got)
	}
}
