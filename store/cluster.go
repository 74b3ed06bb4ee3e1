package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// newClient connects to one server, to the master that sentinels name, or to a
// cluster.
func newClient(o *redis.UniversalOptions) redis.UniversalClient {
	if o.MasterName != "" || len(o.Addrs) == 1 {
		return redis.NewUniversalClient(o)
	}
	options := o.Cluster()
	options.DisableRoutingPolicies = true // each call goes to the node of its key
	c := redis.NewClusterClient(options)
	c.AddHook(clusterHook{c})
	return c
}

// clusterHook makes calls of a cluster behave as those of one server do, and
// find a new master soon. By itself go-redis repeats a call that timed out, and
// asks which node has a slot only when a node sends it elsewhere, which a dead
// one never does, or once a minute.
type clusterHook struct{ client *redis.ClusterClient }

func (h clusterHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h clusterHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, longestCall)
		defer cancel()
		return h.noteFailure(ctx, next(ctx, once{cmd}))
	}
}

// ProcessPipelineHook is for reads, and for transactions that may be repeated.
func (h clusterHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, longestCall)
		defer cancel()
		return h.noteFailure(ctx, next(ctx, cmds))
	}
}

// noteFailure has the slots asked for anew when a node does not answer, or says
// that the cluster does not work as it sees it: it may have been replaced. That
// is done in the background and at most five times a second.
func (h clusterHook) noteFailure(ctx context.Context, err error) error {
	var reply redis.Error
	if err != nil && (!errors.As(err, &reply) || redis.IsClusterDownError(err)) {
		h.client.ReloadState(ctx)
	}
	return err
}

// once is a command that is sent again only to where a node has redirected it.
type once struct{ redis.Cmder }

func (once) NoRetry() bool { return true }
