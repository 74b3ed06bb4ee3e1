package sim

import "testing"

func TestElect(t *testing.T) {
	human := func(r role) *member { return &member{nick: "human", role: r} }
	tests := []struct {
		name    string
		members []*member
		want    int // index; -1 for nobody
		grant   bool
	}{
		{"nobody there", nil, -1, false},
		{"the first is elected", []*member{human(participant), human(participant)}, 0, true},
		{"an owner is left alone", []*member{human(participant), human(owner)}, 1, false},
		{"a moderator is no owner", []*member{human(moderator)}, 0, true},
		{"visitors are passed over", []*member{human(visitor), human(participant)}, 1, true},
		{"only visitors", []*member{human(visitor)}, -1, false},
		{"a recorder is passed over, owner or not", []*member{{role: owner, service: true}, human(participant)}, 1, true},
		{"a bot that is owner blocks everybody", []*member{human(participant), {nick: "bot", role: owner}}, 1, false},
		{"a bot without ownership is elected like anybody", []*member{{nick: "bot", role: participant}, human(participant)}, 0, true},
	}
	for _, tt := range tests {
		got, grant := elect(tt.members)
		var want *member
		if tt.want >= 0 {
			want = tt.members[tt.want]
		}
		if got != want || grant != tt.grant {
			t.Errorf("%s: elect = %v, %v, want %v, %v", tt.name, got, grant, want, tt.grant)
		}
	}
}

func TestServiceNeedsFeatureAndTrustedDomain(t *testing.T) {
	const jibri = `<features><feature var="http://jitsi.org/protocol/jibri"/></features>`
	tests := []struct {
		name, jid, features string
		want                bool
	}{
		{"recorder", "recorder@hidden.meet.jitsi/x", jibri, true},
		{"without the feature", "recorder@hidden.meet.jitsi/x", "", false},
		{"from elsewhere", "bot@usher.meet.jitsi/x", jibri, false},
		{"a resource is no domain", "a@meet.jitsi/x@hidden.meet.jitsi", jibri, false},
	}
	for _, tt := range tests {
		var m member
		m.update(decodePresence(t, `<presence>`+tt.features+`<x xmlns="http://jabber.org/protocol/muc#user">`+
			`<item role="participant" affiliation="none" jid="`+tt.jid+`"/></x></presence>`), []string{"hidden.meet.jitsi"})
		if m.service != tt.want {
			t.Errorf("%s: service = %v, want %v", tt.name, m.service, tt.want)
		}
	}
}
