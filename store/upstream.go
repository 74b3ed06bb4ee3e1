package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// Meetings of another server that usher's API has made there, and the webhooks
// that come from it. They have no tracker: all that is known here is where they
// are.

// ForwardedRetention is how long a forwarded event is known by its id, so that a
// repetition is left out.
const ForwardedRetention = 48 * time.Hour

// putUpstreamScript notes a meeting, and forgets those whose time is long over.
// KEYS: epoch (see guarded), room, all of them. ARGV: id, end in ms, retention.
var putUpstreamScript = guarded(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local kept = ARGV[2] - now + ARGV[3]
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', string.format('%.0f', math.max(kept, ARGV[3])))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[3]))
return 1
`)

// PutUpstream notes that a meeting of another server has the room until its end.
// It may be repeated.
func (r *Redis) PutUpstream(ctx context.Context, id, room string, end time.Time) (err error) {
	defer r.measure(opUpstream, time.Now(), &err)
	return r.runGuarded(ctx, putUpstreamScript, []string{r.keys.upstreamRoom(room), r.keys.upstream()},
		id, end.UnixMilli(), Retention.Milliseconds()).Err()
}

// UpstreamMeeting returns the id of the room's meeting at another server, empty
// for one that this server knows nothing of.
func (r *Redis) UpstreamMeeting(ctx context.Context, room string) (id string, err error) {
	defer r.measure(opUpstream, time.Now(), &err)
	if id, err = r.rdb.Get(ctx, r.keys.upstreamRoom(room)).Result(); errors.Is(err, redis.Nil) {
		err = nil
	}
	return id, err
}

// UpstreamOpen returns how many of the meetings at another server are not past
// their end.
func (r *Redis) UpstreamOpen(ctx context.Context) (n int64, err error) {
	defer r.measure(opUpstream, time.Now(), &err)
	return r.rdb.ZCount(ctx, r.keys.upstream(), millis(time.Now()), "+inf").Result()
}

// forwardScript puts an event at the end of an endpoint's list of a meeting, for
// several endpoints, unless an event of the same id was. It answers 1, 2 for one
// that is known, or 0 when another process leads. KEYS: fence, the event, then list
// and queued of each endpoint. ARGV: fencing number, retention in ms, meeting,
// event.
var forwardScript = redis.NewScript(`
if (tonumber(redis.call('GET', KEYS[1])) or 0) > tonumber(ARGV[1]) then
  return 0
end
if not redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then
  return 2
end
for i = 3, #KEYS, 2 do
  if redis.call('RPUSH', KEYS[i], ARGV[4]) == 1 then
    redis.call('SADD', KEYS[i + 1], ARGV[3])
  end
end
return 1
`)

// Forward puts an event that another server has made at the end of the endpoints'
// lists of a meeting, all or none of them, and reports false if an event with this
// id was put there before. It may be repeated. Other errors: [meeting.ErrFenced].
func (r *Redis) Forward(ctx context.Context, id, meetingID string, event json.RawMessage, endpoints []string) (fresh bool, err error) {
	defer r.measure(opQueue, time.Now(), &err)
	keys := []string{r.keys.fence(), r.keys.forwarded(id)}
	for _, endpoint := range endpoints {
		keys = append(keys, r.keys.queue(endpoint, meetingID), r.keys.queued(endpoint))
	}
	answer, err := forwardScript.Run(ctx, r.rdb, keys, r.fence.Load(), ForwardedRetention.Milliseconds(), meetingID, []byte(event)).Int()
	if err == nil && answer == 0 {
		err = meeting.ErrFenced
	}
	return answer == 1, err
}
