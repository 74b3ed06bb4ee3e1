package muc

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// listening is usher in the room standup, with what it hears of breakout rooms.
func listening(heard *[]meeting.Breakouts) *Rooms {
	r := New(Config{Site: testSite, Observe: func(_ string, _ time.Time, f meeting.Input) {
		if b, ok := f.(meeting.Breakouts); ok {
			*heard = append(*heard, b)
		}
	}})
	r.rooms["standup"] = &room{name: "standup", phase: inside}
	return r
}

// say hands usher every message of a text of XML.
func say(t *testing.T, r *Rooms, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := tok.(xml.StartElement); ok {
			r.Message(d, start)
		}
	}
}

// describeBreakouts is the line of a message of the component in the golden file of
// TestCaptures.
func describeBreakouts(t *testing.T, stanza captured) string {
	t.Helper()
	var m struct {
		JSON string `xml:"json-message"`
	}
	var says breakoutMessage
	if err := xml.Unmarshal([]byte(stanza.text), &m); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(m.JSON), &says); err != nil {
		t.Fatal(err)
	}
	name, _, _ := testSite.breakouts(says)
	var heard []meeting.Breakouts
	r := listening(&heard)
	r.rooms[name] = &room{name: name, phase: inside}
	say(t, r, stanza.text)
	if len(heard) != 1 {
		return "ignored: " + says.Type + " of the breakout rooms"
	}
	line := fmt.Sprintf("breakout rooms of %s: %d", name, heard[0].Rooms)
	for _, o := range heard[0].Occupants {
		line += fmt.Sprintf("; %s %s %s name=%q in=%q/%q jid=%s", o.Nick, o.Kind, o.Role, o.Name, o.Elsewhere.Room.ID, o.Elsewhere.Room.Name, o.JID)
	}
	return line
}

// breakoutXML is a message of the component about the room standup: each room with
// its participants, as JSON.
func breakoutXML(from string, rooms ...string) string {
	body := `{"type":"breakout_rooms","event":"features/breakout-rooms/update","roomCounter":1,"rooms":{` +
		`"standup":{"isMainRoom":true,"id":"standup","jid":"standup@muc.meet.jitsi","participants":{"standup@muc.meet.jitsi/usher":{"jid":"usher@hidden.meet.jitsi/usher","role":"participant"}}}`
	body = strings.Join(append([]string{body}, rooms...), ",")
	var escaped strings.Builder
	if err := xml.EscapeText(&escaped, []byte(body+"}}")); err != nil {
		panic(err)
	}
	return "<message from='" + from + "' to='usher@hidden.meet.jitsi/usher'><json-message xmlns='http://jitsi.org/jitmeet'>" + escaped.String() + "</json-message></message>"
}

// breakoutJSON is a breakout room with people: nick and real address, and further
// fields of JSON.
func breakoutJSON(id, name string, people ...string) string {
	all := map[string]any{}
	for _, p := range people {
		nick, jid, _ := strings.Cut(p, " ")
		all[id+"@breakout.meet.jitsi/"+nick] = map[string]string{"jid": jid, "role": "participant", "displayName": nick}
	}
	text, err := json.Marshal(map[string]any{"id": id, "jid": id + "@breakout.meet.jitsi", "name": name, "participants": all})
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%q:%s", id, text)
}

// TestBreakoutMessageIsBelievedFromItsComponentAlone has everybody else send what
// only the component says.
func TestBreakoutMessageIsBelievedFromItsComponentAlone(t *testing.T) {
	room := breakoutJSON("b1", "one", "aa aa@meet.jitsi/web")
	for from, believed := range map[string]int{
		"breakout.meet.jitsi":              1,
		"mallory@meet.jitsi/web":           0,
		"mallory@breakout.meet.jitsi/web":  0,
		"b1@breakout.meet.jitsi/mallory":   0, // a private message of somebody in a breakout room
		"b1@breakout.meet.jitsi":           0,
		"breakout.meet.jitsi/web":          0,
		"standup@muc.meet.jitsi/mallory":   0,
		"muc.meet.jitsi":                   0,
		"breakout.meet.jitsi.evil.example": 0,
		"":                                 0,
	} {
		var heard []meeting.Breakouts
		say(t, listening(&heard), breakoutXML(from, room))
		if len(heard) != believed {
			t.Errorf("from %q usher heard %+v, want %d", from, heard, believed)
		}
	}
}

