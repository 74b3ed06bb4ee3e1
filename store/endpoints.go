package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"usher/meeting"
)

// Endpoints returns all that is stored about webhook endpoints and the version
// of it. When the version is still the one that the caller knows, it returns
// nothing else.
func (r *Redis) Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error) {
	err = r.do(opWebhooks, func() error {
		v, hashes, err := r.settings(ctx, parseSettingsVersion(known), r.keys.endpoints(), r.keys.endpointsDisabled())
		if hashes != nil {
			all = joinEndpoints(hashes[0], hashes[1])
		}
		version = v.String()
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return all, version, nil
}

// joinEndpoints makes one list of the two hashes.
func joinEndpoints(documents, disabled map[string]string) []meeting.StoredEndpoint {
	byID := map[string]meeting.StoredEndpoint{}
	for id, document := range documents {
		byID[id] = meeting.StoredEndpoint{ID: id, Document: json.RawMessage(document)}
	}
	for id, why := range disabled {
		byID[id] = meeting.StoredEndpoint{ID: id, Document: byID[id].Document, Disabled: json.RawMessage(why)}
	}
	return slices.Collect(maps.Values(byID))
}

// putEndpointScript answers whether the endpoint was as expected. KEYS:
// documents, version. ARGV: id, the document expected or empty for none, the
// new one.
var putEndpointScript = guarded(`
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
		done, err = r.runGuarded(ctx, putEndpointScript, []string{r.keys.endpoints(), r.keys.endpointsVersion()},
			id, []byte(was), []byte(document)).Bool()
		return err
	})
	return done, r.changed(ctx, err)
}

// disableEndpointScript: KEYS: disabled, version. ARGV: id, why or nothing.
var disableEndpointScript = guarded(`
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return redis.call('INCR', KEYS[2])
`)

// DisableEndpoint notes why and since when an endpoint is disabled; nil enables
// it. What waits for it stays as it is.
func (r *Redis) DisableEndpoint(ctx context.Context, id string, why json.RawMessage) error {
	return r.changed(ctx, r.do(opWebhooks, func() error {
		return r.runGuarded(ctx, disableEndpointScript,
			[]string{r.keys.endpointsDisabled(), r.keys.endpointsVersion()}, id, []byte(why)).Err()
	}))
}

// deleteEndpointScript removes an endpoint and all that was kept for it. KEYS:
// documents, disabled, version, queues, queued, prefix of the lists, and more
// that go. ARGV: id.
var deleteEndpointScript = guarded(`
for _, meeting in ipairs(redis.call('SMEMBERS', KEYS[5])) do
  redis.call('DEL', KEYS[6] .. meeting)
end
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[5])
for i = 7, #KEYS do
  redis.call('DEL', KEYS[i])
end
local known = redis.call('HDEL', KEYS[1], ARGV[1]) + redis.call('HDEL', KEYS[2], ARGV[1])
if known > 0 then
  redis.call('INCR', KEYS[3])
end
return known
`)

// DeleteEndpoint removes an endpoint, what waits for it, its log and its dead
// letters. One that does not exist is no error.
func (r *Redis) DeleteEndpoint(ctx context.Context, id string) error {
	k := r.keys
	return r.changed(ctx, r.do(opWebhooks, func() error {
		return r.runGuarded(ctx, deleteEndpointScript, []string{
			k.endpoints(), k.endpointsDisabled(), k.endpointsVersion(), k.queues(), k.queued(id), k.queue(id, ""),
			k.retry(id), k.attempts(id), k.dead(id),
		}, id).Err()
	}))
}
