package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
	"usher/meeting/service"
	"usher/token"
)

// pending returns how many people the meeting of the room believes on the way.
func (s *site) pending(room string) int {
	s.t.Helper()
	m, _ := s.tracker.Room(room)
	return m.Occupancy().PendingJoins
}

func TestCreateToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // starts at midnight UTC 2000-01-01
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"Standup","end_at":"2000-01-01T00:05:00Z"}`)["id"].(string)
		var ticket service.Ticket
		res := s.do("POST", path+"/tokens", `{"user":{"id":"u1","name":"José <b>&😀","email":"j@example.org"},"role":"host","ttl_s":3600}`)
		res.into(http.StatusCreated, &ticket)
		if want := time.Date(2000, 1, 1, 0, 20, 0, 0, time.UTC); !ticket.ExpiresAt.Equal(want) {
			t.Errorf("expires_at = %v, want %v, shortly after the meeting's end", ticket.ExpiresAt, want)
		}
		if want := "https://meet.example.org/standup#jwt=" + ticket.Token; ticket.URL != want {
			t.Errorf("url = %s, want %s", ticket.URL, want)
		}
		claims, err := verify(t, time.Now(), ticket.Token, "standup")
		if err != nil || !claims.Host || claims.User.ID != "u1" || claims.User.Name != "José <b>&😀" {
			t.Errorf("claims = %+v, %v", claims, err)
		}
		if got := s.pending("standup"); got != 1 {
			t.Errorf("%d people on the way, want 1", got)
		}
		s.do("POST", path+"/tokens", `{}`).into(http.StatusCreated, &ticket)
		if claims, err := verify(t, time.Now(), ticket.Token, "standup"); err != nil || claims.Host || claims.User != (token.User{}) {
			t.Errorf("claims of a guest = %+v, %v", claims, err)
		}
		for _, body := range []string{
			`{"user":{"name":"a\u0000b"}}`, `{"role":"king"}`, `{"ttl_s":1}`, `{"user":{"title":"x"}}`, `{"user":{"avatar":"not a url"}}`,
			`{"user":{"name":"` + strings.Repeat("x", 1_000_000) + `"}}`,
		} {
			s.do("POST", path+"/tokens", body).problem(http.StatusUnprocessableEntity)
		}
		s.do("POST", "/v1/meetings/mtg_none/tokens", `{}`).problemCode(http.StatusNotFound, "not_found")
		s.do("POST", path+"/end", "").into(http.StatusOK, &anyMap{})
		s.do("POST", path+"/tokens", `{}`).problemCode(http.StatusConflict, "ended")
		s.do("POST", path+"/links", `{}`).problemCode(http.StatusConflict, "ended")
		if log := s.log.String(); strings.Contains(log, ticket.Token[:20]) {
			t.Error("a token is in the log")
		}
	})
}

func TestWithoutTokens(t *testing.T) {
	s := newSite(t)
	s.serve(func(c *testConfig) { c.Tokens = nil })
	path := "/v1/meetings/" + s.create(`{}`)["id"].(string)
	s.do("POST", path+"/tokens", `{}`).problemCode(http.StatusNotImplemented, "not_configured")
	s.do("POST", path+"/links", `{}`).problemCode(http.StatusNotImplemented, "not_configured")
	s.do("GET", "/j/x", "").problemCode(http.StatusNotFound, "not_found")
}

// click opens a link as a browser does.
func (s *site) click(url string) response {
	s.t.Helper()
	return s.clickFrom(url, "GET", "192.0.2.1:1234")
}

func (s *site) clickFrom(url, method, addr string) response {
	s.t.Helper()
	r := httptest.NewRequest(method, strings.TrimPrefix(url, "https://usher.example.org"), nil)
	r.RemoteAddr = addr
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header().Get(name); got != want {
			s.t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	return response{w, s.t}
}

// page checks that the answer is a page for people, and returns it.
func (r response) page(status int, words ...string) {
	r.t.Helper()
	body := r.Body.String()
	if r.Code != status || r.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(body, "<!DOCTYPE html>") {
		r.t.Errorf("answer = %d %s %.200s, want a page of status %d", r.Code, r.Header().Get("Content-Type"), body, status)
	}
	if r.Header().Get("Location") != "" {
		r.t.Error("a page that sends people on")
	}
	for _, asset := range []string{"src=", "href=", "url(", "@import", "<script"} {
		if strings.Contains(body, asset) {
			r.t.Errorf("the page has %s", asset)
		}
	}
	for _, word := range words {
		if !strings.Contains(body, word) {
			r.t.Errorf("the page lacks %q: %s", word, body)
		}
	}
}

func (s *site) link(path, body string) (l Link) {
	s.t.Helper()
	s.do("POST", path+"/links", body).into(http.StatusCreated, &l)
	return l
}

func TestJoinLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"standup"}`)["id"].(string)
		l := s.link(path, `{"user":{"id":"u1","name":"Ada"},"role":"host","ttl_s":300}`)
		code, ok := strings.CutPrefix(l.URL, "https://usher.example.org/j/")
		if !ok || len(code) != 26+1+26 || l.Role != "host" || l.TTLS == nil || *l.TTLS != 300 || l.JWT != "fragment" || l.User.Name != "Ada" || l.RevokedAt != nil {
			t.Fatalf("link = %+v", l)
		}
		tokens := map[string]bool{}
		for range 2 { // it survives a reload, with a fresh token each time
			res := s.click(l.URL)
			to, ok := strings.CutPrefix(res.Header().Get("Location"), "https://meet.example.org/standup#jwt=")
			if res.Code != http.StatusFound || !ok || res.Body.Len() > 0 {
				t.Fatalf("click = %d to %s", res.Code, res.Header().Get("Location"))
			}
			claims, err := verify(t, time.Now(), to, "standup")
			if err != nil || !claims.Host || claims.User.ID != "u1" || !claims.Expires.Equal(time.Now().Add(5*time.Minute).Truncate(time.Second)) {
				t.Errorf("claims = %+v, %v", claims, err)
			}
			tokens[to] = true
			time.Sleep(time.Second)
		}
		if len(tokens) != 2 {
			t.Error("two clicks got the same token")
		}
		if got := s.pending("standup"); got != 1 {
			t.Errorf("%d people on the way, want 1", got)
		}
		guest := s.link(path, `{"jwt_in":"query"}`)
		if res := s.clickFrom(guest.URL, "HEAD", "192.0.2.1:1"); res.Code != http.StatusFound || s.pending("standup") != 1 {
			t.Errorf("HEAD = %d, %d people on the way; a preview is not a person", res.Code, s.pending("standup"))
		}
		if to := s.click(guest.URL).Header().Get("Location"); !strings.HasPrefix(to, "https://meet.example.org/standup?jwt=ey") {
			t.Errorf("link for old clients leads to %s", to)
		}

		var list struct {
			Data []Link
			Next *string `json:"next_cursor"`
		}
		res := s.do("GET", path+"/links?limit=1", "")
		res.into(http.StatusOK, &list)
		if len(list.Data) != 1 || list.Data[0].ID != guest.ID || list.Next == nil {
			t.Fatalf("links = %+v, want the newest and a cursor", list)
		}
		res = s.do("GET", path+"/links?cursor="+*list.Next, "")
		res.into(http.StatusOK, &list)
		if len(list.Data) != 1 || list.Data[0].ID != l.ID || list.Next != nil || strings.Contains(res.Body.String(), code) {
			t.Errorf("links = %s, want the first without its code", res.Body)
		}
		stored, err := s.store.Links(t.Context(), l.MeetingID)
		if err != nil || len(stored) != 2 || strings.Contains(string(encode(t, stored)), code[27:]) {
			t.Errorf("stored: %s, %v, want no code", stored, err)
		}

		for range 2 { // may be repeated
			if res := s.do("DELETE", path+"/links/"+l.ID, ""); res.Code != http.StatusNoContent {
				t.Errorf("revoke = %d %s, want 204", res.Code, res.Body)
			}
			s.click(l.URL).page(http.StatusGone, "withdrawn")
		}
		s.do("GET", path+"/links?limit=100", "").into(http.StatusOK, &list)
		if len(list.Data) != 2 || list.Data[1].RevokedAt == nil || list.Data[0].RevokedAt != nil {
			t.Errorf("links = %+v, want the first revoked", list.Data)
		}
		if res := s.click(guest.URL); res.Code != http.StatusFound {
			t.Errorf("the other link = %d, want it to work on", res.Code)
		}
		s.do("DELETE", path+"/links/lnk_none", "").problemCode(http.StatusNotFound, "not_found")
		for _, wrong := range []string{code[:len(code)-1], code + "A", "x", code[:27], "01JDB2W8Z3W5V6S0Q5M2T8K4AR" + code[26:], "<b>"} {
			s.click("/j/"+wrong).page(http.StatusNotFound, "not valid")
		}
		if log := s.log.String(); strings.Contains(log, code[27:50]) {
			t.Error("a code is in the log")
		}
	})
}

