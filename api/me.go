package api

import (
	"context"
	"net/http"

	"usher/meeting"
)

// Me is the API key of a request, as whoever uses it sees it.
type Me struct {
	ID        string        `json:"id" doc:"configured: one of the keys of usher's configuration"`
	Name      string        `json:"name,omitempty" doc:"Of the app that uses it"`
	Scopes    []Scope       `json:"scopes" nullable:"false" enum:"meetings:read,meetings:write,participants:write,recordings:write,webhooks:write,events:read,admin"`
	CreatedAt *meeting.Time `json:"created_at,omitempty" doc:"Missing for those of the configuration"`
}

func (v *v1) registerMe() {
	show(v, operation(anyScope, http.StatusOK, "get-me", "GET /v1/me",
		"See which API key this is and what it may do"), v.getMe)
}

func (v *v1) getMe(ctx context.Context, _ *struct{}) (Me, error) {
	who := infoOf(ctx).caller
	me := Me{ID: who.id, Scopes: who.scopes}
	if who.id == configuredKey {
		return me, nil
	}
	keys, err := v.keys.all(ctx)
	key := keys[who.id]
	me.Name, me.CreatedAt = key.Name, meeting.TimeOrNull(key.CreatedAt.Time)
	return me, err
}
