package whereby_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"strings"
	"testing"
	"time"

	"usher/api/whereby"
	"usher/meeting"
)

// TestWherebyLinksTakeWhatAppsAppend opens links as public clients of Whereby's
// make them of what the API gave them.
func TestWherebyLinksTakeWhatAppsAppend(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting("")
	key := strings.TrimPrefix(m.HostURL, m.URL+"?roomKey=")
	if key == m.HostURL || len(key) < 26 {
		t.Fatalf("hostRoomUrl = %s, want %s?roomKey=…", m.HostURL, m.URL)
	}
	id := strings.TrimPrefix(m.ID, "mtg_")
	before := "https://usher.example.org/j/" + id + "-" + key // what hostRoomUrl was once, and still may be in a mail
	for url, isHost := range map[string]bool{
		m.HostURL:                                                      true,
		m.HostURL + "&displayName=Jane%20Doe":                          true,
		m.HostURL + "&displayName=Jane Doe":                            true,
		m.HostURL + "&displayName=Zo%C3%AB%26Bob%2F":                   true,
		m.HostURL + "&embed&screenshare=on":                            true,
		m.HostURL + "&logo=off":                                        true,
		m.HostURL + "&video=on&people=on&timer=on":                     true,
		m.HostURL + "&host=true&space=Ada's&invite=" + m.URL:           true,
		m.HostURL + "?embed&floatSelf&skipMediaPermissionPrompt":       true,
		m.HostURL + "?displayName=Jane":                                true,
		m.HostURL + "%26displayName%3DJane":                            true,
		m.HostURL + "&displayName=100%&x;y":                            true,
		m.HostURL + "&roomKey=" + key:                                  true,
		m.HostURL + "?roomKey=" + key:                                  true,
		m.HostURL + "/":                                                true,
		m.URL + "?embed&roomKey=" + key:                                true,
		m.URL + "?embed?roomKey=" + key:                                true,
		m.URL + "?displayName=Jane&roomkey=" + key:                     true,
		m.URL + "%3FroomKey%3D" + key:                                  true,
		m.URL + "?roomKey%3D" + key + "%26embed":                       true,
		before:                                                         true,
		before + "?displayName=Jane":                                   true,
		before + "&displayName=Jane":                                   true,
		"https://usher.example.org/j/" + id + "-X?roomKey=" + key:      true, // likewise, later
		strings.Replace(m.HostURL, m.Room, strings.ToUpper(m.Room), 1): true,

		m.URL:                                           false,
		m.URL + "?embed&displayName=Jane":               false,
		m.URL + "?embed=true&audioSource=mic":           false,
		m.URL + "?screenshare=off&people=off":           false,
		m.URL + "&displayName=Jane":                     false,
		m.URL + "/?displayName=Jane":                    false,
		m.URL + "?roomKey=":                             false,
		m.URL + "?roomKey=" + key[1:]:                   false,
		m.URL + "?displayName=" + key:                   false,
		m.URL + "?roomKey=" + strings.Repeat("A", 9000): false,
	} {
		// As a browser writes it into its request.
		target := strings.ReplaceAll(strings.TrimPrefix(url, "https://usher.example.org"), " ", "%20")
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		path, query, _ := strings.Cut(target, "?")
		r.URL.RawPath, r.URL.RawQuery = path, query
		var err error
		if r.URL.Path, err = neturl.PathUnescape(path); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		to := w.Header().Get("Location")
		_, text, _ := strings.Cut(to, "#jwt=")
		claims, err := verify(t, time.Now(), text, m.Room)
		if w.Code != http.StatusFound || err != nil {
			t.Errorf("%s answers %d, leads to %s: %v; want a token", url, w.Code, to, err)
		} else if claims.Host != isHost {
			t.Errorf("%s lets in a host: %v, want %v", url, claims.Host, isHost)
		}
	}
	if log := s.log.String(); strings.Contains(log, key) {
		t.Error("the host's key is in the log")
	}

	// A host's key that was revoked lets nobody in as a guest either: it says why.
	s.revoke(m.ID, func(l Link) bool { return l.Role == "host" })
	s.click(m.HostURL+"&displayName=Jane").page(http.StatusGone, "withdrawn")
	if res := s.click(m.URL); res.Code != http.StatusFound {
		t.Errorf("the guests' link = %d, want it to work on", res.Code)
	}
}

