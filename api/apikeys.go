package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// APIKey is an API key as admins see it.
type APIKey struct {
	ID        string       `json:"id"`
	Name      string       `json:"name" doc:"Of the app that uses it"`
	Scopes    []Scope      `json:"scopes" nullable:"false" enum:"meetings:read,meetings:write,participants:write,recordings:write,webhooks:write,events:read,admin"`
	CreatedAt meeting.Time `json:"created_at"`
	Key       string       `json:"key,omitempty" doc:"The key itself, shown this once"`
}

func (k storedKey) info() APIKey {
	return APIKey{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CreatedAt: meeting.Time{Time: k.Created}}
}

// newAPIKey is the body that makes a key.
type newAPIKey struct {
	_      struct{} `json:"-" additionalProperties:"false"`
	Name   string   `json:"name" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Of the app; it may have two keys at a time, to replace one by the other"`
	Scopes []Scope  `json:"scopes" minItems:"1" maxItems:"7" uniqueItems:"true" nullable:"false" enum:"meetings:read,meetings:write,participants:write,recordings:write,webhooks:write,events:read,admin"`
}

// oneAPIKey is an output of huma's.
type oneAPIKey struct{ Body APIKey }

func (v *v1) registerAPIKeys(a huma.API) {
	create := operation(ScopeAdmin, "create-api-key", http.MethodPost, "/v1/api-keys",
		"Make an API key for an app", http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge)
	create.DefaultStatus = http.StatusCreated
	huma.Register(a, create, v.createAPIKey)
	huma.Register(a, operation(ScopeAdmin, "list-api-keys", http.MethodGet, "/v1/api-keys",
		"List the API keys, without those of the configuration"), v.listAPIKeys)
	revoke := operation(ScopeAdmin, "revoke-api-key", http.MethodDelete, "/v1/api-keys/{id}",
		"Revoke an API key: it opens nothing any more, on other instances after some seconds", http.StatusNotFound)
	revoke.DefaultStatus = http.StatusNoContent
	huma.Register(a, revoke, v.revokeAPIKey)
}

func (v *v1) createAPIKey(ctx context.Context, in *struct{ Body newAPIKey }) (*oneAPIKey, error) {
	key, text := newKey(in.Body.Name, in.Body.Scopes, time.Now())
	defer v.keys.forget()
	for n := range keysPerApp {
		added, err := v.keys.store.AddAPIKey(ctx, fmt.Sprint(key.Name, "/", n+1), key.raw)
		if err != nil {
			return nil, v.fail(ctx, err)
		}
		if added {
			v.log.Info("API key made", "key_id", key.ID, "name", key.Name, "scopes", key.Scopes, "by", exchangeOf(ctx).caller.id)
			made := key.info()
			made.Key = text
			return &oneAPIKey{made}, nil
		}
	}
	p := newProblem(http.StatusConflict, "this app has two keys already: revoke one")
	p.Code = "two_keys"
	return nil, p
}

func (v *v1) listAPIKeys(ctx context.Context, _ *struct{}) (*page[APIKey], error) {
	keys, err := v.keys.load(ctx)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	list := slices.SortedFunc(maps.Values(keys), func(a, b storedKey) int { return cmp.Compare(b.ID, a.ID) })
	return newPage(list, "", storedKey.info), nil
}

func (v *v1) revokeAPIKey(ctx context.Context, in *ByID) (*struct{}, error) {
	keys, err := v.keys.load(ctx)
	if err != nil {
		return nil, v.fail(ctx, err)
	}
	key, known := keys[in.ID]
	if !known {
		return nil, v.fail(ctx, meeting.ErrNotFound)
	}
	defer v.keys.forget()
	if err := v.keys.store.RemoveAPIKey(ctx, key.slot, key.raw); err != nil {
		return nil, v.fail(ctx, err)
	}
	v.log.Info("API key revoked", "key_id", key.ID, "name", key.Name, "by", exchangeOf(ctx).caller.id)
	return nil, nil
}
