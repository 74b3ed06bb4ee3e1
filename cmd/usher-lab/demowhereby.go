package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"usher/internal/localsite"
	"usher/internal/sim"
)

// wherebyRoom begins the names of the app's rooms.
const wherebyRoom = "interview-"

// playWhereby plays a meeting of an app that knows only Whereby's API: it makes
// the room, is told over webhooks with Whereby's signature, and asks for the
// sessions. It fails unless all of that works.
func playWhereby(ctx context.Context, site *localsite.Site, around *outside, out io.Writer) error {
	fmt.Fprintf(out, "\nAn app that was written for Whereby, with usher's address, key and secret.\n\n")
	inbox := &localsite.WherebyInbox{Rooms: wherebyRoom}
	around.receive(wherebyPath, inbox)
	if err := inbox.Subscribe(ctx, site, "whereby", around.url+wherebyPath); err != nil {
		return err
	}
	var room struct{ MeetingID, RoomName, RoomURL, HostRoomURL string }
	err := site.Call(ctx, "POST", "/whereby/v1/meetings", map[string]any{
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
			got, err := inbox.Told()
			return strings.Join(got, ", "), err == nil && fmt.Sprint(got) == fmt.Sprint(want)
		}
	}
	joined := []string{"room.session.started", "room.client.joined host numClients=1 [host:1]"}
	if err := p.until(ctx, "Fay joins by the host's link", told(joined...)); err != nil {
		return err
	}
	if err := fay.Leave(ctx); err != nil {
		return err
	}
	if err := p.until(ctx, "Fay leaves", told(append(joined, "room.client.left host numClients=0 []")...)); err != nil {
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
