package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/sleep"
)

const (
	// mirrorInterval is how soon the leader knows what another process has changed
	// about endpoints, keys and links (what it changes itself it knows at once),
	// and that the store was emptied, once its lease is renewed.
	mirrorInterval = time.Second
	// mirrorBatch is how many hashes are read, and how many fields are written, in
	// one round trip. The largest are meetings with 1,000 links of 300 bytes, and
	// endpoints of ten kilobytes.
	mirrorBatch = 50
	// rewriteTimeout bounds the time for all meetings, in which no epoch is stored and
	// others are refused: 5,000 meetings take a second or two.
	rewriteTimeout = 15 * time.Second
	// changedBatch is how many meetings with changed links are asked for at a time.
	changedBatch = 1000
	// lossPause is the time between tries to write anew what the store has lost.
	lossPause = 50 * time.Millisecond
)

// mirror has copies of the hashes that processes change without the leader:
// endpoints, why they are disabled, API keys, and the links of open meetings. It
// is what the leader writes an emptied store anew from, besides the meetings. The
// zero value copies nothing.
type mirror struct {
	mu      sync.Mutex
	hashes  map[string]map[string]string // by key; of a meeting's hash only the links; nil: does not lead
	changes atomic.Int64                 // made by this process

	versions map[string]int64 // of open meetings that this leader has committed, by key
	behind   atomic.Bool      // a commit has found an older version than the one stored before
}

// reset makes the mirror one of the hashes with these keys; nil: of nothing.
func (m *mirror) reset(keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashes, m.versions = nil, map[string]int64{}
	m.behind.Store(false)
	if keys != nil {
		m.hashes = map[string]map[string]string{}
	}
	for _, key := range keys {
		m.hashes[key] = nil
	}
}

// committed notes that a meeting is stored, or over.
func (m *mirror) committed(key string, version int64, open bool) {
	m.copies(key, open)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hashes == nil {
		return
	}
	if open {
		m.versions[key] = max(m.versions[key], version)
	} else {
		delete(m.versions, key)
	}
}

// stored returns the versions of meetings that were stored last.
func (m *mirror) stored() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.versions)
}

// copies notes whether the hash is one to have a copy of.
func (m *mirror) copies(key string, is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.hashes[key]; is && !known && m.hashes != nil {
		m.hashes[key] = nil
	} else if !is {
		delete(m.hashes, key)
	}
}

// set notes a field that this process has stored, or with an empty value removed.
func (m *mirror) set(key, field, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fields, known := m.hashes[key]
	switch {
	case !known:
		return
	case value == "":
		delete(fields, field)
	case fields == nil:
		m.hashes[key] = map[string]string{field: value}
	default:
		fields[field] = value
	}
	m.changes.Add(1)
}

// take replaces copies by what was read, and reports whether it did: not when this
// process has changed something since, which may be missing there.
func (m *mirror) take(keys []string, hashes []map[string]string, changes int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes.Load() != changes {
		return false
	}
	for i, key := range keys {
		if _, known := m.hashes[key]; known {
			m.hashes[key] = hashes[i]
		}
	}
	return true
}

// all returns a copy of the mirror.
func (m *mirror) all() map[string]map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]map[string]string{}
	for key, fields := range m.hashes {
		if len(fields) > 0 {
			all[key] = maps.Clone(fields)
		}
	}
	return all
}

// upkeep keeps the mirror up to date while this process leads, and writes the
// store anew when it was emptied, or has lost its latest changes.
type upkeep struct {
	*Redis
	term     term
	meetings func(context.Context) error // writes all of them; see Lead
	epoch    string                      // of the store that the mirror copies
	known    atomic.Pointer[string]      // the store's, when it is written anew; never nil
	settings string                      // version of endpoints and keys read last; empty: all has to be read
	rewrites string                      // the last epoch under which all meetings were written anew
	began    time.Time                   // when the rewriting began that is under way
	begun    atomic.Bool                 // begin is done
	runID    string                      // of the Redis that has all that was committed
	lost     bool                        // Redis has lost the latest changes (loss.go)
}

