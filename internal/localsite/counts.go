package localsite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/meeting"
	"usher/meeting/service"
)

// Everything that counts who is in a meeting, read as its users read it and put into
// the words of a [FullMeeting]'s steps.

// counted waits until everything says what there is to count, and notes what was
// reported.
func (f *FullMeeting) counted(ctx context.Context, now step) error {
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	want, last := now.counts().String(), ""
	for {
		got, events, hooks, err := f.look(ctx, now)
		if err == nil {
			last = got.String()
		}
		if last == want {
			f.events, f.hooks = events, hooks
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("counted\n%s\nwant\n%s", last, want), err)
		}
	}
}

// counts is what stands in each place that counts.
type counts struct {
	in, media, where           string // the API's meeting, its recordings and participants
	metrics, metricsMedia      string
	insights, wherebysInsights string
	last                       string // who is in as of the last event
	events, hooks              []string
}

// String returns a line for each place.
func (c counts) String() string {
	lines := []string{
		"meeting: " + c.in, "recordings and stream: " + c.media, "participants: " + c.where,
		"metrics: " + c.metrics, "metrics of recordings and streams: " + c.metricsMedia,
		"insights: " + c.insights, "Whereby's insights: " + c.wherebysInsights, "last event: " + c.last,
	}
	for _, e := range slices.Sorted(slices.Values(c.events)) {
		lines = append(lines, "event: "+e)
	}
	for _, h := range slices.Sorted(slices.Values(c.hooks)) {
		lines = append(lines, "Whereby's event: "+h)
	}
	return strings.Join(lines, "\n")
}

// counts is what the step wants. Metrics count no hosts, and no recordings that are
// over.
func (s step) counts() counts {
	c := counts{
		in: s.in, media: s.media, where: s.where, metrics: without(s.in, "host"), metricsMedia: without(s.media, "available"),
		insights: s.total, wherebysInsights: s.total, events: s.events, hooks: s.hooks,
	}
	if s.reportsPeople() {
		c.last = s.in
	}
	return c
}

// reportsPeople reports whether an event of the step counts who is in.
func (s step) reportsPeople() bool {
	return slices.ContainsFunc(s.events, func(e string) bool { return strings.HasPrefix(e, "participant.") })
}

// without leaves out of a list what ends with the word.
func without(text, word string) string {
	parts := slices.DeleteFunc(strings.Split(text, ", "), func(s string) bool { return strings.HasSuffix(s, word) })
	return strings.Join(parts, ", ")
}

// look reads what stands in each place, and how many events and webhooks there are.
func (f *FullMeeting) look(ctx context.Context, now step) (c counts, events, hooks int, err error) {
	var errs [6]error
	c.in, c.media, errs[0] = f.Site.readMeeting(ctx, f.id)
	c.where, errs[1] = f.Site.readPeople(ctx, f.id)
	c.metrics, c.metricsMedia, errs[2] = f.Site.readMetrics(ctx)
	c.insights, c.wherebysInsights, errs[3] = f.Site.readInsights(ctx, f.room)
	c.events, c.last, events, errs[4] = f.Site.readEvents(ctx, f.id, f.events)
	if !now.reportsPeople() {
		c.last = ""
	}
	told, err := f.Whereby.Told()
	errs[5] = err
	c.hooks = told[min(f.hooks, len(told)):]
	return c, events, len(told), errors.Join(errs[:]...)
}

// number is how many there are of something; empty when there is none.
func number(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + what
	}
	return fmt.Sprint(n, " ", what, "s")
}

// listed joins what is not empty.
func listed(parts ...string) string {
	return cmp.Or(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", "), "nobody")
}

// occupancy is who is in, such as "3 humans, 1 host, 40 visitors".
func occupancy(o meeting.Occupancy) string {
	return listed(number(o.Humans, "human"), number(o.Hosts, "host"), number(o.Recorders, "recorder"),
		number(o.Others, "other"), number(o.Visitors, "visitor"))
}

// usage is who was in, in the whole session. Of everybody a minute counts that has
// begun.
func usage(u meeting.Usage) string {
	text := listed(number(u.Humans, "human"), number(u.Recorders, "recorder"), number(u.Streamers, "streamer"))
	if u.HumanMinutes < int64(u.Humans) || u.RecorderMinutes < int64(u.Recorders) || u.StreamerMinutes < int64(u.Streamers) {
		text += fmt.Sprintf(" for %d, %d and %d minutes", u.HumanMinutes, u.RecorderMinutes, u.StreamerMinutes)
	}
	return text
}

// onAir is what is recorded and streamed: states of recordings, and the live stream.
func onAir(states []string, streams int) string {
	if streams > 0 {
		states = append(states, number(streams, "live stream"))
	}
	return strings.Join(states, ", ")
}

// whereabouts is who is in which room: "main: Ada, recorder; one: Bob".
func whereabouts(people []meeting.ParticipantInfo) string {
	in := map[string][]string{}
	for _, p := range people {
		room := cmp.Or(p.Room.Name, p.Room.ID)
		in[room] = append(in[room], cmp.Or(p.Name, string(p.Kind)))
	}
	var all []string
	for room, who := range in {
		slices.Sort(who)
		all = append(all, room+": "+strings.Join(who, ", "))
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, "; "), "nobody")
}

