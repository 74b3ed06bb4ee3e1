// Package token makes and judges the JSON Web Tokens (RFC 7519) with which
// people enter the rooms of a Jitsi site, names rooms that nobody can guess,
// and makes the codes of join links.
//
// What a token must look like is laid down by Jitsi's Prosody plugins
// (token/util.lib.lua, luajwtjitsi.lib.lua) and its web client
// (react/features/base/jwt); docs/tokens.md of lib-jitsi-meet is the overview.
//
// The package does no I/O and has no clock. Reading keys, storing the hashes of
// codes and serving links and public keys is left to others.
package token

import "time"

const (
	// DefaultTTL is the life of a token whose meeting has no known end: a day,
	// which no gathering outlasts. A token must live as long as its meeting,
	// because a web client gives up resuming a cut connection, and a reload
	// fails, once it has expired (lib-jitsi-meet since February 2026,
	// modules/xmpp/xmpp.ts).
	DefaultTTL = 24 * time.Hour
	// MaxTTL bounds every token, because Prosody cannot revoke one. It is as
	// long as a link that an app stored when it planned a meeting must work.
	MaxTTL = 31 * 24 * time.Hour
	// EndGrace is how long after the end of its meeting a token may still open
	// the room: meetings run over, and connections break just then.
	EndGrace = 15 * time.Minute
	// MaxToken is the greatest length of a token in bytes. Web clients send it
	// in the address of their websocket, and nginx, which docker-jitsi-meet puts
	// in front, takes 8 KiB for the request line; the rest is room for the path
	// and the room's name.
	MaxToken = 7 << 10
)

// notBeforeSlack is how far nbf lies in the past. Prosody allows for no
// difference between its clock and ours, and somebody who comes too early
// hangs in the web client (jitsi-meet issue 14242).
const notBeforeSlack = time.Minute

// Site is what all tokens of a Jitsi site have in common.
type Site struct {
	AppID    string // claim iss: Prosody's app_id, or one of asap_accepted_issuers
	Audience string // claim aud: one of Prosody's asap_accepted_audiences
	// Domain is claim sub, the XMPP domain such as meet.jitsi, not the site's
	// public name. Prosody holds the room's address against it.
	Domain string
}

// Claims say who may enter which room, and until when.
type Claims struct {
	Room string // name of one room, without its domain
	User User
	// Host may record and, where the site loads mod_token_affiliation and does
	// not elect owners itself, is a moderator.
	Host bool
	// PassesLobby lets the person in where others wait to be let in.
	PassesLobby bool
	Group       string // the app or team that the person belongs to; for statistics
	ID          string // claim jti; empty: a random one
	// Expires is when the token opens nothing any more, exact to the second.
	// It puts nobody out who is in by then. Zero: after [DefaultTTL].
	Expires time.Time
}

// User is who somebody is to others in the room. Fields may be empty.
type User struct {
	_      struct{} `json:"-" additionalProperties:"false" nullable:"true"`
	ID     string   `json:"id,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"The app's own; it makes several connections one person"`
	Name   string   `json:"name,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"Shown to others"`
	Email  string   `json:"email,omitempty" maxLength:"254" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$"` // for the picture, from Gravatar
	Avatar string   `json:"avatar,omitempty" maxLength:"2000" pattern:"^https?://[^\\x00- \\x7f-\\x9f]+$" doc:"Address of a picture"`
	// These two are in each presence of the person, as the name is.
	ExternalID string `json:"external_id,omitempty" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"Another id of the app's, which does not make connections one person; in lists and events"`
	Metadata   string `json:"metadata,omitempty" maxLength:"500" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" doc:"The app's own text about the person, in lists and events; programs of others in the room can read it"`
}

// Until returns when a token made now for a meeting should expire: [EndGrace]
// after the meeting's end, or after ttl if that is sooner. A zero ttl is as long
// as the meeting, but no longer than [MaxTTL]; a zero end is none, and the token
// then lives for ttl or [DefaultTTL].
func Until(now time.Time, ttl time.Duration, end time.Time) time.Time {
	switch {
	case ttl == 0 && end.IsZero():
		ttl = DefaultTTL
	case ttl == 0:
		ttl = MaxTTL
	}
	expires := now.Add(ttl)
	if latest := end.Add(EndGrace); !end.IsZero() && latest.Before(expires) {
		return latest
	}
	return expires
}
