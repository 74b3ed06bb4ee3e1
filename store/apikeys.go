package store

import (
	"context"
	"time"
)

// APIKeys returns all that is stored about API keys, by slot.
func (r *Redis) APIKeys(ctx context.Context) (_ map[string][]byte, err error) {
	defer r.measure(opKeys, time.Now(), &err)
	stored, err := r.rdb.HGetAll(ctx, r.keys.apiKeys()).Result()
	if err == nil {
		err = r.checkNow(ctx) // or all keys would be taken for revoked
	}
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte, len(stored))
	for slot, key := range stored {
		all[slot] = []byte(key)
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
	defer r.measure(opKeys, time.Now(), &err)
	added, err = r.runGuarded(ctx, addKeyScript, []string{r.keys.apiKeys(), r.keys.endpointsVersion()}, slot, key).Bool()
	if added {
		r.mirror.set(r.keys.apiKeys(), slot, string(key))
	}
	return added, err
}

// removeKeyScript: KEYS: keys, version. ARGV: slot, key.
var removeKeyScript = guarded(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('INCR', KEYS[2])
return 1
`)

// RemoveAPIKey empties the slot if it holds this very key.
func (r *Redis) RemoveAPIKey(ctx context.Context, slot string, key []byte) (err error) {
	defer r.measure(opKeys, time.Now(), &err)
	removed, err := r.runGuarded(ctx, removeKeyScript, []string{r.keys.apiKeys(), r.keys.endpointsVersion()}, slot, key).Bool()
	if removed {
		r.mirror.set(r.keys.apiKeys(), slot, "")
	}
	return err
}
