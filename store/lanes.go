package store

import (
	"context"
	_ "embed" // for the script
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

const (
	// failingAfter is how many failures in a row make an endpoint a failing one:
	// more than chance brings together where a few of a hundred fail. The second
	// failure of one notice does it too, if nothing succeeded in between, because
	// a quiet endpoint would otherwise need minutes to show that it is down.
	failingAfter = 5
	// backlogSample is how many lanes are looked into to say what waits: about
	// a millisecond of Redis's time.
	backlogSample = 1000
	// replayBatch is how many notices one script puts back into lanes.
	replayBatch = MaxPage
)

//go:embed exchange.lua
var exchangeSource string

var exchangeScript = redis.NewScript(exchangeSource)

// Exchange hands in settlements and takes claims, in one script. A call that
// failed may be repeated: a claim is settled once. Claims that the failed call
// gave out come back when their lease is over. It blocks for four seconds at
// most. An error that wraps [meeting.ErrUnavailable] may pass.
func (r *Redis) Exchange(ctx context.Context, x meeting.Exchange) (meeting.Exchanged, error) {
	k := r.keys
	args := []any{
		x.Take, x.Token, x.Lease.Milliseconds(), x.Probe.Milliseconds(), x.Hurry,
		Retention.Milliseconds(), AttemptLog, failingAfter, len(x.Settled),
	}
	for _, s := range x.Settled {
		args = append(args, s.MeetingID, s.Token, string(s.Verdict), s.Failures, s.Refusals,
			s.Schedule.Milliseconds(), s.Ask.Milliseconds(), s.Fault, []byte(s.Record))
	}
	var answer []any
	err := r.do(opExchange, func() (err error) {
		answer, err = exchangeScript.Run(ctx, r.rdb, []string{
			k.due(x.Endpoint), k.tries(x.Endpoint), k.gaps(x.Endpoint), k.health(x.Endpoint),
			k.dead(x.Endpoint), k.attempts(x.Endpoint), k.lanes(x.Endpoint),
		}, args...).Slice()
		return err
	})
	if err != nil {
		return meeting.Exchanged{}, err
	}
	return readExchanged(answer)
}

func readExchanged(answer []any) (meeting.Exchanged, error) {
	l := list{values: answer}
	wait, since, stale := l.number(), l.number(), l.number()
	x := meeting.Exchanged{Next: time.Duration(wait) * time.Millisecond, FailingSince: since.time(), Stale: int(stale)}
	for len(l.values) > 0 && !l.short {
		x.Claims = append(x.Claims, meeting.Claim{
			MeetingID: l.text(), Token: l.text(), Notice: json.RawMessage(l.text()),
			Failures: int(l.number()), Refusals: int(l.number()),
			Counts: l.number() == 1, Gap: l.number() == 1,
		})
	}
	if l.short {
		return meeting.Exchanged{}, fmt.Errorf("store: exchange: %w", errUnreadable)
	}
	return x, nil
}

// list takes a script's answer apart.
type list struct {
	values []any
	short  bool // it held less than was asked for
}

type number int64

// time reads milliseconds; 0 is the zero time.
func (n number) time() time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n)).UTC()
}

func (l *list) next() any {
	if len(l.values) == 0 {
		l.short = true
		return nil
	}
	v := l.values[0]
	l.values = l.values[1:]
	return v
}

func (l *list) text() string {
	s, _ := l.next().(string)
	return s
}

func (l *list) number() number {
	switch v := l.next().(type) {
	case int64:
		return number(v)
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return number(n)
	}
	return 0
}

// requeueScript puts notices at the end of their lanes. KEYS: due and tries of
// the endpoint, then a lane for each notice. ARGV: a meeting and a notice for
// each. A notice that is the head of its lane already is made due instead.
var requeueScript = redis.NewScript(`
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
for i = 3, #KEYS do
  local meeting, notice = ARGV[2 * i - 5], ARGV[2 * i - 4]
  if redis.call('LINDEX', KEYS[i], 0) ~= notice then
    redis.call('RPUSH', KEYS[i], notice)
    redis.call('ZADD', KEYS[1], 'NX', now, meeting)
  elseif string.match(redis.call('HGET', KEYS[2], meeting) or '', ' (%S*)$') == '' then
    redis.call('ZADD', KEYS[1], now, meeting)
  end
end
return #KEYS - 2
`)

