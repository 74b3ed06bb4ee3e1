package store

import (
	"context"
)

// APIKeys returns all that is stored about API keys, by slot.
func (r *Redis) APIKeys(ctx context.Context) (all map[string][]byte, err error) {
	err = r.do(opKeys, func() error {
		stored, err := r.rdb.HGetAll(ctx, r.keys.apiKeys()).Result()
		if err != nil {
			return err
		}
		all = make(map[string][]byte, len(stored))
		for slot, key := range stored {
			all[slot] = []byte(key)
		}
		return r.checkNow(ctx) // or all keys would be taken for revoked
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// addKeyScript: KEYS: keys, version. ARGV: slot, key.
var addKeyScript = guarded(`
local added = redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
if added == 1 then
  redis.call('INCR', KEYS[2])
end
return added
`)

// AddAPIKey stores a key in the slot and reports whether that was free.
func (r *Redis) AddAPIKey(ctx context.Context, slot string, key []byte) (added bool, err error) {
	err = r.do(opKeys, func() error {
		added, err = r.runGuarded(ctx, addKeyScript, []string{r.keys.apiKeys(), r.keys.endpointsVersion()}, slot, key).Bool()
		return err
	})
	return added, r.changed(ctx, err)
}

// removeKeyScript: KEYS: keys, version. ARGV: slot, key.
var removeKeyScript = guarded(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('INCR', KEYS[2])
end
return 1
`)

// RemoveAPIKey empties the slot if it holds this very key.
func (r *Redis) RemoveAPIKey(ctx context.Context, slot string, key []byte) error {
	return r.changed(ctx, r.do(opKeys, func() error {
		return r.runGuarded(ctx, removeKeyScript, []string{r.keys.apiKeys(), r.keys.endpointsVersion()}, slot, key).Err()
	}))
}
