package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Weight is how much a finding matters.
type Weight string

// The weights of findings.
const (
	Refused Weight = "refused" // Prosody keeps the bearer out; the text says so where it depends on a setting
	Unsafe  Weight = "unsafe"  // Prosody may let the bearer in, we do not: it opens too much or too long
	Note    Weight = "note"    // the bearer gets in, but something will not be as meant
)

// Reason is a finding's kind, from a closed set.
type Reason string

// The reasons of findings, in the order in which they are looked for.
const (
	TooLong        Reason = "too_long"
	Malformed      Reason = "malformed"
	WrongType      Reason = "wrong_type"
	Unsigned       Reason = "unsigned" // alg none
	WrongAlgorithm Reason = "wrong_algorithm"
	WrongKeyID     Reason = "wrong_key_id"
	BadSignature   Reason = "bad_signature"
	NoExpiry       Reason = "no_expiry"
	Expired        Reason = "expired"
	LongLived      Reason = "long_lived"
	NotYetValid    Reason = "not_yet_valid"
	WrongIssuer    Reason = "wrong_issuer"
	WrongAudience  Reason = "wrong_audience"
	AudienceList   Reason = "audience_list"
	WrongDomain    Reason = "wrong_domain"
	WrongRoom      Reason = "wrong_room"
	AnyRoom        Reason = "any_room" // "*" or a pattern
	OddContext     Reason = "odd_context"
)

// Finding is something about a token that somebody on the way into a room
// takes exception to.
type Finding struct {
	Weight Weight
	Reason Reason
	Text   string // a sentence in plain words
}

// Expect is what a token is held against. What is empty is not compared;
// without Key the signature is not checked.
type Expect struct {
	Site
	Key  *Key
	Room string
}

// inspection collects the findings on one token.
type inspection struct {
	now      time.Time
	want     Expect
	header   map[string]any
	claims   map[string]any
	findings []Finding
	parseErr error // what the library says, where there is a key
}

// Inspect returns everything that Prosody's token plugins or the web client
// take exception to in the token at the time now; nothing for one that
// [Issuer.Issue] makes. The rules are those of jitsi-meet's luajwtjitsi.lib.lua,
// token/util.lib.lua and react/features/base/jwt. The text of the token is not
// trusted; what the findings quote of it is cut short.
func Inspect(now time.Time, text string, want Expect) []Finding {
	return inspect(now, text, want).findings
}

func inspect(now time.Time, text string, want Expect) *inspection {
	i := &inspection{now: now, want: want}
	if len(text) > MaxToken {
		i.refuse(TooLong, "it has %d bytes; nginx in front of Prosody takes a web address of 8 KiB, so %d are the most", len(text), MaxToken)
		return i
	}
	if !i.decode(text) {
		return i
	}
	i.checkHeader(text)
	i.checkTimes()
	i.checkParties()
	i.checkRoom()
	i.checkContext()
	return i
}

// decode takes the token apart (RFC 7515 §7.1).
func (i *inspection) decode(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		i.refuse(Malformed, "it has %d parts; a token is header, payload and signature with dots between them", len(parts))
		return false
	}
	for n, part := range parts {
		name := [...]string{"header", "payload", "signature"}[n]
		// Go's decoder skips line breaks.
		plain, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			i.refuse(Malformed, "its %s is not base64url without padding", name)
			return false
		}
		into := [...]*map[string]any{&i.header, &i.claims, nil}[n]
		if into == nil {
			continue
		}
		if err := json.Unmarshal(plain, into); err != nil || *into == nil {
			i.refuse(Malformed, "its %s is not a JSON object", name)
			return false
		}
	}
	return true
}

