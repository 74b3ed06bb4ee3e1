package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/meeting"
)

// playTracks has three voices recorded by a video bridge, each in a file of its own,
// and returns how many there are. It fails unless all can be had and usher knows who
// spoke how long.
func playTracks(ctx context.Context, site *localsite.Site, jvb *sim.JVB, out io.Writer) (string, error) {
	fmt.Fprintf(out, "\nThree voices, each in a file of its own, and who spoke: without a recorder, from a\nsimulated video bridge (JVB).\n\n")
	p := &recordings{site: site, out: out, last: time.Now()}
	m, people, leave, err := p.talk(ctx, "Gus", "Hana", "Ivo")
	defer leave()
	if err != nil {
		return "", err
	}
	if err := p.is(ctx, "Gus, Hana and Ivo join, their meeting records itself", m.ID, meeting.RecordingOn); err != nil {
		return "", err
	}
	asked, err := p.of(ctx, m.ID)
	if err != nil || len(asked) != 1 || len(asked[0].Parts) != 1 {
		return "", fmt.Errorf("demo: recordings %+v, want one of one part: %w", asked, err)
	}
	r := asked[0]
	localsite.SpeakAll(ctx, jvb, r.Parts[0].JitsiMeetingID, people)
	leave()
	if err := p.is(ctx, "all have spoken and leave, their files are there", m.ID, meeting.RecordingAvailable); err != nil {
		return "", err
	}
	if err := p.spoke(ctx, r.SessionID, people); err != nil {
		return "", err
	}
	tracks, err := p.tracks(ctx, m.ID)
	if err == nil && tracks != len(people) {
		err = fmt.Errorf("demo: tracks=%d, want %d", tracks, len(people))
	}
	return fmt.Sprintf("tracks=%d", tracks), err
}

// talk makes a meeting that records the tracks of whoever is in, lets people in, and
// returns who they are to usher, and what lets them out again.
func (p *recordings) talk(ctx context.Context, names ...string) (m meeting.MeetingInfo, in []meeting.ParticipantInfo, leave func(), err error) {
	leave = func() {}
	err = p.site.Call(ctx, "POST", "/v1/meetings", map[string]any{
		"name_prefix": "voices", "departure_timeout_s": 2, "recording": map[string]any{"trigger": "automatic", "modes": []string{"tracks"}},
	}, &m)
	if err != nil {
		return m, nil, leave, err
	}
	var people []*sim.Person
	leave = func() {
		for _, who := range people {
			who.Drop()
		}
	}
	for _, name := range names {
		who := sim.NewPerson(p.site.Sim, m.Room, name, "")
		people = append(people, who)
		if err := who.Join(ctx); err != nil {
			return m, nil, leave, err
		}
	}
	var list struct{ Data []meeting.ParticipantInfo }
	err = p.until(ctx, "three people are in", func() (string, bool) {
		err := p.site.Call(ctx, "GET", "/v1/meetings/"+m.ID+"/participants", nil, &list)
		return "", err == nil && len(list.Data) == len(names)
	})
	return m, list.Data, leave, err
}

// spoke prints who spoke how long in a session, and fails unless each has for the
// time that they did.
func (p *recordings) spoke(ctx context.Context, session string, people []meeting.ParticipantInfo) error {
	var speakers struct{ Data []meeting.SpeakerInfo }
	if err := p.site.Call(ctx, "GET", "/v1/sessions/"+session+"/speakers", nil, &speakers); err != nil {
		return err
	}
	var lines []string
	heard := map[string]float64{}
	for _, s := range speakers.Data {
		heard[s.ParticipantID] = s.SpeakingS
		lines = append(lines, fmt.Sprintf("%s %.1f s (%.0f %%)", s.Name, s.SpeakingS, 100*s.Share))
	}
	text := strings.Join(lines, ", ")
	fmt.Fprintf(p.out, "          who spoke                                        %s\n", text)
	const tolerance = 0.3 // seconds: of a beginning and an end on a busy machine
	for i, who := range people {
		if want := localsite.Speaking(i).Seconds(); math.Abs(heard[who.ID]-want) > tolerance {
			return fmt.Errorf("demo: usher heard %s, want %.1f s of %s", text, want, who.Name)
		}
	}
	return nil
}

// tracks downloads a track for each person of the meeting's only recording, and
// counts.
func (p *recordings) tracks(ctx context.Context, id string) (n int, err error) {
	list, err := p.of(ctx, id)
	if err != nil || len(list) != 1 {
		return 0, errors.Join(err, fmt.Errorf("demo: %d recordings, want one", len(list)))
	}
	for i, f := range list[0].Files {
		if f.Track == nil {
			continue // the manifest
		}
		if err := p.download(ctx, list[0].ID, i); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