// run does so until ctx ends, then it returns nil. It returns an error that wraps
// [ErrLeaseLost] when the site is to be led anew: all is written that was at
// hand, and what was not is lost.
func (u *upkeep) run(ctx context.Context) error {
	u.mirror.reset(u.keys.settings())
	defer u.mirror.reset(nil)
	tick := time.NewTicker(u.times.mirror)
	defer tick.Stop()
	failing := false
	for {
		again, err := u.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLeaseLost):
			return err
		case again:
			continue
		}
		if err != nil {
			if !failing && !errors.Is(err, errReset) { // said once
				u.log.Error("cannot read what an emptied store is written anew from, or write it", "err", err)
			}
			sleep.For(ctx, lossPause)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-u.wake:
		case <-ctx.Done():
		}
	}
}

// step reads what has changed, or does the next thing for a store that has lost
// something, and reports whether there is more to do at once.
func (u *upkeep) step(ctx context.Context) (again bool, err error) {
	epoch, err := u.refresh(ctx)
	switch {
	case err != nil:
		return false, err
	case strings.HasPrefix(epoch, rewritePrefix):
		err = u.rewrite(ctx, epoch)
		return err == nil, err // to see that it is done
	case rewritePrefix+epoch == u.rewrites && epoch != u.epoch:
		u.epoch, u.settings = epoch, "" // all is read once more
		u.mirror.behind.Store(false)    // each meeting is written
		u.noteRewritten(ctx)
		if u.lost {
			return false, errChangesLost
		}
		return true, nil
	case epoch != u.epoch, u.lost:
		return u.renew(ctx, anyEpoch)
	}
	return false, nil
}

// anyEpoch is known in place of an epoch when the store is to be written anew
// whatever it has.
const anyEpoch = "any"

// renew renews the lease and reports whether it is still ours. A store whose epoch
// is not the one that is known gets one that says that it is being written anew.
func (u *upkeep) renew(ctx context.Context, known string) (held bool, err error) {
	answer, texts, err := u.lease(ctx, renewScript, u.term.lease, u.times.ttl.Milliseconds(), u.term.fence,
		known, rewritePrefix+newEpoch(), schema)
	if err == nil && answer == 1 {
		epoch := strings.TrimPrefix(texts[0], rewritePrefix) // which rewrite makes it
		u.known.Store(&epoch)
	}
	return answer == 1, err
}

// noteRewritten says what was written anew.
func (u *upkeep) noteRewritten(ctx context.Context) {
	cause, outcome := "the store was emptied", "what usher held is written anew; what had ended, the event log and events for endpoints that fail are lost"
	if u.lost {
		cause, outcome = "Redis has lost the latest changes", "what usher held is written anew; what had ended meanwhile and events for endpoints that fail are lost"
	}
	meetings, _ := u.rdb.ZCard(ctx, u.keys.open()).Result() // only said
	u.noteReset(cause, outcome, "meetings", meetings, "seconds", time.Since(u.began).Seconds())
	u.began = time.Time{}
}

// refreshScript answers the epoch, the version of endpoints and keys, the run
// ids of Redis and of the one that is known to have lost nothing, and the ids of all
// open meetings or of some whose links have changed, with spaces between. KEYS: epoch, version, redis, open,
// changed. ARGV: whether all, most of the others.
var refreshScript = redis.NewScript(runID + `
local meetings
if ARGV[1] == '1' then
  meetings = redis.call('ZRANGE', KEYS[4], 0, -1)
else
  meetings = redis.call('SPOP', KEYS[5], ARGV[2])
end
return {redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or '',
  run, redis.call('HGET', KEYS[3], 'run_id') or '', table.concat(meetings, ' ')}
`)

// refresh reads what has changed, unless the store has another epoch than the
// mirror, and returns the epoch of the store.
func (u *upkeep) refresh(ctx context.Context) (epoch string, err error) {
	defer u.measure(opEpoch, time.Now(), &err)
	k, all, begun := u.keys, u.settings == "", u.begun.Load()
	answer, err := refreshScript.Run(ctx, u.rdb, []string{k.epoch(), k.endpointsVersion(), k.redis(), k.open(), k.linksChanged()},
		all, changedBatch).StringSlice()
	if err != nil {
		u.settings = "" // what was taken out and did not arrive is found again
		return "", err
	}
	epoch, settings, run, noted := answer[0], answer[1], answer[2], answer[3]
	if epoch != u.epoch {
		return epoch, nil
	}
	var keys []string
	for id := range strings.FieldsSeq(answer[4]) {
		keys = append(keys, k.meeting(id))
		if all {
			u.mirror.copies(k.meeting(id), true)
		}
	}
	if settings = "version " + settings; settings != u.settings {
		u.settings = settings
		keys = append(keys, k.settings()...)
	}
	for batch := range slices.Chunk(keys, mirrorBatch) {
		if err = u.copy(ctx, batch); err != nil {
			u.settings = "" // all is read again
			return epoch, err
		}
	}
	if begun {
		err = u.compare(ctx, run, noted)
	}
	return epoch, err
}

