package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// Scope is something that an API key may do.
type Scope string

// Scopes. One does not include another, but admin includes all.
const (
	ScopeMeetingsRead      Scope = "meetings:read"
	ScopeMeetingsWrite     Scope = "meetings:write" // tokens and links too
	ScopeParticipantsWrite Scope = "participants:write"
	ScopeRecordingsWrite   Scope = "recordings:write"
	ScopeWebhooksWrite     Scope = "webhooks:write"
	ScopeEventsRead        Scope = "events:read"
	ScopeAdmin             Scope = "admin"
)

// caller is who makes a request.
type caller struct {
	id     string // of the key, or configuredKey
	scopes []Scope
}

// configuredKey stands for the keys of the configuration, which have no id.
const configuredKey = "configured"

func (c caller) may(s Scope) bool {
	return slices.Contains(c.scopes, s) || slices.Contains(c.scopes, ScopeAdmin)
}

// securityScheme names the API key in the OpenAPI document.
const securityScheme = "key"

// needs is what an operation says about the scope that opens it.
func needs(s Scope) []map[string][]string {
	return []map[string][]string{{securityScheme: {string(s)}}}
}

// checkScope lets only keys with the operation's scope through. An operation
// that names none is for admin: forgetting it opens nothing.
func checkScope(ctx huma.Context, next func(huma.Context)) {
	needed := ScopeAdmin
	for _, scheme := range ctx.Operation().Security {
		if scopes := scheme[securityScheme]; len(scopes) == 1 {
			needed = Scope(scopes[0])
		}
	}
	if exchangeOf(ctx.Context()).caller.may(needed) {
		next(ctx)
		return
	}
	p := newProblem(http.StatusForbidden, "the API key lacks the scope "+string(needed))
	p.RequestID = requestID(ctx.Context())
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetStatus(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p) // the client's loss
}
