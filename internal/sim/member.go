package sim

import (
	"slices"
	"strings"
)

// role is an occupant's standing as Jicofo sees it (MemberRole): the
// affiliation counts first, then the role.
type role int

const (
	visitor role = iota
	participant
	moderator
	owner
)

func jicofoRole(affiliation, mucRole string) role {
	switch {
	case affiliation == "owner":
		return owner
	case affiliation == "admin" || mucRole == "moderator":
		return moderator
	case mucRole == "participant":
		return participant
	}
	return visitor
}

// member is an occupant of a conference other than the focus.
type member struct {
	nick string
	jid  string // real full JID
	role role
	// service is a recorder or a SIP gateway: signalled as such, and in a
	// trusted domain (ChatRoomMemberImpl.processPresence).
	service bool
	caps    string // node#ver; empty when not said

	switching bool // it left for another room of the meeting
}

// update takes over what a presence says. A visitor stays one and nobody
// becomes one: Jicofo ignores such a change.
func (m *member) update(p *occupantPresence, trusted []string) {
	first := m.jid == ""
	m.jid = p.MUC.Item.JID
	_, address, _ := strings.Cut(m.jid, "@")
	domain, _, _ := strings.Cut(address, "/")
	m.service = slices.Contains(trusted, domain) && (p.hasFeature(featureJibri) || p.hasFeature(featureJigasi))
	if p.Caps.Ver != "" {
		m.caps = p.Caps.Node + "#" + p.Caps.Ver
	}
	r := jicofoRole(p.MUC.Item.Affiliation, p.MUC.Item.Role)
	if first || (r == visitor) == (m.role == visitor) {
		m.role = r
	}
}

// elect says who is the owner of a room, and whether it must be made one. It
// is Jicofo's AutoOwnerRoleManager: an owner that is no service is left alone,
// whoever it is, so a bot with that affiliation keeps everybody else from
// becoming moderator; else the first who is no service and no visitor is
// elected. First means by arrival here; Jicofo takes them from a hash map.
func elect(members []*member) (m *member, grant bool) {
	for _, m := range members {
		if !m.service && m.role == owner {
			return m, false
		}
	}
	for _, m := range members {
		if !m.service && m.role != visitor {
			return m, true
		}
	}
	return nil, false
}
