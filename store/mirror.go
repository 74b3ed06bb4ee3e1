package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// mirrorInterval is how soon the leader knows what another process has changed
	// about endpoints, keys and links; what it changes itself it knows at once.
	mirrorInterval = 2 * time.Second
	// linksBatch is how many meetings are looked at for their links in one script,
	// and about how many links it returns: some 300 kB.
	linksBatch = 1000
)

// mirror is what the leader keeps at hand to write an emptied store anew, besides
// the meetings: all that processes store without the leader. It is as stored,
// and no larger than what Redis holds of it. The zero value holds nothing.
type mirror struct {
	mu sync.Mutex
	// epoch of the store; empty: it has lost its state, or this process does not
	// lead, and nothing is read from it.
	epoch   string
	version int64 // of settings
	// settings are hashes, by key: endpoints, why they are disabled, API keys.
	settings map[string]map[string]string
	links    map[string]map[string]string // by open meeting, by field of its hash
	listed   bool                         // links knows all open meetings
	unread   map[string]bool              // open meetings whose links are to be read
}

// resume begins to hold what is in the store of the epoch.
func (m *mirror) resume(epoch string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch, m.version, m.listed = epoch, -1, false // all is read once more
	if m.links == nil {
		m.links, m.unread = map[string]map[string]string{}, map[string]bool{}
	}
}

// pause keeps what is held as it is.
func (m *mirror) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch = ""
}

// drop lets go of everything.
func (m *mirror) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch, m.settings, m.links, m.unread = "", nil, nil, nil
}

// open notes whether a meeting is open; the links of others need not be held.
func (m *mirror) open(id string, is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.links[id]; is && !known && m.links != nil {
		m.links[id] = nil
	} else if !is {
		delete(m.links, id)
		delete(m.unread, id)
	}
}

// put holds links of a meeting, if it is open.
func (m *mirror) put(id string, links map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, open := m.links[id]
	if !open || len(links) == 0 {
		return
	}
	if of == nil {
		of = map[string]string{}
		m.links[id] = of
	}
	maps.Copy(of, links) // links are changed, and never removed
}

// of returns a copy of the links of a meeting.
func (m *mirror) of(id string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.links[id])
}