// TestRoomURLIsTheName takes the last part of a roomUrl's path for the room's name, as
// clients of Whereby's do.
func TestRoomURLIsTheName(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting(`,"roomNamePrefix":"standup-"`)
	if want := "https://usher.example.org/" + m.Room; m.URL != want {
		t.Fatalf("roomUrl = %s, want %s", m.URL, want)
	}
	s.person(m, meeting.Seen{Occupant: human("ann")})
	name := m.URL[strings.LastIndexByte(m.URL, '/')+1:]
	var list struct{ Results []anyMap }
	if s.get("/insights/room-sessions?roomName="+name, &list); len(list.Results) != 1 || list.Results[0]["roomName"] != "/"+name {
		t.Errorf("sessions of %s: %v, want one", name, list.Results)
	}

	// Another name opens nothing: not that of a meeting of the native API, which
	// somebody may have chosen and others may guess.
	native := s.create(`{"room":"standup"}`)["id"].(string)
	var one anyMap
	if s.get("/meetings/"+native, &one); !strings.HasPrefix(one["roomUrl"].(string), "https://usher.example.org/j/") {
		t.Errorf("roomUrl of a native meeting = %v, want one with a code", one["roomUrl"])
	}
	for _, path := range []string{"/standup", "/none", "/" + m.Room + "x", "/."} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept", "text/html,*/*;q=0.8")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if path != "/." { // which is no name
			response{w, t}.page(http.StatusNotFound, "not valid")
		}
		if res := s.click(path); res.Code != http.StatusNotFound || !strings.Contains(res.Header().Get("Content-Type"), "problem+json") {
			t.Errorf("for a program, %s: %d %s, want a problem", path, res.Code, res.Body)
		}
	}

	// Without the seal secret it had, usher still knows the room; and a link that
	// was revoked says so.
	s.serve(func(c *testConfig) { c.SealSecret = "another-secret-than-before" })
	if res := s.click(m.URL); res.Code != http.StatusFound {
		t.Errorf("after a change of the seal secret: %d %s", res.Code, res.Body)
	}
	s.revoke(m.ID, func(l Link) bool { return l.Role == "guest" })
	s.click(m.URL).page(http.StatusGone, "withdrawn")
	if s.get("/meetings/"+m.ID, &one); one["roomUrl"] != m.URL {
		t.Errorf("roomUrl = %v once it was revoked, want it unchanged", one["roomUrl"])
	}
	over := s.createMeeting("")
	s.call("DELETE", s.base+"/meetings/"+over.ID, "", nil)
	s.click(over.URL).page(http.StatusGone, "over")

	// Under the web client's own address that path is the web client's.
	s.serve(func(c *testConfig) { c.PublicURL = "https://meet.example.org/" })
	if m := s.createMeeting(""); !strings.HasPrefix(m.URL, "https://meet.example.org/j/") {
		t.Errorf("roomUrl = %s where the web client has the name, want one with a code", m.URL)
	}
}

// TestDisplayNameOfALink opens links with a name appended, as embedders do, and
// looks for it in the token, from which Jitsi shows it.
func TestDisplayNameOfALink(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting("")
	native := s.create(`{"room":"standup"}`)["id"].(string)
	var named, anybody Link
	s.do("POST", "/v1/meetings/"+native+"/links", `{"user":{"id":"u1","name":"Ada"}}`).into(http.StatusCreated, &named)
	s.do("POST", "/v1/meetings/"+native+"/links", `{}`).into(http.StatusCreated, &anybody)
	for _, tt := range []struct{ url, want string }{
		{m.URL, ""},
		{m.URL + "?displayName=Jane%20Doe", "Jane Doe"},
		{m.URL + "?embed&displayname=Jane+Doe&x=y", "Jane Doe"},
		{m.HostURL + "&displayName=Jos%C3%A9%20%3Cb%3E%26%F0%9F%98%80&embed", "José <b>&😀"},
		{m.HostURL + "?displayName=Jane", "Jane"},
		{m.URL + "&displayName=Jane", "Jane"},
		{m.URL + "%3Fembed%26displayName%3DJane%2520Doe%26x%3Dy", "Jane Doe"},
		{m.HostURL + "%26displayName%3DJane%26embed", "Jane"},
		{m.URL + "?displayName=100%&x;y", "100%"},
		{m.URL + "?displayName=", ""},
		{m.URL + "?notdisplayName=Jane", ""},
		{m.URL + "?displayName=a%00b%0A%E2%80%8Bc%EF%BF%BFd%1F", "a b \u200bc d"},
		{m.URL + "?displayName=%FF%FE", ""},
		{m.URL + "?displayName=" + strings.Repeat("%C3%A9", 1000), strings.Repeat("é", 100)},
		{anybody.URL + "?displayName=Jane", "Jane"},
		{named.URL + "?displayName=Mallory", "Ada"}, // it is for somebody
	} {
		target := strings.TrimPrefix(tt.url, "https://usher.example.org")
		path, query, _ := strings.Cut(target, "?")
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawPath, r.URL.RawQuery = path, query
		var err error
		if r.URL.Path, err = neturl.PathUnescape(path); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		_, text, _ := strings.Cut(w.Header().Get("Location"), "#jwt=")
		room := m.Room
		if strings.Contains(tt.url, "/j/") {
			room = "standup"
		}
		claims, err := verify(t, time.Now(), text, room)
		if w.Code != http.StatusFound || err != nil || claims.User.Name != tt.want {
			t.Errorf("%s answers %d, with the name %q (%v), want %q", tt.url, w.Code, claims.User.Name, err, tt.want)
		}
	}
}

type tokenClaims struct {
	Context struct{ User, Features anyMap }
}

// claimsOf reads a token.
func claimsOf(t *testing.T, text string) (claims tokenClaims) {
	t.Helper()
	parts := strings.Split(text, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestWhatALinkSaysOfSomebody opens links with an id and metadata appended, and
// looks for them in the token, which Prosody writes into presence.
func TestWhatALinkSaysOfSomebody(t *testing.T) {
	s := newWherebySite(t, nil)
	m := s.createMeeting("")
	native := s.create(`{"room":"standup"}`)["id"].(string)
	var named Link
	s.do("POST", "/v1/meetings/"+native+"/links", `{"user":{"id":"u1"}}`).into(http.StatusCreated, &named)
	for _, tt := range []struct {
		url          string
		id, metadata any
	}{
		{m.URL, nil, nil},
		{m.URL + "?externalId=patient%2F7&metadata=%7B%22a%22%3A%22b%26c%22%7D", "patient/7", `{"a":"b&c"}`},
		{m.HostURL + "&externalid=7", "7", nil},
		{m.HostURL + "?metadata=x%00y", nil, "x y"},
		{m.URL + "?externalId=%FF", nil, nil},
		{m.URL + "?externalId=" + strings.Repeat("%C3%A9", 200), strings.Repeat("é", 200), nil},
		{m.URL + "?externalId=" + strings.Repeat("a", 201), nil, nil}, // no half of an id
		{m.URL + "?metadata=" + strings.Repeat("a", 501), nil, nil},
		{named.URL + "?externalId=7&metadata=x", nil, nil}, // it is for somebody
	} {
		_, text, _ := strings.Cut(s.click(tt.url).Header().Get("Location"), "#jwt=")
		user := claimsOf(t, text).Context.User
		if user["external_id"] != tt.id || user["metadata"] != tt.metadata {
			t.Errorf("%.80s makes the user %v, want the id %v and the metadata %v", tt.url, user, tt.id, tt.metadata)
		}
	}
}

// TestLockedMeetings asks for locked meetings as apps do, and then as Prosody for
// their rooms: where the site has a lobby people wait in it, all but hosts.
func TestLockedMeetings(t *testing.T) {
	const reservations = "reservations-0123456789"
	lobby := func(c *testConfig) { c.Lobby, c.ReservationLobby, c.ReservationToken = true, true, reservations }
	s := newWherebySite(t, lobby)
	reserve := func(room string) string {
		return s.send("POST", "/reservations/conference", "name="+room+"&mail_owner=ann@meet.jitsi", "Bearer "+reservations, "").Body.String()
	}
	bypass := func(url string) any {
		_, text, _ := strings.Cut(s.click(url).Header().Get("Location"), "#jwt=")
		return claimsOf(t, text).Context.Features["lobby_bypass"]
	}
	locked, open := s.createMeeting(`,"isLocked":true`), s.createMeeting(`,"isLocked":false`)
	if got := locked.header.Get(whereby.Ignored); got != "" {
		t.Errorf("%s = %q where the site has a lobby, want nothing", whereby.Ignored, got)
	}
	if got := reserve(locked.Room); !strings.Contains(got, `"lobby":true}`) {
		t.Errorf("reservation of a locked room = %s, want a lobby", got)
	}
	if got := reserve(open.Room); !strings.Contains(got, `"duration"`) || strings.Contains(got, "lobby") {
		t.Errorf("reservation of an open room = %s, want no word of a lobby", got)
	}
	if host, guest := bypass(locked.HostURL), bypass(locked.URL); host != true || guest != nil {
		t.Errorf("lobby_bypass of a host = %v, of a guest = %v; want true and none", host, guest)
	}
	if host := bypass(open.HostURL); host != nil {
		t.Errorf("lobby_bypass without a lobby = %v, want none", host)
	}
	var native anyMap
	s.do("POST", "/v1/meetings", `{"lobby":true}`).into(http.StatusCreated, &native)
	if got := reserve(native["room"].(string)); native["lobby"] != true || !strings.Contains(got, `"lobby":true}`) {
		t.Errorf("a native meeting with a lobby: %v, reservation %s", native, got)
	}

	// Where it has none, that is said, and Prosody hears nothing it might refuse.
	s.serve(func(c *testConfig) { c.ReservationToken = reservations })
	if got := s.createMeeting(`,"isLocked":true`).header.Get(whereby.Ignored); got != "isLocked" {
		t.Errorf("%s = %q without a lobby, want isLocked", whereby.Ignored, got)
	}
	if got := reserve(locked.Room); strings.Contains(got, "lobby") {
		t.Errorf("reservation where the lobby was taken away = %s", got)
	}
	if res := s.do("POST", "/v1/meetings", `{"lobby":true}`); res.Code != http.StatusNotImplemented || !strings.Contains(res.Body.String(), "USHER_RESERVATION_LOBBY") {
		t.Errorf("a native meeting with a lobby, without one: %d %s, want 501 and the setting", res.Code, res.Body)
	}
}

// revoke revokes the meeting's links that match.
func (s *site) revoke(id string, match func(Link) bool) {
	s.t.Helper()
	var list struct{ Data []Link }
	s.do("GET", "/v1/meetings/"+id+"/links", "").into(http.StatusOK, &list)
	for _, l := range list.Data {
		if match(l) {
			if res := s.do("DELETE", "/v1/meetings/"+id+"/links/"+l.ID, ""); res.Code != http.StatusNoContent {
				s.t.Fatalf("revoke %s: %d", l.ID, res.Code)
			}
		}
	}
}
