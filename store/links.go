package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/meeting"
)

// A link is a field of its meeting's hash, and so lives exactly as long as the
// meeting is kept: until Retention after it was closed, or until it is forgotten.
const linkField = "link:"

// putLinkScript answers 1, 0 when there is no such meeting, or -1 when it has
// as many links as it may. KEYS: meeting, meetings whose links have changed.
// ARGV: field, link, how many fields are the most, meeting.
var putLinkScript = guarded(`
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return -1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[4])
return 1
`)

// meetingFields is how many fields of a meeting's hash are no links.
const meetingFields = 4

// PutLink stores a join link of the meeting under the hash of its code, in
// place of what is there. It reports false when the meeting has as many others
// as it may. Errors: [meeting.ErrNotFound].
func (r *Redis) PutLink(ctx context.Context, meetingID, hash string, link []byte, most int) (_ bool, err error) {
	defer r.measure(opLinks, time.Now(), &err)
	answer, err := r.runGuarded(ctx, putLinkScript, []string{r.keys.meeting(meetingID), r.keys.linksChanged()},
		linkField+hash, link, most+meetingFields, meetingID).Int()
	switch {
	case err == nil && answer == 0:
		err = meeting.ErrNotFound
	case err == nil && answer == 1:
		r.mirror.set(r.keys.meeting(meetingID), linkField+hash, string(link))
	}
	return answer == 1, err
}

// Link returns the meeting's link with the hash, or [meeting.ErrNotFound].
func (r *Redis) Link(ctx context.Context, meetingID, hash string) (link []byte, err error) {
	defer r.measure(opLinks, time.Now(), &err)
	link, err = r.rdb.HGet(ctx, r.keys.meeting(meetingID), linkField+hash).Bytes()
	if errors.Is(err, redis.Nil) {
		err = r.notFound(ctx)
	}
	return link, err
}

// Links returns all links of the meeting by hash; one that does not exist has
// none.
func (r *Redis) Links(ctx context.Context, meetingID string) (_ map[string][]byte, err error) {
	defer r.measure(opLinks, time.Now(), &err)
	fields, err := r.rdb.HGetAll(ctx, r.keys.meeting(meetingID)).Result()
	if err == nil {
		err = r.checkNow(ctx)
	}
	all := map[string][]byte{}
	for field, link := range fields {
		if hash, ok := strings.CutPrefix(field, linkField); ok {
			all[hash] = []byte(link)
		}
	}
	return all, err
}
