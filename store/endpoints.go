package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// hashesScript answers the epoch, the version of endpoints and keys, and what is
// in hashes, or an error in place of one. KEYS: epoch, version, then the hashes.
// A full Redis refuses what is read in MULTI, but not this.
var hashesScript = redis.NewScript(`
local all = {redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or ''}
for i = 3, #KEYS do
  all[i] = redis.pcall('HGETALL', KEYS[i])
end
return all
`)

// hashes reads hashes, the epoch and the version of endpoints and keys, all at
// one time. One that cannot be read is empty, and in the error.
func (r *Redis) hashes(ctx context.Context, keys ...string) (hashes []map[string]string, epoch, version string, err error) {
	hashes = make([]map[string]string, len(keys))
	answer, err := hashesScript.Run(ctx, r.rdb, append([]string{r.keys.epoch(), r.keys.endpointsVersion()}, keys...)).Slice()
	if err != nil {
		return hashes, "", "", err
	}
	epoch, _ = answer[0].(string)
	for i, found := range answer[2:] {
		refused, _ := found.(error)
		err = cmp.Or(err, refused)
		pairs, _ := found.([]any)
		hashes[i] = make(map[string]string, len(pairs)/2)
		for pair := range slices.Chunk(pairs, 2) {
			field, _ := pair[0].(string)
			hashes[i][field], _ = pair[1].(string)
		}
	}
	return hashes, epoch, fmt.Sprint(epoch, " ", answer[1]), err
}

// Endpoints returns all that is stored about webhook endpoints and the version
// of it. When the version is still the one that the caller knows, it returns
// nothing else.
func (r *Redis) Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error) {
	defer r.measure(opWebhooks, time.Now(), &err)
	_, epoch, version, err := r.hashes(ctx)
	if err == nil && version != known {
		var h []map[string]string
		h, epoch, version, err = r.hashes(ctx, r.keys.endpoints(), r.keys.endpointsDisabled())
		all = joinEndpoints(h[0], h[1])
	}
	if err == nil {
		err = r.check(epoch)
	}
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
func (r *Redis) PutEndpoint(ctx context.Context, id string, was, document json.RawMessage) (done bool, err error) {
	defer r.measure(opWebhooks, time.Now(), &err)
	done, err = r.runGuarded(ctx, putEndpointScript, []string{r.keys.endpoints(), r.keys.endpointsVersion()},
		id, []byte(was), []byte(document)).Bool()
	if done {
		r.mirror.set(r.keys.endpoints(), id, string(document))
	}
	return done, err
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
func (r *Redis) DisableEndpoint(ctx context.Context, id string, why json.RawMessage) (err error) {
	defer r.measure(opWebhooks, time.Now(), &err)
	err = r.runGuarded(ctx, disableEndpointScript,
		[]string{r.keys.endpointsDisabled(), r.keys.endpointsVersion()}, id, []byte(why)).Err()
	if err == nil {
		r.mirror.set(r.keys.endpointsDisabled(), id, string(why))
	}
	return err
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
func (r *Redis) DeleteEndpoint(ctx context.Context, id string) (err error) {
	defer r.measure(opWebhooks, time.Now(), &err)
	k := r.keys
	err = r.runGuarded(ctx, deleteEndpointScript, []string{
		k.endpoints(), k.endpointsDisabled(), k.endpointsVersion(), k.queues(), k.queued(id), k.queue(id, ""),
		k.retry(id), k.attempts(id), k.dead(id),
	}, id).Err()
	if err == nil {
		r.mirror.set(k.endpoints(), id, "")
		r.mirror.set(k.endpointsDisabled(), id, "")
	}
	return err
}
