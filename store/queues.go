package store

import (
	"context"
	_ "embed" // for the scripts
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// backlogSample is how many lists are looked into to say what waits: about a
// millisecond of Redis's time.
const backlogSample = 1000

var (
	//go:embed ack.lua
	ackSource string
	//go:embed moveold.lua
	moveOldSource string

	ackScript     = redis.NewScript(ackSource)
	moveOldScript = redis.NewScript(moveOldSource)
)

// fenced runs a script that answers 0 when another process leads, which becomes
// [meeting.ErrFenced]. It gets the fence as its first key, and our number as its
// first argument.
func (r *Redis) fenced(ctx context.Context, op string, script *redis.Script, keys []string, args ...any) (err error) {
	defer r.measure(op, time.Now(), &err)
	done, err := script.Run(ctx, r.rdb, append([]string{r.keys.fence()}, keys...), append([]any{r.fence.Load()}, args...)...).Bool()
	if err == nil && !done {
		err = meeting.ErrFenced
	}
	return err
}

// LoadQueue returns the meetings that have a list of events for an endpoint,
// and what is known of retries. It moves what an older version of usher kept
// under other keys, and notes that the endpoint may have lists. What cannot be
// read of retries is left out. Other errors: [meeting.ErrFenced].
func (r *Redis) LoadQueue(ctx context.Context, endpoint string) (meetings []string, retries map[string]meeting.Retry, h meeting.Health, err error) {
	k := r.keys
	err = r.fenced(ctx, opQueue, moveOldScript, []string{
		k.queues(), k.queued(endpoint), k.retry(endpoint), k.queue(endpoint, ""),
		k.oldDue(endpoint), k.oldTries(endpoint), k.oldGaps(endpoint), k.oldHealth(endpoint), k.oldLane(endpoint),
	}, endpoint)
	if err != nil {
		return nil, nil, h, err
	}
	defer r.measure(opQueue, time.Now(), &err)
	meetings, err = r.rdb.SMembers(ctx, k.queued(endpoint)).Result()
	if err != nil {
		return nil, nil, h, err
	}
	stored, err := r.rdb.HGetAll(ctx, k.retry(endpoint)).Result()
	retries = map[string]meeting.Retry{}
	for id, text := range stored {
		var unreadable error
		if id == healthField {
			h, unreadable = decode[meeting.Health](text, "health of "+endpoint)
		} else if retries[id], unreadable = decode[meeting.Retry](text, "retries of "+id); unreadable != nil {
			delete(retries, id)
		}
		if unreadable != nil {
			r.log.Error("leaving out what is known of webhook retries", "endpoint", endpoint, "err", unreadable)
		}
	}
	return meetings, retries, h, err
}

// QueuedEndpoints returns the endpoints that may have lists.
func (r *Redis) QueuedEndpoints(ctx context.Context) (ids []string, err error) {
	defer r.measure(opQueue, time.Now(), &err)
	return r.rdb.SMembers(ctx, r.keys.queues()).Result()
}

// ReadQueues returns the first events, limit at most, of an endpoint's lists of
// the given meetings.
func (r *Redis) ReadQueues(ctx context.Context, endpoint string, meetings []string, limit int) (_ [][]json.RawMessage, err error) {
	defer r.measure(opQueue, time.Now(), &err)
	replies, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range meetings {
			p.LRange(ctx, r.keys.queue(endpoint, id), 0, int64(limit)-1)
		}
		return nil
	})
	lists := make([][]json.RawMessage, len(meetings))
	for i, reply := range replies {
		for _, text := range reply.(*redis.StringSliceCmd).Val() {
			lists[i] = append(lists[i], json.RawMessage(text))
		}
	}
	return lists, err
}

// Ack stores what came of deliveries, in one script. A call that failed may be
// repeated, alone or together with what came later; entries of the delivery log
// may then be there twice. Other errors: [meeting.ErrFenced].
func (r *Redis) Ack(ctx context.Context, a meeting.Acks) error {
	k := r.keys
	keys := []string{k.queued(a.Endpoint), k.retry(a.Endpoint), k.attempts(a.Endpoint), k.dead(a.Endpoint)}
	args := []any{Retention.Milliseconds(), AttemptLog, len(a.Done)}
	for _, done := range a.Done {
		keys = append(keys, k.queue(a.Endpoint, done.MeetingID))
		args = append(args, done.MeetingID, done.Last, done.Count)
	}
	fields := len(a.Retries)
	if a.Health != nil {
		fields++
	}
	args = append(args, fields)
	for id, retry := range a.Retries {
		args = append(args, id, encodeUnlessZero(retry))
	}
	if a.Health != nil {
		args = append(args, healthField, encodeUnlessZero(*a.Health))
	}
	args = append(args, len(a.Tried))
	for _, t := range a.Tried {
		args = append(args, []byte(t.Record), []byte(t.Event), t.Dead)
	}
	return r.fenced(ctx, opAck, ackScript, keys, args...)
}

