package token

import "time"

// RefusedError says why a token does not open a room.
type RefusedError struct{ Finding }

func (e *RefusedError) Error() string { return "token refused: " + e.Text }

// Verify returns what the token says if it opens the room at the time now, and
// a [RefusedError] with the first reason otherwise. It is as strict as Prosody
// with every check on, without leeway, and stricter where Prosody is too kind:
// a token must expire and name one room.
func (i *Issuer) Verify(now time.Time, text, room string) (Claims, error) {
	if room == "" {
		return Claims{}, &RefusedError{Finding{Refused, WrongRoom, "no room is asked for"}}
	}
	seen := inspect(now, text, Expect{Site: i.site, Key: i.key, Room: room})
	for _, f := range seen.findings {
		if f.Weight != Note {
			return Claims{}, &RefusedError{f}
		}
	}
	// The library has the last word, whatever the rules have overlooked.
	if seen.parseErr != nil {
		return Claims{}, &RefusedError{Finding{Refused, Malformed, "it cannot be read as a token"}}
	}
	return claims(seen.claims), nil
}

// claims reads a payload that has no finding against it; what is not text in
// it is left empty.
func claims(payload map[string]any) Claims {
	context, _ := payload["context"].(map[string]any)
	user, _ := context["user"].(map[string]any)
	text := func(object map[string]any, name string) string {
		s, _ := object[name].(string)
		return s
	}
	exp, _ := payload["exp"].(float64)
	affiliation := text(user, "affiliation")
	return Claims{
		Room: lower(text(payload, "room")),
		User: User{
			ID: text(user, "id"), Name: text(user, "name"),
			Email: text(user, "email"), Avatar: text(user, "avatar"),
		},
		// The rule of mod_token_affiliation.
		Host: affiliation == "owner" || affiliation == "moderator" || affiliation == "teacher" ||
			user["moderator"] == true || user["moderator"] == "true",
		Group:   text(context, "group"),
		ID:      text(payload, "jti"),
		Expires: time.Unix(int64(exp), 0).UTC(),
	}
}
