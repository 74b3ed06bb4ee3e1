package api

import (
	"fmt"
	"net/http"
	"testing"

	"usher/meeting/service"
)

// TestUnreadableEventIsLeftOut proves that an entry of the log that cannot be
// read keeps nobody from those around it, even as the last one.
func TestUnreadableEventIsLeftOut(t *testing.T) {
	for _, spoilt := range []string{"2-0", "3-0"} {
		s := newSite(t)
		s.store.Spoil = spoilt
		for i := range 3 {
			s.create(fmt.Sprintf(`{"room":"r%d"}`, i))
		}
		var got struct {
			Data []eventFields
			Next string `json:"next_cursor"`
		}
		s.do("GET", "/v1/events", "").into(http.StatusOK, &got)
		if len(got.Data) != 2 || got.Next != "3-0" {
			t.Errorf("with %s spoilt: %d events up to %s, want 2 up to 3-0", spoilt, len(got.Data), got.Next)
		}
		l := s.follow(s.listen(t, func(*http.Server) {}), "?after=0-0", "")
		l.expect("meeting.created", "meeting.created")
		s.create(`{"room":"late"}`)
		l.expect("meeting.created")
		l.cancel()
	}
}

// TestUnreadableLinkIsLeftOut proves that the other links of the meeting can be
// listed and revoked.
func TestUnreadableLinkIsLeftOut(t *testing.T) {
	s := newSite(t)
	id := s.create(`{"room":"standup"}`)["id"].(string)
	path := "/v1/meetings/" + id
	l := s.link(path, `{}`)
	if _, err := s.store.PutLink(t.Context(), id, "spoilt", []byte("{"), service.MaxLinks); err != nil {
		t.Fatal(err)
	}
	var list struct{ Data []Link }
	s.do("GET", path+"/links", "").into(http.StatusOK, &list)
	if len(list.Data) != 1 || list.Data[0].ID != l.ID {
		t.Errorf("links = %+v, want the one that can be read", list.Data)
	}
	if res := s.do("DELETE", path+"/links/"+l.ID, ""); res.Code != http.StatusNoContent {
		t.Errorf("revoke = %d %s, want 204", res.Code, res.Body)
	}
	s.click(l.URL).page(http.StatusGone, "withdrawn")
}
