package sim

import (
	"encoding/xml"
	"testing"
)

func decodePresence(t *testing.T, text string) *occupantPresence {
	t.Helper()
	var p occupantPresence
	if err := xml.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

func TestOccupantFromPresence(t *testing.T) {
	got := newOccupant(decodePresence(t, string(readTestdata(t, "seen-hand.xml"))))
	want := Occupant{
		Nick: "ef7b1097", JID: "ef7b1097-94eb-4aef-a077-a481466a023c@meet.jitsi/-6iEZkJVIOgF",
		Name: "Alice", Role: "moderator", Affiliation: "owner",
		Audio: MediaOn, Video: MediaOn, Hand: true,
	}
	if got != want {
		t.Errorf("occupant = %+v\nwant %+v", got, want)
	}
}

func TestOnlyOwnSourcesCount(t *testing.T) {
	got := newOccupant(decodePresence(t, `<presence from="r@muc.x/aaaa0000"><SourceInfo>`+
		`{"bbbb0000-a0":{"muted":false},"aaaa0000-v1":{"muted":false,"videoType":"desktop"}}</SourceInfo></presence>`))
	if want := (Occupant{Nick: "aaaa0000", Sharing: true}); got != want {
		t.Errorf("occupant = %+v, want %+v", got, want)
	}
}

func TestExit(t *testing.T) {
	const head = `<presence from="r@muc.x/me" type="unavailable"><x xmlns="http://jabber.org/protocol/muc#user">`
	tests := []struct {
		name, text string
		want       Exit
	}{
		{"destroyed", string(readTestdata(t, "seen-destroyed.xml")),
			Exit{Why: WhyDestroyed, Text: "The meeting has been terminated"}},
		{"left", head + `<item/><status code="110"/></x></presence>`, Exit{Why: WhyLeft}},
		{"kicked", head + `<item><actor nick="boss"/><reason>Bye</reason></item><status code="307"/><status code="110"/></x></presence>`,
			Exit{Why: WhyKicked, Text: "Bye", Actor: "boss"}},
		{"banned", head + `<item><actor jid="ctl@x"/></item><status code="301"/><status code="110"/></x></presence>`,
			Exit{Why: WhyBanned, Actor: "ctl@x"}},
		{"shutdown", head + `<item/><status code="332"/><status code="110"/></x></presence>`, Exit{Why: WhyShutdown}},
		{"a ghost's error", head + `<item/><status code="333"/><status code="110"/></x></presence>`, Exit{Why: WhyRemoved}},
	}
	for _, tt := range tests {
		if got := decodePresence(t, tt.text).exit(); got != tt.want {
			t.Errorf("%s: exit = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
