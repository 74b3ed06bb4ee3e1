package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer makes the tokens of one site. Safe for concurrent use.
type Issuer struct {
	site Site
	key  *Key
}

// NewIssuer returns the issuer of the site's tokens. It refuses a site with a
// field missing, a domain that stands for any, and no key.
func NewIssuer(site Site, key *Key) (*Issuer, error) {
	switch {
	case site.AppID == "":
		return nil, errors.New("token: no app id")
	case site.Audience == "":
		return nil, errors.New("token: no audience")
	case site.Domain == "" || site.Domain == "*":
		return nil, errors.New("token: no XMPP domain")
	case key == nil:
		return nil, errors.New("token: no key")
	}
	return &Issuer{site: site, key: key}, nil
}

// roomName is what a room may be called: what the client and every plugin of
// Prosody leave as it is, apart from case.
var roomName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

var errRoomName = errors.New("token: room must be the name of one room: letters a-z, digits, '-', '_' and '.'")

// wire is a token's payload. Its Audience hides the library's, which becomes a
// list in JSON, and Prosody compares with a string.
type wire struct {
	jwt.RegisteredClaims
	Audience string      `json:"aud"`
	Room     string      `json:"room"`
	Context  wireContext `json:"context"`
}

type wireContext struct {
	User     wireUser       `json:"user"`
	Features map[string]any `json:"features"`
	Group    string         `json:"group,omitempty"`
}

// wireUser holds strings only: a number or null in its place fails in clients.
type wireUser struct {
	User
	Affiliation string `json:"affiliation"`
	Moderator   string `json:"moderator"`
}

// Issue returns a token for the claims, valid from a minute before now, and
// when it expires. The room's name is made lower case. It refuses a name that is
// not one room's, text that cannot stand in XML, an expiry that has passed or
// lies beyond [MaxTTL], and claims that make the token longer than [MaxToken].
func (i *Issuer) Issue(now time.Time, c Claims) (text string, expires time.Time, err error) {
	if c.Expires.IsZero() {
		c.Expires = now.Add(DefaultTTL)
	}
	if c.ID == "" {
		c.ID = rand.Text()
	}
	expires = c.Expires.Truncate(time.Second)
	switch {
	case !roomName.MatchString(c.Room):
		return "", time.Time{}, errRoomName
	case !expires.After(now):
		return "", time.Time{}, errors.New("token: it would have expired already")
	case expires.After(now.Add(MaxTTL)):
		return "", time.Time{}, fmt.Errorf("token: it would live longer than %v", MaxTTL)
	}
	for _, field := range [][2]string{
		{"user id", c.User.ID}, {"user name", c.User.Name}, {"user email", c.User.Email},
		{"user avatar", c.User.Avatar}, {"group", c.Group}, {"id", c.ID},
		{"external id", c.User.ExternalID}, {"metadata", c.User.Metadata},
	} {
		if !xmlText(field[1]) {
			return "", time.Time{}, fmt.Errorf("token: %s has control characters or is not UTF-8", field[0])
		}
	}

	affiliation, moderator := "member", "false"
	if c.Host {
		affiliation, moderator = "owner", "true"
	}
	t := jwt.NewWithClaims(i.key.method, wire{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.site.AppID, Subject: i.site.Domain, ID: c.ID,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-notBeforeSlack)),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Audience: i.site.Audience,
		Room:     strings.ToLower(c.Room),
		Context: wireContext{
			User:     wireUser{c.User, affiliation, moderator},
			Features: features(c.Host, c.PassesLobby),
			Group:    c.Group,
		},
	})
	if i.key.id != "" {
		t.Header["kid"] = i.key.id
	}
	text, err = t.SignedString(i.key.signer())
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	if len(text) > MaxToken {
		return "", time.Time{}, fmt.Errorf("token: user and group make it %d bytes long, at most %d fit into a web address", len(text), MaxToken)
	}
	return text, expires, nil
}

// xmlText reports whether the text can stand in XML (XML 1.0 §2.2). The server
// writes what is in context.user into presence; Prosody raises an error there
// on anything else, and the join fails.
func xmlText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}
