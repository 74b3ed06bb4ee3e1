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
}

type adminQuery struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#admin query"`
	Items   []item   `xml:"item"`
}

// grant makes the occupant an owner of the room (XEP-0045 §10.3). A room that
// does not exist answers item-not-found: this is also how usher finds out that
// one has come alive, since an IQ never creates a room.
func (r *Rooms) grant(ctx context.Context, room string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	return r.control.IQ(ctx, r.site.address(room), "set", adminQuery{
		Items: []item{{Affiliation: "owner", JID: r.site.OccupantJID}},
	}, nil)
}

// Own makes usher an owner of the room, should it not be one any more. It
// blocks for an answer.
func (r *Rooms) Own(ctx context.Context, room string) error { return r.grant(ctx, room) }

// list returns everybody in the room: nick, real address and role. It blocks
// for one answer per role. An administrator may ask without being in
// (XEP-0045 §9.7).
func (r *Rooms) list(ctx context.Context, room string, roles ...string) ([]item, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	var everybody []item
	for _, role := range roles {
		var reply adminQuery
		err := r.control.IQ(ctx, r.site.address(room), "get", adminQuery{Items: []item{{Role: role}}}, &reply)
		if err != nil {
			return nil, err
		}
		everybody = append(everybody, reply.Items...)
	}
	return everybody, nil
}

// destroy ends the room for everybody in it (XEP-0045 §10.9).
func (r *Rooms) destroy(ctx context.Context, room, reason string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	type destroy struct {
		Reason string `xml:"reason"`
	}
	return r.control.IQ(ctx, r.site.address(room), "set", struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
		Destroy destroy  `xml:"destroy"`
	}{Destroy: destroy{reason}}, nil)
}

// password reads the room's password from the owner's form (XEP-0045 §10.2).
// Owners are asked for it like everybody else.
func (r *Rooms) password(ctx context.Context, room string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	var form struct {
		Fields []struct {
			Var   string `xml:"var,attr"`
			Value string `xml:"value"`
		} `xml:"jabber:x:data x>field"`
	}
	err := r.control.IQ(ctx, r.site.address(room), "get", struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
	}{}, &form)
	if err != nil {
		return "", err
	}
	for _, f := range form.Fields {
		if f.Var == "muc#roomconfig_roomsecret" {
			return f.Value, nil
		}
	}
	return "", errors.New("muc: the room's form has no password")
}

// selfPing asks on the occupant's stream whether usher is in the room
// (XEP-0410). The answer comes after every presence that the server sent
// before it, so it is a barrier as well.
func (r *Rooms) selfPing(ctx context.Context, room string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, iqTimeout, errNoAnswer)
	defer cancel()
	return r.occupant.IQ(ctx, r.site.address(room)+"/"+r.site.Nick, "get", struct {
		XMLName xml.Name `xml:"urn:xmpp:ping ping"`
	}{}, nil)
}

// is reports whether the error is a stanza error with the condition.
func is(err error, condition stanza.Condition) bool {
	var e stanza.Error
	return errors.As(err, &e) && e.Condition == condition
}
