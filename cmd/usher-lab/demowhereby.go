package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"usher/api"
	"usher/internal/localsite"
	"usher/internal/sim"
)

// wherebyRoom begins the names of the app's rooms.
const wherebyRoom = "/interview-"

// wherebyInbox verifies webhooks as an app does that was written for Whereby, and
// keeps what they tell.
type wherebyInbox struct {
	secret string

	mu    sync.Mutex
	told  []string
	wrong error
}

// ServeHTTP answers 204 to what verifies and 401 to what does not.
func (b *wherebyInbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxBody))
	stamp, got, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Whereby-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(b.secret))
	_, _ = mac.Write([]byte(stamp + "."))
	_, _ = mac.Write(body)
	var event struct {
		Type string
		Data struct {
			RoomName   string
			NumClients *int
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil || !ok || !hmac.Equal([]byte(got), []byte(hex.EncodeToString(mac.Sum(nil)))):
		b.wrong = errors.New("a Whereby webhook does not verify")
	default:
		b.wrong = json.Unmarshal(body, &event)
	}
	switch {
	case b.wrong != nil:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case !strings.HasPrefix(event.Data.RoomName, wherebyRoom):
		w.WriteHeader(http.StatusNoContent) // of the other meetings here
		return
	}
	text := event.Type
	if n := event.Data.NumClients; n != nil {
		text += fmt.Sprintf(" numClients=%d", *n)
	}
	b.told = append(b.told, text)
	w.WriteHeader(http.StatusNoContent)
}

func (b *wherebyInbox) list() ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.told...), b.wrong
}

// playWhereby plays a meeting of an app that knows only Whereby's API: it makes
// the room, is told over webhooks with Whereby's signature, and asks for the
// sessions. It fails unless all of that works.
func playWhereby(ctx context.Context, site *localsite.Site, around *outside, out io.Writer) error {
	fmt.Fprintf(out, "\nAn app that was written for Whereby, with usher's address, key and secret.\n\n")
	var hook api.Webhook
	err := site.Call(ctx, "POST", "/v1/webhooks", map[string]any{"url": around.url + wherebyPath, "name": "whereby", "dialect": "whereby"}, &hook)
	if err != nil {
		return err
	}
	inbox := &wherebyInbox{secret: hook.Secret}
	around.receive(wherebyPath, inbox)
	var room struct{ MeetingID, RoomName, RoomURL, HostRoomURL string }
	err = site.Call(ctx, "POST", "/whereby/v1/meetings", map[string]any{
		"endDate": time.Now().Add(time.Hour), "roomNamePrefix": "Interview-", "fields": []string{"hostRoomUrl"},
	}, &room)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "          the app makes a room                             %s, %s\n", room.RoomName, room.HostRoomURL)
	ticket, err := click(ctx, room.HostRoomURL)
	if err != nil {
		return err
	}
	fay := sim.NewPerson(site.Sim, strings.TrimPrefix(room.RoomName, "/"), "Fay", ticket)
	defer fay.Drop()
	if err := fay.Join(ctx); err != nil {
		return err
	}
	p := &recordings{site: site, out: out, last: time.Now()}
	told := func(want ...string) func() (string, bool) {
		return func() (string, bool) {
			got, err := inbox.list()
			return strings.Join(got, ", "), err == nil && fmt.Sprint(got) == fmt.Sprint(want)
		}
	}
	joined := []string{"room.session.started", "room.client.joined numClients=1"}
	if err := p.until(ctx, "Fay joins by the host's link", told(joined...)); err != nil {
		return err
	}
	if err := fay.Leave(ctx); err != nil {
		return err
	}
	if err := p.until(ctx, "Fay leaves", told(append(joined, "room.client.left numClients=0")...)); err != nil {
		return err
	}
	var sessions struct {
		Results []struct {
			RoomSessionID string
			EndedAt       *time.Time
			People        int `json:"totalUniqueParticipants"`
		}
	}
	if err := site.Call(ctx, "GET", "/whereby/v1/insights/room-sessions?roomName="+room.RoomName, nil, &sessions); err != nil {
		return err
	}
	if len(sessions.Results) != 1 || sessions.Results[0].EndedAt != nil || sessions.Results[0].People != 1 {
		return fmt.Errorf("demo: room-sessions are %+v, want one of one person that lingers", sessions.Results)
	}
	fmt.Fprintf(out, "          its sessions, as Whereby lists them              %s, people %d, endedAt null while it lingers\n",
		sessions.Results[0].RoomSessionID, sessions.Results[0].People)
	return site.Call(ctx, "DELETE", "/whereby/v1/meetings/"+room.MeetingID, nil, nil)
}
