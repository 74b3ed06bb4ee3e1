package muc

import (
	"context"
	"encoding/xml"
	"fmt"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/meeting"
)

const (
	// lobbyInterval is the time between two looks into one lobby: soon enough for
	// whoever waits at a door, and one IQ each.
	lobbyInterval = 2 * time.Second
	// lobbiesPerSecond bounds the looks in all, in IQs. With more than 50 lobbies each
	// is looked at less often.
	lobbiesPerSecond = 25
	// statusConfig says that the room's configuration has changed (XEP-0045 §10.2.1).
	statusConfig = "104"
)

// lobby is what is known of a room's lobby, which is a room of that name on a MUC
// of its own (mod_muc_lobby_rooms). Nobody has to be in it to list who waits: its
// affiliations are those of the main room, whose owner the control stream is.
type lobby struct {
	on     bool      // there is one
	unread bool      // that may have changed
	lookAt time.Time // not before that
}

// lobbyNeeded reports whether the room's lobby is to be looked at.
func (r *Rooms) lobbyNeeded(rm *room) bool {
	return r.cfg.Site.LobbyDomain != "" && r.controlUp && (rm.lobby.on || rm.lobby.unread)
}

// lobbyLine is what has the lobby listed for usher, where its affiliations are its own.
func (s Site) lobbyLine() string {
	return fmt.Sprintf("have Component %q in Prosody hold admins = { %q } and component_admins_as_room_owners = true, and restart Prosody", s.LobbyDomain, s.ControlJID)
}

// configChanged handles a message of a room itself: one with the status 104 says
// that the lobby may have been switched on or off.
func (r *Rooms) configChanged(d *xml.Decoder, start xml.StartElement, from string) {
	var m struct {
		Status []status `xml:"http://jabber.org/protocol/muc#user x>status"`
	}
	name, domain, nick := splitAddress(from)
	if domain != r.cfg.Site.MUC || nick != "" || d.DecodeElement(&m, &start) != nil {
		return
	}
	r.mu.Lock()
	defer r.unlock()
	rm := r.rooms[name]
	for _, s := range m.Status {
		if s.Code == statusConfig && rm != nil && rm.phase == inside {
			rm.lobby.unread, rm.lobby.lookAt = true, time.Time{}
			r.schedule(rm, 0)
		}
	}
}

// readLobby lists who waits in the room's lobby, and reports it. Every list is
// reported: the meeting knows what is new in it, also after a restart.
func (r *Rooms) readLobby(ctx context.Context, rm *room) {
	rm.lobby.lookAt = time.Now().Add(max(lobbyInterval, r.lobbies.Reserve().Delay()))
	unread, phase := rm.lobby.unread, rm.phase
	rm.lobby.unread = false // unless it changes meanwhile
	var waiting meeting.Lobby
	on, err := rm.lobby.on, error(nil)
	if unread {
		on, err = r.membersOnly(ctx, rm)
	}
	if err == nil && on {
		waiting, on, err = r.whoWaits(ctx, rm)
	}
	switch {
	case rm.phase != phase: // with the room it may have gone
	case err != nil:
		rm.lobby.unread = rm.lobby.unread || unread
		rm.lobby.lookAt = time.Now().Add(retryMax)
	default:
		rm.lobby.on = on
		r.cfg.Observe(rm.name, time.Now(), waiting)
	}
}

// membersOnly reports whether the room lets nobody in but members, without which
// there is no lobby.
func (r *Rooms) membersOnly(ctx context.Context, rm *room) (bool, error) {
	form, err := r.form(ctx, rm.name)
	r.noAdministrator(err)
	value := form["muc#roomconfig_membersonly"]
	return value == "1" || value == "true", err
}

// whoWaits lists the lobby. A room without one, or a site, has no such room.
func (r *Rooms) whoWaits(ctx context.Context, rm *room) (waiting meeting.Lobby, on bool, err error) {
	var reply adminQuery
	address := rm.name + "@" + r.cfg.Site.LobbyDomain
	err = r.request(ctx, r.cfg.Control, address, "get", adminQuery{Items: []item{{Role: string(meeting.RoleParticipant)}}}, &reply)
	switch {
	case is(err, stanza.ItemNotFound), is(err, stanza.RemoteServerNotFound), is(err, stanza.ServiceUnavailable):
		return waiting, false, nil
	case is(err, stanza.Forbidden), is(err, stanza.NotAllowed), is(err, stanza.NotAuthorized):
		r.problem(CheckLobby, Problem{rm.name, "usher may not see who waits in its lobby: " + err.Error(), r.cfg.Site.lobbyLine()})
	case err == nil:
		delete(r.problems, CheckLobby)
	}
	for _, it := range reply.Items {
		if o, _ := r.cfg.Site.occupant(it.Nick, it.presence()); o.Kind == meeting.KindHuman && o.JID != "" {
			waiting.Waiting = append(waiting.Waiting, o)
		}
	}
	return waiting, true, err
}

// lobbyOutside looks into the lobby of a room that usher is not in because nobody
// is: people may wait for the first to come. A room that does not exist has none.
func (r *Rooms) lobbyOutside(ctx context.Context, rm *room, exists bool) {
	// After a restart only the meeting knows that people wait.
	mayWait := rm.lobby.on || rm.lobby.unread && rm.want == meeting.WantSoon
	now := time.Now()
	switch {
	case r.cfg.Site.LobbyDomain == "" || !mayWait:
	case !exists:
		rm.lobby = lobby{}
		r.cfg.Observe(rm.name, now, meeting.Lobby{})
	case now.Sub(rm.expected) > expectFor && !now.Before(rm.lobby.lookAt): // not while usher is about to enter
		r.readLobby(ctx, rm)
	}
}