// TestBreakoutMessages says strange things as the component: usher takes what makes
// sense of them.
func TestBreakoutMessages(t *testing.T) {
	message := func(body string) string {
		return "<message from='breakout.meet.jitsi'><json-message>" + body + "</json-message></message>"
	}
	main := `"x":{"isMainRoom":true,"jid":"standup@muc.meet.jitsi"}`
	update := func(rooms string) string {
		return message(`{"type":"breakout_rooms","event":"features/breakout-rooms/update","rooms":` + rooms + `}`)
	}
	long := strings.Repeat("ä", maxText)
	for _, tt := range []struct{ name, text, want string }{
		{"one", breakoutXML("breakout.meet.jitsi", breakoutJSON("b1", "one", "aa aa@meet.jitsi/web")), "1: aa=human@b1/one"},
		{"services of the site are nobody", breakoutXML("breakout.meet.jitsi",
			breakoutJSON("b1", "one", "aa aa@meet.jitsi/web", "rr recorder@hidden.meet.jitsi/x", "usher usher@hidden.meet.jitsi/usher", "bot bot@usher.meet.jitsi/x", "focus focus@auth.meet.jitsi/focus")), "1: aa=human@b1/one"},
		{"empty Lua tables", update(`{` + main + `,"b1":{"jid":"b1@breakout.meet.jitsi","participants":[]}}`), "1:"},
		{"no breakout room any more", update(`{` + main + `}`), "0:"},
		{"in two rooms at once", breakoutXML("breakout.meet.jitsi", breakoutJSON("b1", "one", "aa aa@meet.jitsi/web"), breakoutJSON("b2", "two", "aa aa@meet.jitsi/web")), "2: aa=human@b1/one"},
		{"without an address", update(`{` + main + `,"b1":{"jid":"b1@breakout.meet.jitsi","participants":{"b1@breakout.meet.jitsi/aa":{"role":"participant"}}}}`), "1:"},
		{"a name without end", breakoutXML("breakout.meet.jitsi", breakoutJSON("b1", long, "aa aa@meet.jitsi/web")), "1: aa=human@b1/" + long[:maxText]},
		{"another main room", update(`{"x":{"isMainRoom":true,"jid":"standup@elsewhere.example"}}`), ""},
		{"no main room", update(`{"b1":{"jid":"b1@breakout.meet.jitsi"}}`), ""},
		{"a room that is not followed", update(`{"x":{"isMainRoom":true,"jid":"retro@muc.meet.jitsi"}}`), ""},
		{"no rooms", update(`null`), ""},
		{"rooms that are none", update(`7`), ""},
		{"a request to move", message(`{"type":"breakout_rooms","event":"features/breakout-rooms/move-to-room","roomJid":"b1@breakout.meet.jitsi"}`), ""},
		{"of another kind", message(`{"type":"polls"}`), ""},
		{"no JSON", message(`{"type":`), ""},
		{"nothing", "<message from='breakout.meet.jitsi'/>", ""},
		{"an error", "<message type='error' from='breakout.meet.jitsi'><json-message>{}</json-message></message>", ""},
		{"deep", message(strings.Repeat("[", 100_000)), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var heard []meeting.Breakouts
			r := listening(&heard)
			say(t, r, tt.text)
			var got []string
			for _, b := range heard {
				line := fmt.Sprintf("%d:", b.Rooms)
				for _, o := range b.Occupants {
					line += fmt.Sprintf(" %s=%s@%s/%s", o.Nick, o.Kind, o.Elsewhere.Room.ID, o.Elsewhere.Room.Name)
				}
				got = append(got, line)
			}
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("usher heard %q, want %q", text, tt.want)
			}
		})
	}
}

// TestThousandsOfBreakoutRooms is a message longer than any other stanza may be.
func TestThousandsOfBreakoutRooms(t *testing.T) {
	var rooms []string
	for i := range 5000 {
		id := fmt.Sprintf("c5f65aa2-7283-4e0f-bef2-a86111%06d", i)
		rooms = append(rooms, breakoutJSON(id, fmt.Sprint("room ", i)))
	}
	rooms[0] = breakoutJSON("b1", "one", "aa aa@meet.jitsi/web")
	var heard []meeting.Breakouts
	say(t, listening(&heard), breakoutXML("breakout.meet.jitsi", rooms...))
	if len(heard) != 1 || heard[0].Rooms != 5000 || len(heard[0].Occupants) != 1 {
		t.Errorf("usher heard %+v, want 5000 rooms with one person", heard)
	}
}