// healthField is the field of an endpoint's retries that holds its health.
const healthField = "health"

func encodeUnlessZero[T comparable](v T) []byte {
	var zero T
	if v == zero {
		return nil
	}
	return encode(v)
}

// requeueScript notes that an endpoint may have lists, and puts events into them.
// KEYS: fence, queues, queued, then the lists. ARGV: fencing number, endpoint,
// whether in front, then for each list its meeting, how many events and these.
// At the end an event that is the first of its list already is left out. In
// front that event and those behind it are: they were committed after the loss,
// or put back before.
var requeueScript = redis.NewScript(`
if (tonumber(redis.call('GET', KEYS[1])) or 0) > tonumber(ARGV[1]) then
  return 0
end
redis.call('SADD', KEYS[2], ARGV[2])
local in_front, a = ARGV[3] == '1', 4
for i = 4, #KEYS do
  local meeting, n = ARGV[a], tonumber(ARGV[a + 1])
  local first, missing = redis.call('LINDEX', KEYS[i], 0), 0
  for j = 1, n do
    local event = ARGV[a + 1 + j]
    if not in_front and event ~= first then
      redis.call('RPUSH', KEYS[i], event)
    elseif in_front and event == first then
      break
    end
    missing = j
  end
  for j = in_front and missing or 0, 1, -1 do
    redis.call('LPUSH', KEYS[i], ARGV[a + 1 + j])
  end
  redis.call('SADD', KEYS[3], meeting)
  a = a + 2 + n
end
return 1
`)

// Requeue puts events into an endpoint's lists, by meeting and each list in
// order: at the end, where one that is the first already stays where it is, or in
// front, after the store was emptied, which may be repeated. Other errors:
// [meeting.ErrFenced].
func (r *Redis) Requeue(ctx context.Context, endpoint string, lists map[string][]json.RawMessage, inFront bool) error {
	keys := []string{r.keys.queues(), r.keys.queued(endpoint)}
	args := []any{endpoint, inFront}
	for id, events := range lists {
		keys = append(keys, r.keys.queue(endpoint, id))
		args = append(args, id, len(events))
		for _, event := range events {
			args = append(args, []byte(event))
		}
	}
	return r.fenced(ctx, opQueue, requeueScript, keys, args...)
}

// backlogScript answers {lists, those looked at, events in these, timestamp of
// the oldest first event or empty, health or empty}. KEYS: queued, retry, prefix of the lists.
// ARGV: how many lists to look into, and the field of the health.
var backlogScript = redis.NewScript(`
local some = redis.call('SRANDMEMBER', KEYS[1], ARGV[1])
local events, oldest = 0, ''
for _, meeting in ipairs(some) do
  events = events + redis.call('LLEN', KEYS[3] .. meeting)
  local first = redis.call('LINDEX', KEYS[3] .. meeting, 0)
  local at = first and string.match(first, '"timestamp":"([^"]*)"')
  if at and (oldest == '' or at < oldest) then
    oldest = at
  end
end
return {redis.call('SCARD', KEYS[1]), #some, events, oldest, redis.call('HGET', KEYS[2], ARGV[2]) or ''}
`)

// Backlog says what waits for an endpoint.
func (r *Redis) Backlog(ctx context.Context, endpoint string) (b meeting.Backlog, err error) {
	defer r.measure(opWebhooks, time.Now(), &err)
	answer, err := backlogScript.Run(ctx, r.rdb,
		[]string{r.keys.queued(endpoint), r.keys.retry(endpoint), r.keys.queue(endpoint, "")}, backlogSample, healthField).Slice()
	if err != nil {
		return b, err
	}
	if len(answer) != 5 {
		return b, errUnreadable
	}
	lists, _ := answer[0].(int64)
	seen, _ := answer[1].(int64)
	events, _ := answer[2].(int64)
	oldest, _ := answer[3].(string)
	health, _ := answer[4].(string)
	b.Meetings, b.Events = int(lists), int(events)
	if seen > 0 {
		b.Events = int(events * lists / seen)
	}
	if oldest != "" {
		b.Oldest, err = time.Parse(time.RFC3339, oldest)
	}
	if health != "" {
		h, unreadable := decode[meeting.Health](health, "health of "+endpoint)
		if err = errors.Join(err, unreadable); h.Failing {
			b.FailingSince = time.Now().Add(-h.Since).UTC()
		}
	}
	return b, err
}
