package token

import (
	"errors"
	"net/url"
	"strings"
)

// URL returns the address that opens the room of the Jitsi site at site, such
// as https://meet.example.org, with the token in its fragment. A fragment is
// not sent to servers, so it stays out of access logs and of Referer; web
// clients look there first (react/features/base/jwt/functions.ts).
func URL(site, room, token string) (string, error) {
	u, err := url.Parse(site)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("token: the site's URL must look like https://meet.example.org")
	}
	if !roomName.MatchString(room) {
		return "", errRoomName
	}
	u = u.JoinPath(strings.ToLower(room))
	u.Fragment = "jwt=" + token
	return u.String(), nil
}