// Requeue puts notices back into an endpoint's lanes, behind what waits there;
// meetings[i] is the meeting of notices[i]. A notice that is the head of its
// lane is made due instead of being there twice.
func (r *Redis) Requeue(ctx context.Context, endpoint string, meetings []string, notices []json.RawMessage) error {
	for first := 0; first < len(notices); first += replayBatch {
		keys := []string{r.keys.due(endpoint), r.keys.tries(endpoint)}
		var args []any
		for i := first; i < min(first+replayBatch, len(notices)); i++ {
			keys = append(keys, r.keys.lane(endpoint, meetings[i]))
			args = append(args, meetings[i], []byte(notices[i]))
		}
		if err := r.do(opWebhooks, func() error { return requeueScript.Run(ctx, r.rdb, keys, args...).Err() }); err != nil {
			return err
		}
	}
	return nil
}

// Between calls f with the notices that were committed in the given time, in
// order, until it returns an error, which Between returns. It reads the event
// log page by page.
func (r *Redis) Between(ctx context.Context, from, to time.Time, f func(notice json.RawMessage) error) error {
	start, end := strconv.FormatInt(from.UnixMilli(), 10), strconv.FormatInt(to.UnixMilli(), 10)
	for {
		var page []redis.XMessage
		err := r.do(opEvents, func() (err error) {
			page, err = r.rdb.XRangeN(ctx, r.keys.events(), start, end, MaxPage).Result()
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, x := range page {
			notice, _ := x.Values["notice"].(string)
			if err := f(json.RawMessage(notice)); err != nil {
				return err
			}
		}
		start = "(" + page[len(page)-1].ID
	}
}

// Attempts returns a page of an endpoint's delivery log, or of its dead
// letters, newest first; cursor is the Place of the last entry already seen.
func (r *Redis) Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Attempted, error) {
	key, newest := r.keys.attempts(endpoint), "+"
	if dead {
		key = r.keys.dead(endpoint)
	}
	if cursor != "" {
		if !place.MatchString(cursor) {
			return nil, fmt.Errorf("%w: %q", ErrCursor, cursor)
		}
		newest = "(" + cursor
	}
	var entries []redis.XMessage
	err := r.do(opWebhooks, func() (err error) {
		entries, err = r.rdb.XRevRangeN(ctx, key, newest, "-", int64(pageSize(limit))).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	var page []meeting.Attempted
	for _, x := range entries {
		record, _ := x.Values["record"].(string)
		notice, _ := x.Values["notice"].(string)
		page = append(page, meeting.Attempted{Place: x.ID, Record: json.RawMessage(record), Notice: json.RawMessage(notice)})
	}
	return page, nil
}

// backlogScript answers {lanes, notices in those looked at, how many those are,
// timestamp of the oldest head or empty, failing since or 0}. KEYS: due and
// health of the endpoint, prefix of its lanes. ARGV: how many lanes to look at.
// Half of them are the next ones due and half the last, where those are that
// have failed often.
var backlogScript = redis.NewScript(`
local lanes, half = redis.call('ZCARD', KEYS[1]), tonumber(ARGV[1]) / 2
local some = redis.call('ZRANGE', KEYS[1], 0, half - 1)
if lanes > half then
  for _, meeting in ipairs(redis.call('ZRANGE', KEYS[1], math.max(half, lanes - half), -1)) do
    some[#some + 1] = meeting
  end
end
local notices, oldest = 0, ''
for _, meeting in ipairs(some) do
  notices = notices + redis.call('LLEN', KEYS[3] .. meeting)
  local head = redis.call('LINDEX', KEYS[3] .. meeting, 0)
  local at = head and string.match(head, '"timestamp":"([^"]*)"')
  if at and (oldest == '' or at < oldest) then
    oldest = at
  end
end
local h = redis.call('HMGET', KEYS[2], 'since', 'failing')
return {lanes, notices, #some, oldest, h[2] == '1' and h[1] or '0'}
`)

// Backlog says what waits for an endpoint.
func (r *Redis) Backlog(ctx context.Context, endpoint string) (meeting.Backlog, error) {
	var answer []any
	err := r.do(opWebhooks, func() (err error) {
		answer, err = backlogScript.Run(ctx, r.rdb,
			[]string{r.keys.due(endpoint), r.keys.health(endpoint), r.keys.lanes(endpoint)}, backlogSample).Slice()
		return err
	})
	if err != nil {
		return meeting.Backlog{}, err
	}
	l := list{values: answer}
	lanes, notices, seen, oldest, since := int(l.number()), int(l.number()), int(l.number()), l.text(), l.number()
	b := meeting.Backlog{Lanes: lanes, Notices: notices, FailingSince: since.time()}
	if seen > 0 {
		b.Notices = notices * lanes / seen
	}
	if oldest != "" {
		b.Oldest, err = time.Parse(time.RFC3339, oldest)
	}
	return b, errors.Join(err)
}
