package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"usher/meeting"
)

const (
	// KeyCacheLife is how long a key that was revoked through another process
	// still opens this one, at most, counted from the store's answer. All keys are
	// read at once, so a flood of wrong ones costs the store nothing more.
	KeyCacheLife = 5 * time.Second
	// keyRetry is the wait before the keys are read again once the store has
	// failed; meanwhile those known before go on to count.
	keyRetry = time.Second
	// keyMark begins every key, so that scanners recognise one that leaked.
	keyMark = "usk_"
	// keysPerApp lets an app replace its key without a gap, and no more.
	keysPerApp = 2
)

// KeyStore keeps API keys without reading them. A slot holds one key. Errors as
// in [service.Store].
type KeyStore interface {
	APIKeys(ctx context.Context) (bySlot map[string][]byte, err error)
	// AddAPIKey reports whether the slot was free.
	AddAPIKey(ctx context.Context, slot string, key []byte) (added bool, err error)
	// RemoveAPIKey empties the slot if it holds this very key.
	RemoveAPIKey(ctx context.Context, slot string, key []byte) error
}

// APIKey is an API key as admins see it.
type APIKey struct {
	ID        string       `json:"id"` // key_ and a ULID
	Name      string       `json:"name" doc:"Of the app that uses it"`
	Scopes    []Scope      `json:"scopes" nullable:"false" enum:"meetings:read,meetings:write,participants:write,recordings:write,webhooks:write,events:read,admin"`
	CreatedAt meeting.Time `json:"created_at"`
	Key       string       `json:"key,omitempty" doc:"The key itself, shown this once"`
}

// storedKey is an API key as it is kept: without its secret.
type storedKey struct {
	APIKey
	SHA256 string `json:"sha256"` // of the whole key, in hex

	slot string
	raw  []byte
}

// newKey returns a key, and its text, which is not kept: usk_<id>_<secret>,
// the secret with 130 random bits.
func newKey(name string, scopes []Scope, now time.Time) (k storedKey, text string) {
	k.APIKey = APIKey{ID: meeting.NewID("key_", now, meeting.NewSeed(), 0), Name: name, Scopes: scopes, CreatedAt: timeOf(now)}
	text = keyMark + strings.TrimPrefix(k.ID, "key_") + "_" + rand.Text()
	k.SHA256 = digest(text)
	k.raw, _ = json.Marshal(k) // a struct of text always encodes
	return k, text
}

// keyCache finds out whose key a request has. Safe for concurrent use.
type keyCache struct {
	configured credentials // by configuration; they may do everything
	store      KeyStore
	log        *slog.Logger

	reads      singleflight.Group // by generation
	unreadable atomic.Value       // slots that were logged

	mu         sync.Mutex           // never held while the store is asked
	byID       map[string]storedKey // nil before they were first read
	until      time.Time            // they are read again after that
	generation int                  // how often what is known was forgotten
}

// find returns who a bearer token belongs to; nobody: ok is false. Only keys
// made over the API can fail for want of a store.
func (k *keyCache) find(ctx context.Context, text string) (c caller, ok bool, err error) {
	if k.configured.match(text) {
		return caller{id: configuredKey, scopes: []Scope{ScopeAdmin}}, true, nil
	}
	rest, ours := strings.CutPrefix(text, keyMark)
	id, _, complete := strings.Cut(rest, "_")
	if !ours || !complete {
		return caller{}, false, nil
	}
	keys, err := k.all(ctx)
	if err != nil {
		return caller{}, false, err
	}
	stored, known := keys["key_"+id]
	if subtle.ConstantTimeCompare([]byte(digest(text)), []byte(stored.SHA256)) != 1 || !known {
		return caller{}, false, nil
	}
	return caller{id: stored.ID, scopes: stored.Scopes}, true, nil
}

// holds reports whether a key that opened something still would. While the
// store is away it does.
func (k *keyCache) holds(ctx context.Context, c caller) bool {
	if c.id == configuredKey {
		return true
	}
	keys, err := k.all(ctx)
	_, known := keys[c.id]
	return known || err != nil
}

// all returns the keys by id, as of the last KeyCacheLife. While the store is
// away it returns those known before; it fails when there are none.
func (k *keyCache) all(ctx context.Context) (map[string]storedKey, error) {
	k.mu.Lock()
	byID, fresh, generation := k.byID, time.Now().Before(k.until), k.generation
	k.mu.Unlock()
	if fresh {
		return byID, nil
	}
	// One read is for everybody who asks meanwhile, so a store that is slow to fail
	// is waited for once, and it goes on when the one who asked first is gone. The
	// store's own timeouts bound it.
	read := k.reads.DoChan(strconv.Itoa(generation), func() (any, error) {
		return k.read(context.WithoutCancel(ctx), generation)
	})
	select {
	case r := <-read:
		byID, _ = r.Val.(map[string]storedKey)
		return byID, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// read asks the store, and keeps the answer unless what is known was forgotten
// meanwhile: it may be out of date then.
func (k *keyCache) read(ctx context.Context, generation int) (map[string]storedKey, error) {
	keys, err := k.load(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	life := KeyCacheLife
	if err != nil && k.byID != nil {
		// A revoked key may pass here, but handlers need the store, which is away.
		keys, err, life = k.byID, nil, keyRetry
	}
	if err == nil && k.generation == generation {
		k.byID, k.until = keys, time.Now().Add(life)
	}
	return keys, err
}

// load returns the keys as they are in the store now, by id. What cannot be
// read is left out, and logged when that changes.
func (k *keyCache) load(ctx context.Context) (map[string]storedKey, error) {
	byID, unreadable, err := readKeys(ctx, k.store)
	if err != nil {
		return nil, err
	}
	slots := strings.Join(unreadable, " ")
	if k.unreadable.Swap(slots) != slots && slots != "" {
		k.log.Error("stored API keys cannot be read and open nothing; all others go on to count", "slots", slots)
	}
	return byID, nil
}

// readKeys returns the keys of the store by id, and in order the slots of those
// that cannot be read.
func readKeys(ctx context.Context, store KeyStore) (byID map[string]storedKey, unreadable []string, err error) {
	bySlot, err := store.APIKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	byID = map[string]storedKey{}
	for slot, raw := range bySlot {
		key := storedKey{slot: slot, raw: raw}
		if json.Unmarshal(raw, &key) != nil || !strings.HasPrefix(key.ID, "key_") {
			unreadable = append(unreadable, slot)
			continue
		}
		byID[key.ID] = key
	}
	slices.Sort(unreadable)
	return byID, unreadable, nil
}

// StoredKeys returns how many API keys of the store open something, and in order
// the slots of those that cannot be read. Errors are those of the store.
func StoredKeys(ctx context.Context, store KeyStore) (readable int, unreadable []string, err error) {
	byID, unreadable, err := readKeys(ctx, store)
	return len(byID), unreadable, err
}

// forget makes the next look at the keys go to the store, and not into a read
// that began before.
func (k *keyCache) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = time.Time{}
	k.generation++
}
