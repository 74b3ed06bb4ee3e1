package sim

import (
	"encoding/json"
	"strings"
)

// Media is what an occupant says about a microphone or a camera.
type Media string

// What an occupant may say.
const (
	MediaUnknown Media = ""      // nothing said, as in every first presence
	MediaOn      Media = "on"    //
	MediaMuted   Media = "muted" //
)

// Occupant is one member of a room, as another one sees it.
type Occupant struct {
	Nick        string // the part after the slash of the occupant's address
	JID         string // real full JID
	Name        string // display name; may be empty
	UserID      string // the token's user id; empty for guests
	Role        string // moderator, participant or visitor (XEP-0045 §5.1)
	Affiliation string // owner, admin, member or none (XEP-0045 §5.2)
	Audio       Media
	Video       Media
	Sharing     bool // the screen
	Hand        bool // raised
}

// Occupants are the members of a room by nick. Whoever looks is one of them,
// and so is the focus.
type Occupants map[string]Occupant

// Named returns the occupant with that display name; the zero Occupant if
// there is none.
func (o Occupants) Named(name string) Occupant {
	for _, one := range o {
		if one.Name == name {
			return one
		}
	}
	return Occupant{}
}

func newOccupant(p *occupantPresence) Occupant {
	_, nick := p.occupant()
	o := Occupant{
		Nick: nick, JID: p.MUC.Item.JID, Name: p.Name, UserID: p.UserID,
		Role: p.MUC.Item.Role, Affiliation: p.MUC.Item.Affiliation,
		Hand: p.Hand != "",
	}
	var sources map[string]source
	if json.Unmarshal([]byte(p.Sources), &sources) != nil {
		return o
	}
	for name, s := range sources {
		kind, own := strings.CutPrefix(name, nick+"-")
		state := MediaOn
		if s.Muted {
			state = MediaMuted
		}
		switch {
		case !own:
		case strings.HasPrefix(kind, "a"):
			o.Audio = state
		case s.VideoType == "desktop":
			o.Sharing = !s.Muted
		default:
			o.Video = state
		}
	}
	return o
}

// Exit says how somebody got out of a room.
type Exit struct {
	Why   Why
	Text  string // the reason given, may be empty
	Actor string // nick or JID of who did it, may be empty
}

// Why is the manner of an [Exit].
type Why string

// Manners of leaving.
const (
	WhyLeft         Why = "left"         // by its own wish
	WhyKicked       Why = "kicked"       // status 307
	WhyBanned       Why = "banned"       // status 301
	WhyDestroyed    Why = "destroyed"    // the room ended for all
	WhyShutdown     Why = "shutdown"     // status 332
	WhyRemoved      Why = "removed"      // anything else the room says
	WhyDisconnected Why = "disconnected" // the stream ended before the room said anything
)

// exit reads a room's unavailable presence about the reader itself.
func (p *occupantPresence) exit() Exit {
	item := p.MUC.Item
	e := Exit{Why: WhyRemoved, Text: item.Reason, Actor: item.Actor.Nick}
	if e.Actor == "" {
		e.Actor = item.Actor.JID
	}
	switch {
	case p.MUC.Destroy != nil:
		e.Why, e.Text = WhyDestroyed, p.MUC.Destroy.Reason
	case p.status("307"):
		e.Why = WhyKicked
	case p.status("301"):
		e.Why = WhyBanned
	case p.status("332"):
		e.Why = WhyShutdown
	case len(p.MUC.Status) == 1: // 110 alone
		e.Why = WhyLeft
	}
	return e
}