// copy reads hashes into the mirror.
func (u *upkeep) copy(ctx context.Context, keys []string) error {
	for {
		changes := u.mirror.changes.Load()
		hashes, epoch, _, err := u.hashes(ctx, keys...)
		switch {
		case err != nil && !wrongType(err):
			return err
		case epoch != u.epoch:
			return errReset
		}
		for i, key := range keys {
			if u.keys.isMeeting(key) {
				maps.DeleteFunc(hashes[i], func(field, _ string) bool { return !strings.HasPrefix(field, linkField) })
			}
		}
		if u.mirror.take(keys, hashes, changes) {
			return nil
		}
	}
}

// rewrite writes an emptied store anew: endpoints before events are routed to
// them, links into their meetings, and the epoch last, in place of the one that
// the renewal of the lease has put there. When it fails it may be repeated; when
// a process dies in the middle, what it has written is what its successor finds.
func (u *upkeep) rewrite(ctx context.Context, epoch string) error {
	if u.began.IsZero() {
		u.began = time.Now()
		u.log.Warn("the store has lost what it held, writing anew what is at hand")
	}
	if err := u.restore(ctx, epoch, false); err != nil {
		return err
	}
	if u.rewrites != epoch {
		u.rewriteMeetings(ctx)
		u.rewrites = epoch
	}
	if err := u.restore(ctx, epoch, true); err != nil {
		return err
	}
	return u.runRewriting(ctx, rewrittenScript, u.keys.epoch(), epoch, strings.TrimPrefix(epoch, rewritePrefix))
}

// rewriteMeetings writes all meetings. What cannot be written in time goes on
// being tried, and must not keep everything else away.
func (u *upkeep) rewriteMeetings(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, rewriteTimeout)
	defer cancel()
	err := u.meetings(limited)
	for err != nil && limited.Err() == nil { // they are being loaded
		sleep.For(limited, u.times.poll)
		err = u.meetings(limited)
	}
	if err != nil {
		u.log.Error("some meetings are not written anew yet", "err", err)
	}
}

// restore puts copies back: endpoints and keys, or links.
func (u *upkeep) restore(ctx context.Context, epoch string, links bool) error {
	for key, fields := range u.mirror.all() {
		if u.keys.isMeeting(key) != links {
			continue
		}
		var pairs []any
		for field, value := range fields {
			pairs = append(pairs, field, value)
		}
		for batch := range slices.Chunk(pairs, 2*mirrorBatch) {
			if err := u.runRewriting(ctx, restoreScript, key, epoch, append([]any{links}, batch...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// runRewriting runs a script that writes under the key while the store has the
// epoch and nobody else leads.
func (u *upkeep) runRewriting(ctx context.Context, script *redis.Script, key, epoch string, args ...any) (err error) {
	defer u.measure(opEpoch, time.Now(), &err)
	return script.Run(ctx, u.rdb, []string{u.keys.epoch(), u.keys.fence(), key}, append([]any{epoch, u.term.fence}, args...)...).Err()
}

// rewriting makes a script for runRewriting, with KEYS[3] and ARGV[3] first.
func rewriting(body string) *redis.Script {
	return redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (tonumber(redis.call('GET', KEYS[2])) or 0) > tonumber(ARGV[2]) then
  return redis.error_reply('` + resetCode + ` not this epoch')
end
` + body)
}

var (
	// restoreScript puts fields into a hash. ARGV: whether they are links, which
	// need their meeting there, then fields and values.
	restoreScript = rewriting(`
if ARGV[3] == '0' or redis.call('HEXISTS', KEYS[3], 'json') == 1 then
  redis.call('HSET', KEYS[3], unpack(ARGV, 4))
end
return 1
`)
	// rewrittenScript says that all is written anew. ARGV: epoch from now on.
	rewrittenScript = rewriting(`redis.call('SET', KEYS[3], ARGV[3]); return 1`)
)