func (i *inspection) checkHeader(text string) {
	if i.header["typ"] != "JWT" {
		i.refuse(WrongType, "header typ is %s; Prosody wants exactly \"JWT\"", show(i.header, "typ"))
	}
	alg, _ := i.header["alg"].(string)
	known := alg == "HS256" || alg == "RS256"
	if i.want.Key != nil {
		known = alg == i.want.Key.method.Alg()
	}
	switch {
	case strings.EqualFold(alg, "none") || alg == "":
		i.refuse(Unsigned, "header alg is %s: it is not signed", show(i.header, "alg"))
		return
	case !known && i.want.Key != nil:
		i.refuse(WrongAlgorithm, "header alg is %s; the site's key is for %s", show(i.header, "alg"), i.want.Key.method.Alg())
		return
	case !known:
		i.refuse(WrongAlgorithm, "header alg is %s; Prosody takes one algorithm, HS256 unless signature_algorithm says otherwise", show(i.header, "alg"))
	}
	if strings.HasPrefix(alg, "RS") {
		i.checkKeyID()
	}
	if i.want.Key != nil {
		i.checkSignature(text)
	}
}

func (i *inspection) checkKeyID() {
	kid, ok := i.header["kid"].(string)
	switch {
	case !ok || kid == "":
		i.refuse(WrongKeyID, "header kid is %s; Prosody looks for the public key by it", show(i.header, "kid"))
	case i.want.Key != nil && kid != i.want.Key.id:
		i.refuse(WrongKeyID, "header kid is %s; the site's key is %q", show(i.header, "kid"), i.want.Key.id)
	}
}

func (i *inspection) checkSignature(text string) {
	i.parseErr = i.want.Key.parse(i.now, text)
	switch {
	case errors.Is(i.parseErr, jwt.ErrTokenSignatureInvalid):
		i.refuse(BadSignature, "the signature is not of the site's key")
	case i.parseErr == nil, errors.Is(i.parseErr, jwt.ErrTokenInvalidClaims):
		// The claims have rules of their own below.
	default:
		i.refuse(Malformed, "it cannot be read as a token")
	}
}

// checkTimes knows no leeway, because Prosody has none.
func (i *inspection) checkTimes() {
	now := float64(i.now.Unix())
	exp, isNumber := i.claims["exp"].(float64)
	switch value, given := i.claims["exp"]; {
	case !given:
		i.find(Unsafe, NoExpiry, "claim exp is missing; Prosody lets the bearer in for ever, the web client complains")
	case !isNumber:
		i.refuse(NoExpiry, "claim exp is %s, not a number of seconds", quote(value))
	case now >= exp:
		i.refuse(Expired, "it expired %.0f s ago", now-exp)
	case exp > now+MaxTTL.Seconds():
		i.find(Unsafe, LongLived, "it lives for %.3g days, and Prosody cannot revoke it; is claim exp in seconds?", (exp-now)/86400)
	}
	nbf, isNumber := i.claims["nbf"].(float64)
	switch value, given := i.claims["nbf"]; {
	case given && !isNumber:
		i.refuse(NotYetValid, "claim nbf is %s, not a number of seconds", quote(value))
	case now < nbf:
		i.refuse(NotYetValid, "it is valid in %.0f s only; until then people hang on the join screen", nbf-now)
	}
}

// checkParties looks at who made the token, and for whom.
func (i *inspection) checkParties() {
	if iss, ok := i.claims["iss"].(string); !ok || i.want.AppID != "" && iss != i.want.AppID {
		i.refuse(WrongIssuer, "claim iss is %s; Prosody wants its app_id%s, or one of asap_accepted_issuers", show(i.claims, "iss"), named(i.want.AppID))
	}
	switch aud := i.claims["aud"].(type) {
	case string:
		if i.want.Audience != "" && aud != i.want.Audience {
			i.refuse(WrongAudience, "claim aud is %s; where asap_accepted_audiences is set, Prosody wants one of them, here%s", quote(aud), named(i.want.Audience))
		}
	case []any:
		i.refuse(AudienceList, "claim aud is a list; Prosody compares it with a string, so it fails where asap_accepted_audiences is set")
	default:
		i.refuse(WrongAudience, "claim aud is %s; it must be a string", show(i.claims, "aud"))
	}
	sub, ok := i.claims["sub"].(string)
	switch {
	case !ok:
		i.refuse(WrongDomain, "claim sub is %s; Prosody wants its XMPP domain%s", show(i.claims, "sub"), named(i.want.Domain))
	case sub == "*":
		i.find(Unsafe, WrongDomain, "claim sub is \"*\": it opens rooms of every domain")
	case i.want.Domain != "" && lower(sub) != lower(i.want.Domain):
		i.refuse(WrongDomain, "claim sub is %s; with enable_domain_verification Prosody wants its XMPP domain%s", quote(sub), named(i.want.Domain))
	}
}

