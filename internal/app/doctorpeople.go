package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"usher/api"
	"usher/internal/sleep"
	"usher/token"
)

// doctorToken is how long the token that the doctor makes for itself is good.
const doctorToken = 5 * time.Minute

// people goes the way of a person's browser, through the site's web server: logs in
// with a token of usher's, asks for a room, enters and leaves it. The room's name is
// random; a running usher knows no meeting there.
func (d *doctor) people(ctx context.Context) api.Finding {
	if d.cfg.SiteURL == "" {
		return ok("not tried: there is no USHER_SITE_URL")
	}
	room := "usher-doctor-" + strings.ToLower(rand.Text())[:8]
	query := url.Values{"room": {room}}
	as := "without a token"
	if d.cfg.MakesTokens() {
		issuer, err := NewIssuer(d.cfg.Jitsi)
		if err != nil {
			return warn("not tried: "+err.Error(), "see what settings says")
		}
		now := time.Now()
		jwt, _, err := issuer.Issue(now, token.Claims{Room: room, User: token.User{Name: "usher doctor"}, Expires: now.Add(doctorToken)})
		if err != nil {
			return warn("not tried: "+err.Error(), "see what settings says")
		}
		query.Set("token", jwt)
		as = "with a token"
	}
	b := &bosh{url: strings.TrimSuffix(d.cfg.SiteURL, "/") + "/http-bind?" + query.Encode(), to: d.cfg.XMPPDomain, rid: time.Now().UnixMilli()}
	defer b.end(context.WithoutCancel(ctx))
	jid, f := d.personLogsIn(ctx, b)
	if f.State != "" {
		return f
	}
	if d.cfg.ReservationToken != "" && d.running == nil {
		return ok("people get in " + as + "; no room was asked for: Prosody would ask usher, which does not run here")
	}
	return d.personMeets(ctx, b, jid, room, as)
}

// personLogsIn returns the address that the server gives a person, or what is wrong.
func (d *doctor) personLogsIn(ctx context.Context, b *bosh) (jid string, f api.Finding) {
	jid, err := b.login(ctx)
	var refused *refusedError
	switch {
	case err == nil:
		return jid, f
	case errors.As(err, &refused) && (refused.condition == "host-unknown" || refused.condition == "improper-addressing"):
		return "", fail("Prosody does not know the domain "+d.cfg.XMPPDomain, "set USHER_XMPP_DOMAIN to hosts.domain of the site's config.js")
	case !errors.As(err, &refused) || refused.ended:
		return "", fail("people's way to log in, "+d.cfg.SiteURL+"/http-bind: "+err.Error(), "set USHER_SITE_URL to the address of the site, whose web server passes /http-bind on to Prosody")
	case !d.cfg.MakesTokens():
		return "", warn("Prosody lets nobody in without a token, and usher makes none: "+refused.Error(),
			"set USHER_JWT_APP_ID to Prosody's app_id (JWT_APP_ID), and USHER_JWT_SECRET to its app_secret (JWT_APP_SECRET)")
	}
	return "", fail("Prosody refuses usher's token: "+refused.Error(), tokenAdvice(refused.Error()))
}

// tokenAdvice says which setting Prosody's refusal is about, by the words that
// Jitsi's modules use.
func tokenAdvice(refusal string) string {
	for _, one := range []struct{ word, do string }{
		{"iss", "set USHER_JWT_APP_ID to Prosody's app_id (JWT_APP_ID), which asap_accepted_issuers (JWT_ACCEPTED_ISSUERS) must hold"},
		{"aud", "set USHER_JWT_AUDIENCE to one of Prosody's asap_accepted_audiences (JWT_ACCEPTED_AUDIENCES)"},
		{"signature", "set USHER_JWT_SECRET to Prosody's app_secret (JWT_APP_SECRET)"},
		{"alg", "set USHER_JWT_KEY_FILE where Prosody has asap_key_server (RS256), and USHER_JWT_SECRET where it has app_secret (HS256)"},
		{"by nbf", "see what clock says"}, {"by exp", "see what clock says"},
	} {
		if strings.Contains(strings.ToLower(refusal), one.word) {
			return one.do
		}
	}
	return "set USHER_JWT_APP_ID, USHER_JWT_SECRET and USHER_JWT_AUDIENCE to Prosody's app_id, app_secret and one of asap_accepted_audiences"
}