// TestMainRoomOfABreakoutRoom is known while usher is in it, of empty ones too.
func TestMainRoomOfABreakoutRoom(t *testing.T) {
	var heard []meeting.Breakouts
	r := listening(&heard)
	say(t, r, breakoutXML("breakout.meet.jitsi", breakoutJSON("b1", "one"), breakoutJSON("b2", "two", "aa aa@meet.jitsi/web")))
	for name, want := range map[string]string{"b1": "standup", "b2": "standup", "b3": "", "standup": "", "": ""} {
		if got, ok := r.MainRoom(name); got != want || ok != (want != "") {
			t.Errorf("the main room of %q is %q, %v; want %q", name, got, ok, want)
		}
	}
	say(t, r, breakoutXML("breakout.meet.jitsi", breakoutJSON("b2", "two")))
	if got, ok := r.MainRoom("b1"); ok {
		t.Errorf("the main room of one that was removed is %q, want none", got)
	}
}

// TestVisitorsAreCountedByTheFocusAlone gives others its words.
func TestVisitorsAreCountedByTheFocusAlone(t *testing.T) {
	const properties = "<conference-properties xmlns='http://jitsi.org/protocol/focus'><property key='visitors-enabled' value='true'/><property key='visitor-count' value='%s'/></conference-properties>"
	for value, want := range map[string]int{"0": 0, "3": 3, "-1": 0, "x": 0, "": 0, "99999999999": maxVisitors, "99999999999999999999": 0} {
		p := decode(t, "<presence>"+fmt.Sprintf(properties, value)+"</presence>")
		if got := p.visitors(); got != want {
			t.Errorf("a visitor-count of %q is %d visitors, want %d", value, got, want)
		}
	}
	var counted []int
	r := New(Config{Site: testSite, Observe: func(_ string, _ time.Time, f meeting.Input) {
		if v, ok := f.(meeting.VisitorsCounted); ok {
			counted = append(counted, v.Visitors)
		}
	}})
	r.rooms["standup"] = &room{name: "standup", phase: inside, view: map[string]seen{}}
	for _, from := range []struct{ nick, jid, typ, count string }{
		{"focus", "focus@auth.meet.jitsi/focus", "", "3"},
		{"focus", "focus@auth.meet.jitsi/focus", "", "3"},
		{"mallory", "mallory@meet.jitsi/web", "", "7"},
		{"focus2", "mallory@auth.meet.jitsi/focus", "", "8"},
		{"focus", "focus@auth.meet.jitsi/focus", "unavailable", "3"},
	} {
		text := fmt.Sprintf("<presence from='standup@muc.meet.jitsi/%s' type='%s'>"+properties+"<x xmlns='http://jabber.org/protocol/muc#user'><item jid='%s' role='moderator'/></x></presence>",
			from.nick, from.typ, from.count, from.jid)
		d := xml.NewDecoder(strings.NewReader(text))
		tok, _ := d.Token()
		r.Presence(d, tok.(xml.StartElement))
	}
	if fmt.Sprint(counted) != "[3 0]" {
		t.Errorf("counted %v, want 3, and none once the focus has left", counted)
	}
}

// FuzzBreakoutMessage holds whatever the component may say against what meetings
// rely on.
func FuzzBreakoutMessage(f *testing.F) {
	for _, seed := range []string{
		`{"type":"breakout_rooms","event":"features/breakout-rooms/update","rooms":{"x":{"isMainRoom":true,"jid":"standup@muc.meet.jitsi"},"b":{"jid":"b@c","participants":{"b@c/d":{"jid":"d@e/f"}}}}}`,
		`{"rooms":[]}`, `{"rooms":{"x":null}}`, `[]`, `{"type":7}`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var says breakoutMessage
		if json.Unmarshal([]byte(body), &says) != nil {
			return
		}
		_, b, _ := testSite.breakouts(says)
		jids := map[string]bool{}
		for _, o := range b.Occupants {
			if o.Elsewhere == nil || o.JID == "" || jids[o.JID] || len(o.Name) > maxText || len(o.Elsewhere.Room.ID) > maxText || len(o.Elsewhere.Room.Name) > maxText {
				t.Errorf("occupant %+v", o)
			}
			jids[o.JID] = true
		}
	})
}
