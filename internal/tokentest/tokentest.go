// Package tokentest reads tokens back for tests.
package tokentest

import (
	"encoding/json"
	"errors"
	"time"

	"usher/token"
)

// Verify returns what the token says if it opens the room at the time now, and
// an error with the first reason otherwise. It is as strict as [token.Inspect].
func Verify(now time.Time, text string, want token.Expect) (token.Claims, error) {
	seen := token.Inspect(now, text, want)
	for _, f := range seen.Findings {
		if f.Weight != token.Note {
			return token.Claims{}, errors.New(f.Text)
		}
	}
	var payload struct {
		Room    string `json:"room"`
		ID      string `json:"jti"`
		Expires int64  `json:"exp"`
		Context struct {
			User struct {
				token.User
				Affiliation string `json:"affiliation"`
			} `json:"user"`
			Group string `json:"group"`
		} `json:"context"`
	}
	if err := json.Unmarshal(seen.Payload, &payload); err != nil {
		return token.Claims{}, err
	}
	return token.Claims{
		Room: payload.Room, User: payload.Context.User.User, Host: payload.Context.User.Affiliation == "owner",
		Group: payload.Context.Group, ID: payload.ID, Expires: time.Unix(payload.Expires, 0).UTC(),
	}, nil
}
