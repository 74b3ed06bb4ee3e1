package token

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Weight is how much a finding matters.
type Weight string

// The weights of findings.
const (
	Refused Weight = "refused" // Prosody keeps the bearer out; the text says so where it depends on a setting
	Unsafe  Weight = "unsafe"  // Prosody may let the bearer in, we do not: it opens too much or too long
	Note    Weight = "note"    // the bearer gets in, but something will not be as meant
)

// Finding is something about a token that somebody on the way into a room
// takes exception to.
type Finding struct {
	Weight Weight
	Text   string // a sentence in plain words
}

// Expect is what a token is held against. What is empty is not compared;
// without Key the signature is not checked.
type Expect struct {
	Site
	Key  *Key
	Room string
}

// Inspection is what there is to say about a token.
type Inspection struct {
	Header, Payload []byte         // JSON objects; nil: cannot be read
	Claims          map[string]any // the payload's
	Findings        []Finding

	now    time.Time
	want   Expect
	header map[string]any
}

// Inspect finds everything that Prosody's token plugins or the web client take
// exception to in the token at the time now; nothing in one that [Issuer.Issue]
// makes. The rules are those of jitsi-meet's luajwtjitsi.lib.lua,
// token/util.lib.lua and react/features/base/jwt. The text of the token is not
// trusted; what the findings quote of it is cut short.
func Inspect(now time.Time, text string, want Expect) *Inspection {
	i := &Inspection{now: now, want: want}
	if len(text) > MaxToken {
		i.find(Refused, "it has %d bytes; nginx in front of Prosody takes a web address of 8 KiB, so %d are the most", len(text), MaxToken)
	}
	if i.decode(text) {
		i.checkHeader(text)
		i.checkTimes()
		i.checkParties()
		i.checkRoom()
		i.checkContext()
	}
	return i
}

// decode takes the token apart (RFC 7515 §7.1), as far as it can.
func (i *Inspection) decode(text string) bool {
	parts, problem := strings.Split(text, "."), ""
	if len(parts) != 3 {
		problem = fmt.Sprintf("it has %d parts; a token is header, payload and signature with dots between them", len(parts))
	}
	for n, part := range parts[:min(len(parts), 3)] {
		name := [...]string{"header", "payload", "signature"}[n]
		plain, err := base64.RawURLEncoding.DecodeString(part)
		var object map[string]any
		switch {
		case err != nil || strings.ContainsAny(part, "\r\n"): // which Go's decoder skips
			problem = cmp.Or(problem, "its "+name+" is not base64url without padding")
		case name == "signature":
		case json.Unmarshal(plain, &object) != nil || object == nil:
			problem = cmp.Or(problem, "its "+name+" is not a JSON object")
		case name == "header":
			i.Header, i.header = plain, object
		default:
			i.Payload, i.Claims = plain, object
		}
	}
	if problem != "" {
		i.find(Refused, "%s", problem)
	}
	return problem == ""
}

func (i *Inspection) checkHeader(text string) {
	if i.header["typ"] != "JWT" {
		i.find(Refused, "header typ is %s; Prosody wants exactly \"JWT\"", show(i.header, "typ"))
	}
	alg, _ := i.header["alg"].(string)
	good, why := []string{"HS256", "RS256"}, "Prosody takes one algorithm, HS256 unless signature_algorithm says otherwise"
	if key := i.want.Key; key != nil {
		good, why = []string{key.method.Alg()}, "the site's key is for "+key.method.Alg()
	}
	switch {
	case strings.EqualFold(alg, "none") || alg == "":
		i.find(Refused, "header alg is %s: it is not signed", show(i.header, "alg"))
		return
	case !slices.Contains(good, alg):
		i.find(Refused, "header alg is %s; %s", show(i.header, "alg"), why)
		return
	case alg == "RS256":
		i.checkKeyID()
	}
	if i.want.Key != nil && !i.want.Key.signed(text) {
		i.find(Refused, "the signature is not of the site's key")
	}
}

func (i *Inspection) checkKeyID() {
	kid, ok := i.header["kid"].(string)
	switch {
	case !ok || kid == "":
		i.find(Refused, "header kid is %s; Prosody looks for the public key by it", show(i.header, "kid"))
	case i.want.Key != nil && kid != i.want.Key.id:
		i.find(Refused, "header kid is %s; the site's key is %q", show(i.header, "kid"), i.want.Key.id)
	}
}

// checkTimes knows no leeway, because Prosody has none.
func (i *Inspection) checkTimes() {
	now := float64(i.now.Unix())
	exp, isNumber := i.Claims["exp"].(float64)
	switch value, given := i.Claims["exp"]; {
	case !given:
		i.find(Unsafe, "claim exp is missing; Prosody lets the bearer in for ever, the web client complains")
	case !isNumber:
		i.find(Refused, "claim exp is %s, not a number of seconds", quote(value))
	case now >= exp:
		i.find(Refused, "it expired %.0f s ago", now-exp)
	case exp > now+MaxTTL.Seconds():
		i.find(Unsafe, "it lives for %.3g days, and Prosody cannot revoke it; is claim exp in seconds?", (exp-now)/86400)
	}
	nbf, isNumber := i.Claims["nbf"].(float64)
	switch value, given := i.Claims["nbf"]; {
	case given && !isNumber:
		i.find(Refused, "claim nbf is %s, not a number of seconds", quote(value))
	case now < nbf:
		i.find(Refused, "it is valid in %.0f s only; until then people hang on the join screen", nbf-now)
	}
}

