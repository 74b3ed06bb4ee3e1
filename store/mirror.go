package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
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
)

// mirror has copies of the hashes that processes change without the leader:
// endpoints, why they are disabled, API keys, and the links of open meetings. It
// is what the leader writes an emptied store anew from, besides the meetings. The
// zero value copies nothing.
type mirror struct {
	mu      sync.Mutex
	hashes  map[string]map[string]string // by key; of a meeting's hash only the links; nil: does not lead
	changes atomic.Int64                 // made by this process
}

// reset makes the mirror one of the hashes with these keys; nil: of nothing.
func (m *mirror) reset(keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashes = nil
	if keys != nil {
		m.hashes = map[string]map[string]string{}
	}
	for _, key := range keys {
		m.hashes[key] = nil
	}
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
// store anew when it was emptied.
type upkeep struct {
	*Redis
	term     term
	meetings func(context.Context) error // writes all of them; see Lead
	epoch    string                      // of the store that the mirror copies
	settings string                      // version of endpoints and keys read last; empty: all has to be read
	rewrites string                      // the last epoch under which all meetings were written anew
}

// run does so until ctx ends.
func (u *upkeep) run(ctx context.Context) {
	u.mirror.reset(u.keys.settings())
	defer u.mirror.reset(nil)
	tick := time.NewTicker(u.times.mirror)
	defer tick.Stop()
	failing := false
	for {
		epoch, err := u.refresh(ctx)
		switch {
		case strings.HasPrefix(epoch, rewritePrefix):
			if err = u.rewrite(ctx, epoch); err == nil {
				continue // to see that it is done
			}
		case epoch != u.epoch && rewritePrefix+epoch == u.rewrites:
			u.epoch, u.settings = epoch, "" // all is read once more
			u.noteReset("what usher held is written anew; what had ended, the event log and events for endpoints that fail are lost")
			continue
		}
		if err != nil && !failing && ctx.Err() == nil && !errors.Is(err, errReset) { // said once
			u.log.Error("cannot read what an emptied store is written anew from, or write it", "err", err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refresh reads what has changed, unless the store has another epoch than the
// mirror, and returns the epoch of the store.
func (u *upkeep) refresh(ctx context.Context) (epoch string, err error) {
	defer u.measure(opEpoch, time.Now(), &err)
	var versions *redis.SliceCmd
	var meetings *redis.StringSliceCmd
	_, err = u.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		versions = p.MGet(ctx, u.keys.epoch(), u.keys.endpointsVersion())
		if u.settings == "" {
			meetings = p.ZRange(ctx, u.keys.open(), 0, -1)
		} else {
			meetings = p.SPopN(ctx, u.keys.linksChanged(), changedBatch)
		}
		return nil
	})
	if err != nil {
		u.settings = "" // what was taken out and did not arrive is found again
		return "", err
	}
	if epoch, _ = versions.Val()[0].(string); epoch != u.epoch {
		return epoch, nil
	}
	var keys []string
	for _, id := range meetings.Val() {
		keys = append(keys, u.keys.meeting(id))
		if u.settings == "" {
			u.mirror.copies(u.keys.meeting(id), true)
		}
	}
	if settings := fmt.Sprint(versions.Val()[1]); settings != u.settings {
		u.settings = settings
		keys = append(keys, u.keys.settings()...)
	}
	for batch := range slices.Chunk(keys, mirrorBatch) {
		if err = u.copy(ctx, batch); err != nil {
			u.settings = "" // all is read again
			break
		}
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
	u.log.Warn("the store was emptied, writing anew what is at hand")
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
		sleep(limited, u.times.poll)
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