// personMeets asks the focus for the room, enters it and leaves.
func (d *doctor) personMeets(ctx context.Context, b *bosh, jid, room, as string) api.Finding {
	address := room + "@" + d.cfg.MUC
	err := b.conference(ctx, "focus."+d.cfg.XMPPDomain, address)
	var refused *refusedError
	switch {
	case err == nil && d.cfg.ReservationToken != "":
		return warn("people get in "+as+", and into a room that no app has made: Prosody asks nobody",
			`put "reservations" into modules_enabled of VirtualHost "`+d.cfg.XMPPDomain+`", with reservations_api_prefix, and restart Prosody`)
	case errors.As(err, &refused) && refused.reservation && strings.Contains(refused.text, "There is no such meeting"):
		return ok("people get in " + as + "; Prosody asked usher about a room, and refused it because no app has made it")
	case errors.As(err, &refused) && refused.reservation:
		return fail("Prosody asks before a room opens, and not usher, or usher does not take its word: "+refused.Error(),
			"set Prosody's reservations_api_prefix (PROSODY_RESERVATION_REST_BASE_URL) to http://USHER:PORT/reservations, and USHER_RESERVATION_TOKEN to the same for both; restart both")
	case err != nil:
		return fail("people get in "+as+", and Jicofo does not open a room at focus."+d.cfg.XMPPDomain+": "+err.Error(), "start Jicofo, and look at its log")
	}
	if err := b.visit(ctx, address+"/"+jid[:min(8, len(jid))]); err != nil {
		return fail("people get in "+as+", and not into a room: "+err.Error(), "set USHER_MUC to hosts.muc of the site's config.js, or see what Prosody's log says of "+room)
	}
	return ok("people get in " + as + ", and into a room")
}

// bosh is a person's stream over HTTP (XEP-0124, XEP-0206), one request after the
// other.
type bosh struct {
	url, to, sid string
	rid          int64
}

const (
	boshNS = "http://jabber.org/protocol/httpbind"
	// boshWait is how long the server may hold back a request when it has nothing to say,
	// in seconds.
	boshWait = 2
	// boshEnd is how long the end may take, which nothing depends on.
	boshEnd = 300 * time.Millisecond
)

// refusedError is an error of the server's.
type refusedError struct {
	condition, text string
	reservation     bool // of the module that asks before a room opens
	ended           bool // of the stream, by its server (XEP-0124 §17)
}