func (i *inspection) checkRoom() {
	room, ok := i.claims["room"].(string)
	switch {
	case !ok || room == "":
		i.refuse(WrongRoom, "claim room is %s; it must name the room", show(i.claims, "room"))
	case room == "*":
		i.find(Unsafe, AnyRoom, "claim room is \"*\": it opens every room")
	case strings.Contains(room, "@"):
		i.refuse(WrongRoom, "claim room is %s; it must be the name alone, without the domain", quote(room))
	case i.want.Room != "" && lower(room) != lower(i.want.Room):
		i.refuse(WrongRoom, "claim room is %s; it does not open %s", quote(room), quote(i.want.Room))
	}
	context, _ := i.claims["context"].(map[string]any)
	if r, _ := context["room"].(map[string]any); r["regex"] == true {
		i.find(Unsafe, AnyRoom, "context.room.regex is true: claim room is a pattern for many rooms")
	}
}

// checkContext looks at what opens no door but goes wrong behind it.
func (i *inspection) checkContext() {
	context, ok := i.claims["context"].(map[string]any)
	if !ok {
		i.find(Note, OddContext, "claim context is %s; the web client misses it", show(i.claims, "context"))
		return
	}
	i.checkUser(i.contextObject(context, "user"))
	i.checkFeatures(i.contextObject(context, "features"))
}

// contextObject returns the object of that name in the claim context, nil if
// there is none.
func (i *inspection) contextObject(context map[string]any, name string) map[string]any {
	object, ok := context[name].(map[string]any)
	if !ok && context[name] != nil {
		i.find(Note, OddContext, "context.%s is %s, not an object", name, quote(context[name]))
	}
	return object
}

func (i *inspection) checkUser(user map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(user)) {
		switch value := user[name].(type) {
		case string:
			if !xmlText(value) {
				i.refuse(OddContext, "context.user.%s has control characters; Prosody cannot write it into presence", clip(name))
			}
		case bool: // mod_token_affiliation and mod_presence_identity take it
		default:
			i.find(Note, OddContext, "context.user.%s is %s; numbers and null fail in clients, it must be a string", clip(name), quote(value))
		}
	}
}

func (i *inspection) checkFeatures(features map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(features)) {
		if !slices.Contains(moderatorFeatures, name) && !slices.Contains(otherFeatures, name) {
			i.find(Note, OddContext, "context.features has %s, which the web client does not know", quote(name))
		}
		if value := features[name]; value != true && value != false && value != "true" && value != "false" {
			i.find(Note, OddContext, "context.features.%s is %s, neither true nor false", clip(name), quote(value))
		}
	}
}

func (i *inspection) refuse(reason Reason, format string, args ...any) {
	i.find(Refused, reason, format, args...)
}

func (i *inspection) find(weight Weight, reason Reason, format string, args ...any) {
	i.findings = append(i.findings, Finding{weight, reason, fmt.Sprintf(format, args...)})
}

// show quotes a member of an object, or says that it is missing.
func show(object map[string]any, name string) string {
	if value, ok := object[name]; ok {
		return quote(value)
	}
	return "missing"
}

// quote writes a value of a token as JSON, cut short.
func quote(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return "unreadable" // cannot be: the value came out of JSON
	}
	return clip(string(text))
}

// shown is how much of a value a finding quotes, in bytes; enough to know it by.
const shown = 80

func clip(s string) string {
	if len(s) <= shown {
		return s
	}
	return strings.ToValidUTF8(s[:shown], "") + "…"
}

// named is a setting's value for a sentence; nothing when it is not known.
func named(value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(" %q", value)
}

// lower is Lua's string.lower: other letters than A to Z stay as they are.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
