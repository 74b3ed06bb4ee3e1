package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"usher/meeting"
)

const (
	// KeyCacheLife is how long a key that was revoked through another process
	// still opens this one, at most. All keys are read at once, so a flood of
	// wrong ones costs the store nothing more.
	KeyCacheLife = 5 * time.Second
	// keyRetry is the wait before the keys are read again after that failed;
	// meanwhile those known before go on to count.
	keyRetry = time.Second
	// keyMark begins every key, so that scanners recognise one that leaked.
	keyMark = "usk_"
	// keysPerApp lets an app replace its key without a gap, and no more.
	keysPerApp = 2
)

// KeyStore keeps API keys, of which it knows nothing. A slot holds one key.
// Errors as in [Reads].
type KeyStore interface {
	APIKeys(ctx context.Context) (bySlot map[string][]byte, err error)
	// AddAPIKey reports whether the slot was free.
	AddAPIKey(ctx context.Context, slot string, key []byte) (added bool, err error)
	// RemoveAPIKey empties the slot if it holds this very key.
	RemoveAPIKey(ctx context.Context, slot string, key []byte) error
}

// storedKey is an API key as it is kept: without its secret.
type storedKey struct {
	ID      string    `json:"id"` // key_ and a ULID
	Name    string    `json:"name"`
	Scopes  []Scope   `json:"scopes"`
	SHA256  string    `json:"sha256"` // of the whole key, in hex
	Created time.Time `json:"created_at"`

	slot string
	raw  []byte
}

// newKey returns a key, and its text, which is not kept: usk_<id>_<secret>,
// the secret with 130 random bits.
func newKey(name string, scopes []Scope, now time.Time) (k storedKey, text string) {
	var seed meeting.Seed
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	k = storedKey{ID: meeting.NewID("key_", now, seed, 0), Name: name, Scopes: scopes, Created: now.UTC()}
	text = keyMark + strings.TrimPrefix(k.ID, "key_") + "_" + rand.Text()
	k.SHA256 = digest(text)
	k.raw, _ = json.Marshal(k) // a struct of text always encodes
	return k, text
}

// keyring knows who a key belongs to. Safe for concurrent use.
type keyring struct {
	configured credentials // by configuration; they may do everything
	store      KeyStore

	mu    sync.Mutex
	byID  map[string]storedKey // nil before they were first read
	until time.Time            // they are read again after that
}

// find returns who a bearer token belongs to; nobody: ok is false. Only keys
// made over the API can fail for want of a store.
func (k *keyring) find(ctx context.Context, text string) (c caller, ok bool, err error) {
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
	want, _ := hex.DecodeString(stored.SHA256)
	got := sha256.Sum256([]byte(text))
	if subtle.ConstantTimeCompare(got[:], want) != 1 || !known {
		return caller{}, false, nil
	}
	return caller{id: stored.ID, scopes: stored.Scopes}, true, nil
}

// holds reports whether a key that opened something still would. While the
// store is away it does.
func (k *keyring) holds(ctx context.Context, c caller) bool {
	if c.id == configuredKey {
		return true
	}
	keys, err := k.all(ctx)
	_, known := keys[c.id]
	return known || err != nil
}

// all returns the keys by id, as of the last KeyCacheLife.
func (k *keyring) all(ctx context.Context) (map[string]storedKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if now.Before(k.until) && k.byID != nil {
		return k.byID, nil
	}
	bySlot, err := k.store.APIKeys(ctx)
	if err != nil {
		if k.byID == nil {
			return nil, err
		}
		// Whoever gets in on a key that was just revoked finds the store away.
		k.until = now.Add(keyRetry)
		return k.byID, nil
	}
	byID := map[string]storedKey{}
	for slot, raw := range bySlot {
		key := storedKey{slot: slot, raw: raw}
		if err := json.Unmarshal(raw, &key); err != nil {
			return nil, fmt.Errorf("read API key in slot %s: %w", slot, err)
		}
		byID[key.ID] = key
	}
	k.byID, k.until = byID, now.Add(KeyCacheLife)
	return byID, nil
}

// forget makes the next look at the keys go to the store.
func (k *keyring) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.until = time.Time{}
}