// keepMirror keeps the mirror up to date until ctx ends, and writes the store
// anew whenever resets has the epoch of one that was emptied.
func (r *Redis) keepMirror(ctx context.Context, t term, resets <-chan string, meetings func(context.Context) error) {
	r.mirror.resume(t.epoch)
	defer r.mirror.drop()
	tick := time.NewTicker(r.times.mirror)
	defer tick.Stop()
	wanted, written, failing := "", "", false
	for {
		if wanted != written && r.rewrite(ctx, t, wanted, meetings) {
			written = wanted
		}
		err := errors.Join(r.mirrorSettings(ctx), r.mirrorLinks(ctx))
		if err != nil && !failing && ctx.Err() == nil && !errors.Is(err, errReset) { // said once
			r.log.Warn("cannot read what would be written to an emptied store", "err", err)
		}
		failing = err != nil
		select {
		case wanted = <-resets: // perhaps again what has been written meanwhile
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// mirrorSettings reads endpoints and keys if they have changed, while this
// process leads.
func (r *Redis) mirrorSettings(ctx context.Context) error {
	r.mirror.mu.Lock()
	epoch, known := r.mirror.epoch, r.mirror.version
	r.mirror.mu.Unlock()
	if epoch == "" {
		return nil
	}
	keys := []string{r.keys.endpoints(), r.keys.endpointsDisabled(), r.keys.apiKeys()}
	return r.do(opEpoch, func() error {
		v, hashes, err := r.settings(ctx, settingsVersion{epoch, known}, keys...)
		if err != nil || hashes == nil {
			return err
		}
		settings := map[string]map[string]string{}
		for i, key := range keys {
			settings[key] = hashes[i]
		}
		r.mirror.mu.Lock()
		defer r.mirror.mu.Unlock()
		if r.mirror.epoch == v.epoch && v.changes > r.mirror.version { // else it was read later, or is of another state
			r.mirror.version, r.mirror.settings = v.changes, settings
		}
		return nil
	})
}

// settingsVersion says which state of endpoints and keys was read.
type settingsVersion struct {
	epoch   string
	changes int64
}

func (v settingsVersion) String() string { return fmt.Sprint(v.epoch, " ", v.changes) }

// parseSettingsVersion reads such a text; any other is that of no state.
func parseSettingsVersion(text string) settingsVersion {
	epoch, changes, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(changes, 10, 64)
	if err != nil {
		n = -1
	}
	return settingsVersion{epoch, n}
}

// changed brings what is held up to date after a change by this process, and
// returns the error of the change.
func (r *Redis) changed(ctx context.Context, err error) error {
	if err == nil {
		_ = r.mirrorSettings(ctx) // it is tried again within mirrorInterval
	}
	return err
}

// settings reads hashes that processes store without the leader, all at one
// time, unless they are as known: then it returns none. Errors: errReset, also
// for a store that is not the one known.
func (r *Redis) settings(ctx context.Context, known settingsVersion, keys ...string) (v settingsVersion, hashes []map[string]string, err error) {
	read := func(keys ...string) error {
		var version *redis.SliceCmd
		found := make([]*redis.MapStringStringCmd, len(keys))
		_, err := r.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			version = p.MGet(ctx, r.keys.epoch(), r.keys.endpointsVersion())
			for i, key := range keys {
				found[i] = p.HGetAll(ctx, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
		epoch, _ := version.Val()[0].(string)
		changes, _ := version.Val()[1].(string)
		v.epoch = epoch
		v.changes, _ = strconv.ParseInt(changes, 10, 64) // 0 while there were none
		for _, f := range found {
			hashes = append(hashes, f.Val())
		}
		return r.check(epoch)
	}
	if err := read(); err != nil || v == known {
		return v, nil, err
	}
	err = read(keys...)
	return v, hashes, err
}

// linksScript returns the links of the first of the meetings, as many as fit.
// KEYS: epoch, then meetings. ARGV: epoch, most links unless they are of one
// meeting. Nothing when the epoch is another.
var linksScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {}
end
local answer, read = {}, 0
for i = 2, #KEYS do
  local fields = redis.pcall('HLEN', KEYS[i])
  if type(fields) ~= 'number' then
    fields = 0 -- something else is there, which has no links
  end
  if read > 0 and read + fields > tonumber(ARGV[2]) then
    break
  end
  local links = {}
  if fields > ` + strconv.Itoa(meetingFields) + ` then
    read = read + fields
    local all = redis.call('HGETALL', KEYS[i])
    for j = 1, #all, 2 do
      if string.sub(all[j], 1, ` + strconv.Itoa(len(linkField)) + `) == '` + linkField + `' then
        links[#links + 1] = all[j]
        links[#links + 1] = all[j + 1]
      end
    end
  end
  answer[i - 1] = links
end
return answer
`)

// mirrorLinks reads the links of open meetings that may have changed, while this
// process leads.
func (r *Redis) mirrorLinks(ctx context.Context) error {
	if err := r.do(opEpoch, func() error { return r.listUnread(ctx) }); err != nil {
		return err
	}
	for {
		r.mirror.mu.Lock()
		epoch, ids := r.mirror.epoch, slices.Collect(maps.Keys(r.mirror.unread))
		r.mirror.mu.Unlock()
		if epoch == "" || len(ids) == 0 {
			return nil
		}
		ids = ids[:min(len(ids), linksBatch)]
		keys := []string{r.keys.epoch()}
		for _, id := range ids {
			keys = append(keys, r.keys.meeting(id))
		}
		var answer []any
		err := r.do(opEpoch, func() (err error) {
			answer, err = linksScript.Run(ctx, r.rdb, keys, epoch, linksBatch).Slice()
			return err
		})
		if err != nil || len(answer) == 0 {
			return err
		}
		for i, links := range answer {
			r.mirror.read(ids[i], pairs(links))
		}
	}
}

// listUnread notes which meetings' links are to be read: of all open ones at the
// beginning, later of those of which a process has said so.
func (r *Redis) listUnread(ctx context.Context) error {
	r.mirror.mu.Lock()
	epoch, listed := r.mirror.epoch, r.mirror.listed
	r.mirror.mu.Unlock()
	if epoch == "" {
		return nil
	}
	var stored *redis.StringCmd
	var ids *redis.StringSliceCmd
	_, err := r.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		stored = p.Get(ctx, r.keys.epoch())
		if listed {
			ids = p.SPopN(ctx, r.keys.linksChanged(), linksBatch)
		} else {
			ids = p.ZRange(ctx, r.keys.open(), 0, -1)
		}
		return nil
	})
	if errors.Is(err, redis.Nil) {
		err = nil // there is no epoch
	}
	r.mirror.mu.Lock()
	defer r.mirror.mu.Unlock()
	if err != nil {
		r.mirror.listed = false // what was taken out and did not arrive is found again
		return err
	}
	if stored.Val() != epoch || r.mirror.epoch != epoch {
		return nil
	}
	for _, id := range ids.Val() {
		_, open := r.mirror.links[id]
		if !listed && !open {
			r.mirror.links[id] = nil
		}
		if !listed || open {
			r.mirror.unread[id] = true
		}
	}
	r.mirror.listed = true
	return nil
}

// read takes in the links of a meeting.
func (m *mirror) read(id string, links map[string]string) {
	m.put(id, links)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.unread, id)
}

// pairs makes a map of a list of keys and values.
func pairs(list any) map[string]string {
	values, _ := list.([]any)
	m := make(map[string]string, len(values)/2)
	for i := 0; i+1 < len(values); i += 2 {
		key, _ := values[i].(string)
		m[key], _ = values[i+1].(string)
	}
	return m
}

// restoreSettings writes endpoints and keys anew.
func (r *Redis) restoreSettings(ctx context.Context, t term, epoch string) error {
	r.mirror.mu.Lock()
	settings := r.mirror.settings // never changed, only replaced
	r.mirror.mu.Unlock()
	for key, fields := range settings {
		if err := r.restore(ctx, t, epoch, key, "", fields); err != nil {
			return err
		}
	}
	return nil
}

// restoreLinks writes the links of open meetings anew.
func (r *Redis) restoreLinks(ctx context.Context, t term, epoch string) error {
	r.mirror.mu.Lock()
	ids := slices.Collect(maps.Keys(r.mirror.links))
	r.mirror.mu.Unlock()
	for _, id := range ids {
		if err := r.restore(ctx, t, epoch, r.keys.meeting(id), "json", r.mirror.of(id)); err != nil {
			return err
		}
	}
	return nil
}