// TestJoinLinkForPrograms asks for JSON, as a page does that embeds Jitsi.
// TestWhatAnAppSaysOfAPerson: it is in the token, and nothing that is appended to
// the link takes its place.
func TestWhatAnAppSaysOfAPerson(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{"room":"standup"}`)["id"].(string)
	user := `{"external_id":"patient/7","metadata":"{\"seat\":3}"}`
	want := token.User{ExternalID: "patient/7", Metadata: `{"seat":3}`}
	var l Link
	s.do("POST", path+"/links", `{"user":`+user+`}`).into(http.StatusCreated, &l)
	to := s.click(l.URL + "?displayName=Eve&externalId=x&metadata=y").Header().Get("Location")
	var ticket service.Ticket
	s.do("POST", path+"/tokens", `{"user":`+user+`}`).into(http.StatusCreated, &ticket)
	for _, text := range []string{strings.TrimPrefix(to, "https://meet.example.org/standup#jwt="), ticket.Token} {
		if c, err := verify(t, time.Now(), text, "standup"); err != nil || c.User != want {
			t.Errorf("token is for %+v, %v, want %+v", c.User, err, want)
		}
	}
	var list Page[Link]
	s.do("GET", path+"/links", "").into(http.StatusOK, &list)
	if len(list.Data) != 1 || list.Data[0].User != want {
		t.Errorf("links = %+v, want one for %+v", list.Data, want)
	}
	for _, bad := range []string{`"metadata":"a\nb"`, `"metadata":"` + strings.Repeat("é", 501) + `"`, `"external_id":"` + strings.Repeat("a", 201) + `"`} {
		s.do("POST", path+"/tokens", `{"user":{`+bad+`}}`).problem(http.StatusUnprocessableEntity)
	}
}

func TestJoinLinkForPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"standup"}`)["id"].(string)
		l := s.link(path, `{"user":{"id":"u1"}}`)
		ask := func(url string) response {
			req := httptest.NewRequest("GET", strings.TrimPrefix(url, "https://usher.example.org"), nil)
			req.Header.Set("Accept", "application/json")
			req.Header.Set("Origin", "https://app.example.org")
			res := response{httptest.NewRecorder(), t}
			s.handler.ServeHTTP(res, req)
			if got := res.Header().Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("Access-Control-Allow-Origin = %q, want *", got)
			}
			return res
		}
		var ticket service.Ticket
		ask(l.URL).into(http.StatusOK, &ticket)
		if want := "https://meet.example.org/standup#jwt=" + ticket.Token; ticket.URL != want {
			t.Errorf("url = %s, want %s", ticket.URL, want)
		}
		if claims, err := verify(t, time.Now(), ticket.Token, "standup"); err != nil || claims.User.ID != "u1" {
			t.Errorf("claims = %+v, %v", claims, err)
		}
		ask("/j/x").problemCode(http.StatusNotFound, "not_found")
		s.do("DELETE", path+"/links/"+l.ID, "")
		ask(l.URL).problemCode(http.StatusGone, "revoked")
	})
}

func TestLinkOfAMeetingThatIsNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"rm","start_at":"2000-01-02T10:30:00Z","end_at":"2000-01-02T11:00:00Z"}`)["id"].(string)
		l := s.link(path, `{}`)
		res := s.click(l.URL)
		res.page(http.StatusForbidden, "not open yet", "2 January 2000 at 10:30 UTC")
		if res.Header().Get("Retry-After") != "124200" || s.pending("r") != 0 {
			t.Errorf("Retry-After = %s, %d people on the way", res.Header().Get("Retry-After"), s.pending("r"))
		}
		time.Sleep(34*time.Hour + 30*time.Minute)
		if res := s.click(l.URL); res.Code != http.StatusFound {
			t.Errorf("click after the start = %d", res.Code)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		s.click(l.URL).page(http.StatusGone, "over")
		s.store.Fail(meeting.ErrUnavailable)
		res = s.click(l.URL)
		if res.page(http.StatusServiceUnavailable, "right now"); res.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
}

// deafLeader never takes note of anything.
type deafLeader struct{ service.Leader }

func (deafLeader) Do(ctx context.Context, _ string, _ meeting.Input) (meeting.Meeting, error) {
	<-ctx.Done()
	return meeting.Meeting{}, meeting.ErrUnavailable
}

func TestASlowMeetingKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
		l := s.link(path, `{}`)
		s.serve(func(c *testConfig) { c.Leader = deafLeader{leader{s.tracker, s}} })
		begin := time.Now()
		if res := s.click(l.URL); res.Code != http.StatusFound {
			t.Errorf("click = %d", res.Code)
		}
		s.do("POST", path+"/tokens", `{}`).into(http.StatusCreated, &service.Ticket{})
		if took := time.Since(begin); took != 2*service.InviteTimeout {
			t.Errorf("two invitations took %v, want %v", took, 2*service.InviteTimeout)
		}
		if !strings.Contains(s.log.String(), "somebody is on the way") {
			t.Error("the log does not tell")
		}
	})
}

func TestLinkLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
		l := s.link(path, `{}`)
		for range AddressBurst {
			if res := s.click(l.URL); res.Code != http.StatusFound {
				t.Fatalf("click = %d", res.Code)
			}
		}
		s.click(l.URL).page(http.StatusTooManyRequests, "Too many")
		if res := s.clickFrom(l.URL, "GET", "192.0.2.2:1"); res.Code != http.StatusFound {
			t.Errorf("click from elsewhere = %d", res.Code)
		}
		for range service.MaxLinks - 1 {
			s.link(path, `{}`)
		}
		s.do("POST", path+"/links", `{}`).problemCode(http.StatusConflict, "too_many_links")
	})
}

func TestClientAddress(t *testing.T) {
	c := addressLimits{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"}, // made up
		{"10.0.0.1:1", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.7, 10.2.3.4", "198.51.100.7"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.7", "198.51.100.7"},
		{"[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::/64"},
		{"[fd00::1]:1", "2001:db8:1:2::9", "2001:db8:1:2::/64"},
		{"@", "198.51.100.7", "@"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := c.address(r); got != tt.want {
			t.Errorf("address of %s for %q = %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
