package muc

import (
	"context"
	"encoding/xml"
	"errors"

	"mellium.im/xmpp/stanza"
)

// item is one line of an affiliation or role list (XEP-0045 §9, §10).
type item struct {
	Affiliation string `xml:"affiliation,attr,omitempty"`
	Role        string `xml:"role,attr,omitempty"`
	JID         string `xml:"jid,attr,omitempty"`
	Nick        string `xml:"nick,attr,omitempty"`
	Reason      string `xml:"reason,omitempty"`
	// Actor is who put the occupant out (XEP-0045 §8.2).
	Actor *actor `xml:"actor"`
}

type actor struct {
	Nick string `xml:"nick,attr"`
}

// presence returns what a list says of an occupant as a presence would.
func (i item) presence() *presence {
	p := &presence{}
	p.User.Items = []item{i}
	return p
}

type adminQuery struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#admin query"`
	Items   []item   `xml:"item"`
}

// ownerQuery asks for the room's form, or destroys the room.
type ownerQuery struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
	Destroy *destroy `xml:"destroy"`
}

type destroy struct {
	Reason string `xml:"reason"`
}

// request sends an IQ and blocks for the answer, iqTimeout at most. It is called
// with r.mu held and gives it up meanwhile, as all do that call it.
func (r *Rooms) request(ctx context.Context, s Stream, to, typ string, payload, reply any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	return r.unlocked(func() error { return s.IQ(ctx, to, typ, payload, reply) })
}

// grant gives the occupant an affiliation with the room (XEP-0045 §9.3, §10.3). A
// room that does not exist answers item-not-found: this is also how usher finds out
// that one has come alive, since an IQ never creates a room.
func (r *Rooms) grant(ctx context.Context, room, affiliation string) error {
	return r.request(ctx, r.cfg.Control, r.address(room), "set", adminQuery{
		Items: []item{{Affiliation: affiliation, JID: r.cfg.Site.OccupantJID}},
	}, nil)
}

// list returns everybody in the room: nick, real address and role. It blocks
// for one answer per role. An administrator may ask without being in
// (XEP-0045 §9.7).
func (r *Rooms) list(ctx context.Context, room string, roles ...string) ([]item, error) {
	var everybody []item
	for _, role := range roles {
		var reply adminQuery
		err := r.request(ctx, r.cfg.Control, r.address(room), "get", adminQuery{Items: []item{{Role: role}}}, &reply)
		if err != nil {
			return nil, err
		}
		everybody = append(everybody, reply.Items...)
	}
	return everybody, nil
}

// destroy ends the room for everybody in it (XEP-0045 §10.9).
func (r *Rooms) destroy(ctx context.Context, room, reason string) error {
	return r.request(ctx, r.cfg.Control, r.address(room), "set", ownerQuery{Destroy: &destroy{reason}}, nil)
}

// form reads the owner's form (XEP-0045 §10.2): the first value of each field.
func (r *Rooms) form(ctx context.Context, room string) (map[string]string, error) {
	var form struct {
		Fields []struct {
			Var   string `xml:"var,attr"`
			Value string `xml:"value"`
		} `xml:"jabber:x:data x>field"`
	}
	if err := r.request(ctx, r.cfg.Control, r.address(room), "get", ownerQuery{}, &form); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, f := range form.Fields {
		values[f.Var] = f.Value
	}
	return values, nil
}

// password reads the room's password from its form. Owners are asked for it like
// everybody else.
func (r *Rooms) password(ctx context.Context, room string) (string, error) {
	form, err := r.form(ctx, room)
	password, ok := form["muc#roomconfig_roomsecret"]
	if err == nil && !ok {
		err = errors.New("muc: the room's form has no password")
	}
	return password, err
}

// showAddresses has everybody in the room see the others' real addresses (XEP-0045
// §10.2, muc#roomconfig_whois); fields that are left out stay as they are.
func (r *Rooms) showAddresses(ctx context.Context, room string) error {
	type field struct {
		Var   string `xml:"var,attr"`
		Value string `xml:"value"`
	}
	type form struct {
		XMLName xml.Name `xml:"jabber:x:data x"`
		Type    string   `xml:"type,attr"`
		Fields  []field  `xml:"field"`
	}
	return r.request(ctx, r.cfg.Control, r.address(room), "set", struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
		Form    form
	}{Form: form{Type: "submit", Fields: []field{
		{"FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"}, {"muc#roomconfig_whois", "anyone"},
	}}}, nil)
}

// selfPing asks on the occupant's stream whether usher is in the room
// (XEP-0410). The answer comes after every presence that the server sent
// before it, so it is a barrier as well.
func (r *Rooms) selfPing(ctx context.Context, rm *room) error {
	return r.request(ctx, r.cfg.Occupant, r.self(rm), "get", struct {
		XMLName xml.Name `xml:"urn:xmpp:ping ping"`
	}{}, nil)
}

// is reports whether the error is a stanza error with the condition.
func is(err error, condition stanza.Condition) bool {
	return errors.Is(err, stanza.Error{Condition: condition})
}