// readMeeting reads a meeting and its recordings.
func (s *Site) readMeeting(ctx context.Context, id string) (in, media string, err error) {
	var m meeting.MeetingInfo
	if err := s.Call(ctx, "GET", "/v1/meetings/"+id, nil, &m); err != nil {
		return "", "", err
	}
	in = occupancy(m.Occupancy)
	if m.StaleSince != nil {
		in += " as of some time ago"
	}
	var recordings struct{ Data []meeting.RecordingInfo }
	if err := s.Call(ctx, "GET", "/v1/meetings/"+id+"/recordings", nil, &recordings); err != nil {
		return "", "", err
	}
	var states []string
	for _, r := range recordings.Data {
		states = append(states, string(r.State))
	}
	streams := 0
	if m.Stream.Active {
		streams = 1
	}
	return in, onAir(states, streams), nil
}

// readPeople reads where those who are in are.
func (s *Site) readPeople(ctx context.Context, id string) (string, error) {
	var people struct{ Data []meeting.ParticipantInfo }
	err := s.Call(ctx, "GET", "/v1/meetings/"+id+"/participants?active=true", nil, &people)
	return whereabouts(people.Data), err
}

// readInsights reads what the meeting's sessions come to, in both APIs.
func (s *Site) readInsights(ctx context.Context, room string) (native, whereby string, err error) {
	var sessions struct{ Data []service.SessionUsage }
	if err := s.Call(ctx, "GET", "/v1/insights/sessions?room="+room, nil, &sessions); err != nil {
		return "", "", err
	}
	var of meeting.Usage
	for _, u := range sessions.Data {
		of = u.Usage
		if u.Session.Humans != of.Humans || u.Session.Recorders != of.Recorders {
			return "", "", fmt.Errorf("a session of %d humans and %d recorders has the insights %+v", u.Session.Humans, u.Session.Recorders, of)
		}
	}
	var list struct {
		Results []struct {
			HumanMinutes    int64 `json:"totalParticipantMinutes"`
			RecorderMinutes int64 `json:"totalRecorderMinutes"`
			StreamerMinutes int64 `json:"totalStreamerMinutes"`
			Humans          int   `json:"totalUniqueParticipants"`
			Recorders       int   `json:"totalUniqueRecorders"`
			Streamers       int   `json:"totalUniqueStreamers"`
		}
	}
	if err := s.Call(ctx, "GET", "/whereby/v1/insights/room-sessions?roomName=/"+room, nil, &list); err != nil {
		return "", "", err
	}
	if len(list.Results) != len(sessions.Data) || len(list.Results) > 1 {
		return "", "", fmt.Errorf("%d sessions, and %d in Whereby's insights, want one in each", len(sessions.Data), len(list.Results))
	}
	var theirs meeting.Usage
	for _, u := range list.Results {
		theirs = meeting.Usage(u)
	}
	return usage(of), usage(theirs), nil
}

// readMetrics reads what the metrics count, on a site where nothing else goes on.
// Hosts are not among it.
func (s *Site) readMetrics(ctx context.Context) (in, media string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.At.Admin+"/metrics", http.NoBody)
	if err != nil {
		return "", "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", "", err
	}
	values := map[string]int{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(value); err == nil {
			values[name] = n
		}
	}
	kind := func(name string) int { return values[`usher_participants{kind="`+name+`"}`] }
	var states []string
	for name, n := range values {
		if state, ok := strings.CutPrefix(name, `usher_recordings{state="`); ok {
			states = append(states, slices.Repeat([]string{strings.TrimSuffix(state, `"}`)}, n)...)
		}
	}
	slices.Sort(states)
	o := meeting.Occupancy{Humans: kind("human"), Recorders: kind("recorder"), Others: kind("other"), Visitors: kind("visitor")}
	return occupancy(o), onAir(states, values["usher_live_streams"]), nil
}

// readEvents reads the meeting's events after the first ones, but for those about
// roles alone, which are the focus's business; who is in as of the last that says; and
// how many events there are.
func (s *Site) readEvents(ctx context.Context, id string, after int) (list []string, last string, all int, err error) {
	var page struct{ Data []Event }
	if err := s.Call(ctx, "GET", "/v1/events?limit=100&meeting_id="+id, nil, &page); err != nil {
		return nil, "", 0, err
	}
	for i, e := range page.Data {
		if e.Seq != int64(i+1) {
			return nil, "", 0, fmt.Errorf("event %d of the meeting has seq %d", i+1, e.Seq)
		}
		if i < after {
			continue
		}
		if o := e.Data.Occupancy; o != nil {
			last = occupancy(*o)
		}
		if !slices.Equal(e.Data.Changed, []string{"role"}) {
			list = append(list, e.String())
		}
	}
	return list, last, len(page.Data), nil
}