func (e *refusedError) Error() string { return strings.Trim(e.condition+": "+e.text, ": ") }

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
	Text     string     `xml:",chardata"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// child returns the first descendant on the path of names, or an empty element.
func (e element) child(path ...string) (found element) {
	for _, name := range path {
		found = element{}
		for _, c := range e.Children {
			if c.XMLName.Local == name {
				found = c
				break
			}
		}
		e = found
	}
	return found
}

// refusal reads an <error/> (RFC 6120 §8.3) or <failure/> (§6.5).
func (e element) refusal() *refusedError {
	r := &refusedError{}
	for _, c := range e.Children {
		switch c.XMLName.Local {
		case "text":
			r.text = c.Text
		case "reservation-error":
			r.reservation = true
		default:
			r.condition = c.XMLName.Local
		}
	}
	return r
}

// post sends what stands in the body and returns what the answer has in its own.
func (b *bosh) post(ctx context.Context, attributes, inner string) (element, error) {
	b.rid++
	if b.sid != "" {
		attributes += " sid='" + b.sid + "'"
	}
	body := fmt.Sprintf("<body xmlns='%s' xmlns:xmpp='urn:xmpp:xbosh' rid='%d' %s>%s</body>", boshNS, b.rid, attributes, inner)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return element{}, errors.New("it is no URL")
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		// Its URL has the token in it.
		if inner := new(url.Error); errors.As(err, &inner) {
			err = inner.Err
		}
		return element{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	var answer element
	if err == nil {
		err = xml.Unmarshal(text, &answer)
	}
	if err == nil && answer.attr("type") == "terminate" {
		err = &refusedError{condition: answer.attr("condition"), ended: true}
	}
	return answer, err
}

// until posts, and then asks for more until the server sends what match accepts.
func (b *bosh) until(ctx context.Context, attributes, inner string, match func(element) bool) (element, error) {
	for {
		answer, err := b.post(ctx, attributes, inner)
		if err != nil {
			return element{}, err
		}
		for _, c := range answer.Children {
			if match(c) {
				return c, nil
			}
		}
		attributes, inner = "", ""
	}
}

func named(names ...string) func(element) bool {
	return func(e element) bool {
		return slices.Contains(names, e.XMLName.Local)
	}
}

// login opens a stream, logs in anonymously, the token being in the URL, and returns the
// address that the server gives.
func (b *bosh) login(ctx context.Context) (jid string, err error) {
	header := fmt.Sprintf("to='%s' wait='%d' hold='1' ver='1.6' content='text/xml; charset=utf-8' xml:lang='en' xmpp:version='1.0'", b.to, boshWait)
	first, err := b.post(ctx, header, "")
	if err != nil {
		return "", err
	}
	if b.sid = first.attr("sid"); b.sid == "" {
		return "", errors.New("what answers is not Prosody")
	}
	answer, err := b.until(ctx, "", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", named("success", "failure"))
	if err != nil {
		return "", err
	}
	if answer.XMLName.Local == "failure" {
		return "", answer.refusal()
	}
	if _, err = b.until(ctx, fmt.Sprintf("xmpp:restart='true' to='%s'", b.to), "", named("features")); err != nil {
		return "", err
	}
	bound, err := b.request(ctx, "", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
	return bound.child("bind", "jid").Text, err
}

// request sends an IQ and returns its answer.
func (b *bosh) request(ctx context.Context, to, payload string) (element, error) {
	if to != "" {
		to = " to='" + to + "'"
	}
	id := rand.Text()
	answer, err := b.until(ctx, "", fmt.Sprintf("<iq xmlns='jabber:client' type='set' id='%s'%s>%s</iq>", id, to, payload), func(e element) bool {
		return e.XMLName.Local == "iq" && e.attr("id") == id
	})
	if err == nil && answer.attr("type") == "error" {
		err = answer.child("error").refusal()
	}
	return answer, err
}

// conference asks the focus for a room until that is ready, as web clients do.
func (b *bosh) conference(ctx context.Context, focus, room string) error {
	for {
		answer, err := b.request(ctx, focus, fmt.Sprintf("<conference xmlns='http://jitsi.org/protocol/focus' room='%s' machine-uid='%s'/>", room, rand.Text()))
		if err != nil || answer.child("conference").attr("ready") == "true" {
			return err
		}
		if !sleep.For(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// visit enters a room and leaves it.
func (b *bosh) visit(ctx context.Context, occupant string) error {
	answer, err := b.until(ctx, "", fmt.Sprintf("<presence xmlns='jabber:client' to='%s'><x xmlns='http://jabber.org/protocol/muc'/></presence>", occupant), func(e element) bool {
		if e.XMLName.Local != "presence" {
			return false
		}
		for _, c := range e.child("x").Children { // our own: status 110 (XEP-0045 §7.2.2)
			if c.XMLName.Local == "status" && c.attr("code") == "110" {
				return true
			}
		}
		return e.attr("type") == "error"
	})
	if err != nil {
		return err
	}
	if answer.attr("type") == "error" {
		return answer.child("error").refusal()
	}
	_, err = b.post(ctx, "", fmt.Sprintf("<presence xmlns='jabber:client' to='%s' type='unavailable'/>", occupant))
	return err
}

// end closes the stream, if there is one.
func (b *bosh) end(ctx context.Context) {
	if b.sid == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, boshEnd)
	defer cancel()
	_, _ = b.post(ctx, "type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>") // else it ends by itself
}