// checkParties looks at who made the token, and for whom.
func (i *Inspection) checkParties() {
	if iss, ok := i.Claims["iss"].(string); !ok || i.want.AppID != "" && iss != i.want.AppID {
		i.find(Refused, "claim iss is %s; Prosody wants its app_id%s, or one of asap_accepted_issuers", show(i.Claims, "iss"), named(i.want.AppID))
	}
	switch aud := i.Claims["aud"].(type) {
	case string:
		if i.want.Audience != "" && aud != i.want.Audience {
			i.find(Refused, "claim aud is %s; where asap_accepted_audiences is set, Prosody wants one of them, here%s", quote(aud), named(i.want.Audience))
		}
	case []any:
		i.find(Refused, "claim aud is a list; Prosody compares it with a string, so it fails where asap_accepted_audiences is set")
	default:
		i.find(Refused, "claim aud is %s; it must be a string", show(i.Claims, "aud"))
	}
	sub, ok := i.Claims["sub"].(string)
	switch {
	case !ok:
		i.find(Refused, "claim sub is %s; Prosody wants its XMPP domain%s", show(i.Claims, "sub"), named(i.want.Domain))
	case sub == "*":
		i.find(Unsafe, "claim sub is \"*\": it opens rooms of every domain")
	case i.want.Domain != "" && lower(sub) != lower(i.want.Domain):
		i.find(Refused, "claim sub is %s; with enable_domain_verification Prosody wants its XMPP domain%s", quote(sub), named(i.want.Domain))
	}
}

func (i *Inspection) checkRoom() {
	room, ok := i.Claims["room"].(string)
	switch {
	case !ok || room == "":
		i.find(Refused, "claim room is %s; it must name the room", show(i.Claims, "room"))
	case room == "*":
		i.find(Unsafe, "claim room is \"*\": it opens every room")
	case strings.Contains(room, "@"):
		i.find(Refused, "claim room is %s; it must be the name alone, without the domain", quote(room))
	case i.want.Room != "" && lower(room) != lower(i.want.Room):
		i.find(Refused, "claim room is %s; it does not open %s", quote(room), quote(i.want.Room))
	}
	context, _ := i.Claims["context"].(map[string]any)
	if r, _ := context["room"].(map[string]any); r["regex"] == true {
		i.find(Unsafe, "context.room.regex is true: claim room is a pattern for many rooms")
	}
}

// checkContext looks at what opens no door but goes wrong behind it.
func (i *Inspection) checkContext() {
	context, ok := i.Claims["context"].(map[string]any)
	if !ok {
		i.find(Note, "claim context is %s; the web client misses it", show(i.Claims, "context"))
		return
	}
	i.checkPlaces(context)
	i.checkUser(i.contextObject(context, "user"))
	i.checkFeatures(i.contextObject(context, "features"))
}

// contextObject returns the object of that name in the claim context, nil if
// there is none.
func (i *Inspection) contextObject(context map[string]any, name string) map[string]any {
	object, ok := context[name].(map[string]any)
	if !ok && context[name] != nil {
		i.find(Note, "context.%s is %s, not an object", name, quote(context[name]))
	}
	return object
}

func (i *Inspection) checkUser(user map[string]any) {
	i.checkModerator(user)
	for _, name := range slices.Sorted(maps.Keys(user)) {
		switch value := user[name].(type) {
		case string:
			if !xmlText(value) {
				i.find(Refused, "context.user.%s has control characters; Prosody cannot write it into presence", clip(name))
			}
		case bool: // mod_token_affiliation and mod_presence_identity take it
		default:
			i.find(Note, "context.user.%s is %s; numbers and null fail in clients, it must be a string", clip(name), quote(value))
		}
	}
}

// placed is where the claims have to be that Jitsi's plugins and web client read.
var placed = map[string]string{
	"moderator": "context.user.", "affiliation": "context.user.", "name": "context.user.", "email": "context.user.", "avatar": "context.user.",
	"user": "context.", "features": "context.", "group": "context.",
}

// checkPlaces finds claims that do nothing where they are.
func (i *Inspection) checkPlaces(context map[string]any) {
	user, _ := context["user"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(placed)) {
		for _, in := range []struct {
			place  string
			claims map[string]any
		}{{"", i.Claims}, {"context.", context}, {"context.user.", user}} {
			if _, there := in.claims[name]; there && in.place != placed[name] {
				i.find(Note, "claim %s%s does nothing; it is read from %s%s", in.place, name, placed[name], name)
			}
		}
	}
}

// checkModerator knows what mod_token_affiliation makes a moderator of.
func (i *Inspection) checkModerator(user map[string]any) {
	switch value := user["moderator"]; value {
	case nil, true, "true", false, "false":
	default:
		i.find(Note, "context.user.moderator is %s; only true and \"true\" make a moderator", quote(value))
	}
	switch value := user["affiliation"]; value {
	case nil, "owner", "moderator", "teacher", "member", "none":
	default:
		i.find(Note, "context.user.affiliation is %s; only \"owner\", \"moderator\" and \"teacher\" make a moderator", quote(value))
	}
}

func (i *Inspection) checkFeatures(features map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(features)) {
		if !slices.Contains(moderatorFeatures, name) && !slices.Contains(otherFeatures, name) && name != lobbyBypass {
			i.find(Note, "context.features has %s, which the web client does not know", quote(name))
		}
		if value := features[name]; value != true && value != false && value != "true" && value != "false" {
			i.find(Note, "context.features.%s is %s, neither true nor false", clip(name), quote(value))
		}
	}
}

func (i *Inspection) find(weight Weight, format string, args ...any) {
	i.Findings = append(i.Findings, Finding{weight, fmt.Sprintf(format, args...)})
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
	text, _ := json.Marshal(value) // which it came out of
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
