package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"usher/internal/sim"
	"usher/internal/stack/stacktest"
	"usher/meeting"
)

// TestAppsActOnPeople uses the native API on a real Prosody with real logins.
func TestAppsActOnPeople(t *testing.T) {
	stacktest.Needed(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	web := httptest.NewServer(http.NotFoundHandler()) // people's browsers are sent there
	defer web.Close()
	site, err := startLocal(ctx, t.TempDir(), newLog(t.Output(), slog.LevelWarn), "--site-url="+web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := site.stop(); err != nil {
			t.Error(err)
		}
	}()
	var m meeting.MeetingInfo
	if err := site.call(ctx, "POST", "/v1/meetings", map[string]any{"room": "standup"}, &m); err != nil {
		t.Fatal(err)
	}
	// The first one in is made an owner of the room, which is who it takes
	// most to put out; she is there on two devices.
	var link struct{ URL string }
	err = site.call(ctx, "POST", "/v1/meetings/"+m.ID+"/links", map[string]any{"user": map[string]any{"id": "u-ada", "name": "Ada"}}, &link)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	clicked, err := client.Get(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	clicked.Body.Close()
	_, ticket, ok := strings.Cut(clicked.Header.Get("Location"), web.URL+"/"+m.Room+"#jwt=")
	if !ok {
		t.Fatalf("the link answers %s and leads to %q", clicked.Status, clicked.Header.Get("Location"))
	}
	laptop := sim.NewPerson(site.sim, m.Room, "Ada", ticket)
	phone := sim.NewPerson(site.sim, m.Room, "Ada", ticket)
	for _, p := range []*sim.Person{laptop, phone} {
		defer p.Drop()
		if err := p.Join(ctx); err != nil {
			t.Fatal(err)
		}
	}
	path := "/v1/meetings/" + m.ID + "/participants"
	var people struct{ Data []meeting.ParticipantInfo }
	for len(people.Data) != 1 || people.Data[0].Connections != 2 || people.Data[0].Role != meeting.RoleModerator {
		if err := site.call(ctx, "GET", path, nil, &people); err != nil {
			t.Fatalf("%v; people are %+v", err, people.Data)
		}
		time.Sleep(10 * time.Millisecond)
	}
	var rooms struct {
		Data []struct {
			Room      string
			Occupancy meeting.Occupancy
		}
	}
	if err := site.call(ctx, "GET", "/v1/rooms", nil, &rooms); err != nil {
		t.Fatal(err)
	}
	if len(rooms.Data) != 1 || rooms.Data[0].Room != m.Room || rooms.Data[0].Occupancy.Humans != 1 {
		t.Errorf("rooms = %+v, want one with one human", rooms.Data)
	}
	if err := site.call(ctx, "DELETE", path+"/"+people.Data[0].ID+"?reason=Enough%20%3Cb%3E", nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*sim.Person{laptop, phone} {
		out, err := p.WaitOut(ctx)
		if err != nil || out.Text != "Enough <b>" {
			t.Errorf("Ada is out with %+v, %v, want to read the reason", out, err)
		}
	}
	var ada meeting.ParticipantInfo
	for ada.LeftReason != meeting.LeftKicked {
		if err := site.call(ctx, "GET", path+"/"+people.Data[0].ID, nil, &ada); err != nil {
			t.Fatalf("%v; she is %+v", err, ada)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
