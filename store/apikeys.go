package store

import (
	"bytes"
	"context"
	"errors"
	"maps"

	"github.com/redis/go-redis/v9"
)

// APIKeys returns all that is stored about API keys, by slot.
func (r *Redis) APIKeys(ctx context.Context) (all map[string][]byte, err error) {
	err = r.do(opKeys, func() error {
		stored, err := r.rdb.HGetAll(ctx, r.keys.apiKeys()).Result()
		all = make(map[string][]byte, len(stored))
		for slot, key := range stored {
			all[slot] = []byte(key)
		}
		return err
	})
	return all, err
}

// AddAPIKey stores a key in the slot and reports whether that was free.
func (r *Redis) AddAPIKey(ctx context.Context, slot string, key []byte) (added bool, err error) {
	err = r.do(opKeys, func() error {
		added, err = r.rdb.HSetNX(ctx, r.keys.apiKeys(), slot, key).Result()
		return err
	})
	return added, err
}

var removeKeyScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
`)

// RemoveAPIKey empties the slot if it holds this very key.
func (r *Redis) RemoveAPIKey(ctx context.Context, slot string, key []byte) error {
	return r.do(opKeys, func() error {
		err := removeKeyScript.Run(ctx, r.rdb, []string{r.keys.apiKeys()}, slot, key).Err()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
}

// APIKeys returns all that is stored about API keys, by slot.
func (s *Memory) APIKeys(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.apiKeys), nil
}

// AddAPIKey stores a key in the slot and reports whether that was free.
func (s *Memory) AddAPIKey(_ context.Context, slot string, key []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.apiKeys[slot]; taken {
		return false, nil
	}
	put(&s.apiKeys, slot, key)
	return true, nil
}

// RemoveAPIKey empties the slot if it holds this very key.
func (s *Memory) RemoveAPIKey(_ context.Context, slot string, key []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(s.apiKeys[slot], key) {
		delete(s.apiKeys, slot)
	}
	return nil
}
