package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"usher/meeting"
)

// newAPIKey is the body that makes a key.
type newAPIKey struct {
	_      struct{} `json:"-" additionalProperties:"false"`
	Name   string   `json:"name" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" doc:"Of the app; it may have two keys at a time, to replace one by the other"`
	Scopes []Scope  `json:"scopes" minItems:"1" maxItems:"7" uniqueItems:"true" nullable:"false" enum:"meetings:read,meetings:write,participants:write,recordings:write,webhooks:write,events:read,admin"`
}

func (v *v1) registerAPIKeys() {
	show(v, operation(ScopeAdmin, http.StatusCreated, "create-api-key", "POST /v1/api-keys",
		"Make an API key for an app", http.StatusConflict), v.createAPIKey)
	show(v, operation(ScopeAdmin, http.StatusOK, "list-api-keys", "GET /v1/api-keys",
		"List the API keys, without those of the configuration"), v.listAPIKeys)
	done(v, operation(ScopeAdmin, http.StatusNoContent, "revoke-api-key", "DELETE /v1/api-keys/{id}",
		"Revoke an API key: it opens nothing any more, on other instances after some seconds"), v.revokeAPIKey)
	v.registerMe()
}

func (v *v1) createAPIKey(ctx context.Context, in *body[newAPIKey]) (APIKey, error) {
	key, text := newKey(in.Body.Name, in.Body.Scopes, time.Now())
	defer v.keys.forget()
	for n := range keysPerApp {
		added, err := v.keys.store.AddAPIKey(ctx, fmt.Sprint(key.Name, "/", n+1), key.raw)
		if err != nil {
			return APIKey{}, err
		}
		if added {
			v.Log.Info("API key made", "key_id", key.ID, "name", key.Name, "scopes", key.Scopes, "by", infoOf(ctx).caller.id)
			key.Key = text
			return key.APIKey, nil
		}
	}
	return APIKey{}, NewProblem(http.StatusConflict, "this app has two keys already: revoke one").coded("two_keys")
}

func (v *v1) listAPIKeys(ctx context.Context, _ *struct{}) (Page[APIKey], error) {
	keys, err := v.keys.load(ctx)
	list := slices.SortedFunc(maps.Values(keys), func(a, b storedKey) int { return cmp.Compare(b.ID, a.ID) })
	return pageOf(list, "", err, func(k storedKey) APIKey { return k.APIKey })
}

func (v *v1) revokeAPIKey(ctx context.Context, in *ByID) error {
	keys, err := v.keys.load(ctx)
	if err != nil {
		return err
	}
	key, known := keys[in.ID]
	if !known {
		return meeting.ErrNotFound
	}
	defer v.keys.forget()
	if err := v.keys.store.RemoveAPIKey(ctx, key.slot, key.raw); err != nil {
		return err
	}
	v.Log.Info("API key revoked", "key_id", key.ID, "name", key.Name, "by", infoOf(ctx).caller.id)
	return nil
}
