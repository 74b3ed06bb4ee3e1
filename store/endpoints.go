package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Endpoints returns all that is stored about webhook endpoints and the version
// of it. When the version is still the one that the caller knows, it returns
// nothing else.
func (r *Redis) Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error) {
	err = r.do(opWebhooks, func() error {
		version, err = r.rdb.Get(ctx, r.keys.endpointsVersion()).Result()
		if errors.Is(err, redis.Nil) {
			version, err = "0", nil
		}
		if err != nil || version == known {
			return err
		}
		// The version is read first: what changes in between is read again.
		documents, err := r.rdb.HGetAll(ctx, r.keys.endpoints()).Result()
		if err != nil {
			return err
		}
		disabled, err := r.rdb.HGetAll(ctx, r.keys.endpointsDisabled()).Result()
		all = joinEndpoints(documents, disabled)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return all, version, nil
}

// joinEndpoints makes one list of the two hashes.
func joinEndpoints[T ~string | ~[]byte](documents, disabled map[string]T) []meeting.StoredEndpoint {
	var all []meeting.StoredEndpoint
	for id, document := range documents {
		all = append(all, meeting.StoredEndpoint{ID: id, Document: json.RawMessage(document)})
	}
	for i := range all {
		if why, ok := disabled[all[i].ID]; ok {
			all[i].Disabled = json.RawMessage(why)
		}
	}
	for id, why := range disabled {
		if _, ok := documents[id]; !ok {
			all = append(all, meeting.StoredEndpoint{ID: id, Disabled: json.RawMessage(why)})
		}
	}
	return all
}

// putEndpointScript answers whether the endpoint was as expected. KEYS:
// documents, version. ARGV: id, the document expected or empty for none, the
// new one.
var putEndpointScript = redis.NewScript(`
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[2])
return 1
`)

// PutEndpoint stores a document in place of another, nil for none, and reports
// whether that was still the one stored. Repeating a call that failed may
// report false although the first one was done.
func (r *Redis) PutEndpoint(ctx context.Context, id string, was, document json.RawMessage) (bool, error) {
	var done bool
	err := r.do(opWebhooks, func() (err error) {
		done, err = putEndpointScript.Run(ctx, r.rdb, []string{r.keys.endpoints(), r.keys.endpointsVersion()},
			id, []byte(was), []byte(document)).Bool()
		return err
	})
	return done, err
}

// DisableEndpoint notes why and since when an endpoint is disabled; nil enables
// it. Its lanes stay as they are.
func (r *Redis) DisableEndpoint(ctx context.Context, id string, why json.RawMessage) error {
	return r.do(opWebhooks, func() error {
		_, err := r.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			if why == nil {
				p.HDel(ctx, r.keys.endpointsDisabled(), id)
			} else {
				p.HSet(ctx, r.keys.endpointsDisabled(), id, []byte(why))
			}
			p.Incr(ctx, r.keys.endpointsVersion())
			return nil
		})
		return err
	})
}

// deleteEndpointScript removes an endpoint and all that was kept for it. KEYS:
// documents, disabled, version, due, prefix of the lanes, and more that go.
// ARGV: id.
var deleteEndpointScript = redis.NewScript(`
local lanes = redis.call('ZRANGE', KEYS[4], 0, -1)
for _, meeting in ipairs(lanes) do
  redis.call('DEL', KEYS[5] .. meeting)
end
for i = 6, #KEYS do
  redis.call('DEL', KEYS[i])
end
redis.call('DEL', KEYS[4])
local known = redis.call('HDEL', KEYS[1], ARGV[1]) + redis.call('HDEL', KEYS[2], ARGV[1])
if known > 0 then
  redis.call('INCR', KEYS[3])
end
return known
`)

// DeleteEndpoint removes an endpoint, its lanes, its log and its dead letters.
// One that does not exist is no error.
func (r *Redis) DeleteEndpoint(ctx context.Context, id string) error {
	k := r.keys
	return r.do(opWebhooks, func() error {
		return deleteEndpointScript.Run(ctx, r.rdb, []string{
			k.endpoints(), k.endpointsDisabled(), k.endpointsVersion(), k.due(id), k.lanes(id),
			k.tries(id), k.gaps(id), k.health(id), k.attempts(id), k.dead(id),
		}, id).Err()
	})
}
