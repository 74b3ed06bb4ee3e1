package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Claim stores the value under the name for the given life and returns nil, or
// returns what is there already.
func (r *Redis) Claim(ctx context.Context, name string, value []byte, life time.Duration) (there []byte, err error) {
	defer r.measure(opReplies, time.Now(), &err)
	for range 2 { // what is there may expire before it is read
		err = r.rdb.SetArgs(ctx, r.keys.idempotency(name), value, redis.SetArgs{Mode: "NX", TTL: life}).Err()
		if errors.Is(err, redis.Nil) {
			there, err = r.rdb.Get(ctx, r.keys.idempotency(name)).Bytes()
		}
		if !errors.Is(err, redis.Nil) {
			break
		}
	}
	return there, err
}

// Keep stores the value under the name for the given life, whatever is there.
func (r *Redis) Keep(ctx context.Context, name string, value []byte, life time.Duration) (err error) {
	defer r.measure(opReplies, time.Now(), &err)
	return r.rdb.Set(ctx, r.keys.idempotency(name), value, life).Err()
}

// Release deletes what is stored under the name.
func (r *Redis) Release(ctx context.Context, name string) (err error) {
	defer r.measure(opReplies, time.Now(), &err)
	return r.rdb.Del(ctx, r.keys.idempotency(name)).Err()
}
