package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"usher/api"
	"usher/internal/localsite"
	"usher/internal/sim"
	"usher/internal/sleep"
	"usher/meeting"
)

// recordPatience is how long a step of a recording may take; the longest waits
// three seconds for people to come back, and then for the recorder's hook.
const recordPatience = 30 * time.Second

// playRecordings has two meetings recorded by one recorder, the second one as
// soon as the first is done, and returns what came of it. It fails unless both
// files can be had.
func playRecordings(ctx context.Context, site *localsite.Site, dir string, out io.Writer) (string, error) {
	fmt.Fprintf(out, "\nOne recorder for two meetings. Jicofo and Jibri are simulated, the recorder's hook\nis `usher finalize`; times are from one line to the next.\n\n")
	jibri, err := site.StartJibri(ctx, dir, "jibri-1", nil)
	if err != nil {
		return "", err
	}
	defer jibri.Die()
	p := &recordings{site: site, out: out, last: time.Now()}
	err = p.until(ctx, "usher sees an idle recorder", func() (string, bool) {
		var list api.RecorderList
		err := site.Call(ctx, "GET", "/v1/recorders", nil, &list)
		return "", err == nil && len(list.Data) == 1 && list.Data[0].Status == "idle"
	})
	if err != nil {
		return "", err
	}
	first, dora, err := p.meet(ctx, "Dora")
	if err != nil {
		return "", err
	}
	defer dora.Drop()
	if err := p.is(ctx, "Dora joins, her meeting records itself", first, meeting.RecordingOn); err != nil {
		return "", err
	}
	second, emil, err := p.meet(ctx, "Emil")
	if err != nil {
		return "", err
	}
	defer emil.Drop()
	if err := p.is(ctx, "Emil joins, his meeting waits for the recorder", second, meeting.RecordingQueued); err != nil {
		return "", err
	}
	if err := dora.Leave(ctx); err != nil {
		return "", err
	}
	if err := p.is(ctx, "Dora leaves, the file of her meeting is there", first, meeting.RecordingAvailable); err != nil {
		return "", err
	}
	if err := p.is(ctx, "the recorder is free, Emil's meeting is recorded", second, meeting.RecordingOn); err != nil {
		return "", err
	}
	if err := emil.Leave(ctx); err != nil {
		return "", err
	}
	if err := p.is(ctx, "Emil leaves, the file of his meeting is there", second, meeting.RecordingAvailable); err != nil {
		return "", err
	}
	if err := p.until(ctx, "nothing is left to hand over", func() (string, bool) { return "", localsite.SpoolEmpty(dir) }); err != nil {
		return "", err
	}
	return p.verdict(ctx, first, second)
}

// recordings follows those of the demo.
type recordings struct {
	site *localsite.Site
	out  io.Writer
	last time.Time
}

// meet makes a meeting that records itself and lets somebody in.
func (p *recordings) meet(ctx context.Context, name string) (id string, who *sim.Person, err error) {
	var m meeting.MeetingInfo
	err = p.site.Call(ctx, "POST", "/v1/meetings", map[string]any{
		"name_prefix": name, "departure_timeout_s": 2, "recording": map[string]any{"trigger": "automatic"},
	}, &m)
	if err != nil {
		return "", nil, err
	}
	who = sim.NewPerson(p.site.Sim, m.Room, name, "")
	return m.ID, who, who.Join(ctx)
}

// until waits until ok, and prints a line with what it says.
func (p *recordings) until(ctx context.Context, title string, ok func() (string, bool)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recordPatience, fmt.Errorf("%s: not within %v", title, recordPatience))
	defer cancel()
	for {
		text, done := ok()
		if done {
			now := time.Now()
			fmt.Fprintf(p.out, "%6.0f ms  %-48s %s\n", milliseconds(now.Sub(p.last)), title, text)
			p.last = now
			return nil
		}
		if !sleep.For(ctx, 5*time.Millisecond) {
			return fmt.Errorf("%w; last %s", context.Cause(ctx), text)
		}
	}
}

// is waits until the meeting's only recording is in the state.
func (p *recordings) is(ctx context.Context, title, id string, want meeting.RecordingState) error {
	return p.until(ctx, title, func() (string, bool) {
		list, err := p.of(ctx, id)
		if err != nil || len(list) != 1 {
			return fmt.Sprint(list, err), false
		}
		r := list[0]
		text := string(r.State)
		for _, f := range r.Files {
			text += fmt.Sprintf(" %s, %d bytes", f.Name, f.Size)
		}
		return text, r.State == want
	})
}

func (p *recordings) of(ctx context.Context, id string) ([]meeting.RecordingInfo, error) {
	var list struct{ Data []meeting.RecordingInfo }
	err := p.site.Call(ctx, "GET", "/v1/meetings/"+id+"/recordings", nil, &list)
	return list.Data, err
}

// verdict downloads each file, and counts.
func (p *recordings) verdict(ctx context.Context, meetings ...string) (string, error) {
	all, available, queued := 0, 0, 0
	for _, id := range meetings {
		list, err := p.of(ctx, id)
		if err != nil {
			return "", err
		}
		for _, r := range list {
			all++
			if err := p.download(ctx, r.ID, 0); err != nil {
				return "", err
			}
			available++
		}
		var events struct{ Data []meeting.Event }
		if err := p.site.Call(ctx, "GET", "/v1/events?limit=100&meeting_id="+id, nil, &events); err != nil {
			return "", err
		}
		for _, n := range events.Data {
			if n.Type == meeting.RecordingIsQueued {
				queued++
			}
		}
	}
	line := fmt.Sprintf("recordings=%d available=%d queued=%d", all, available, queued)
	if all != 2 || available != 2 || queued != 1 {
		return "", fmt.Errorf("demo: %s, want 2, 2 and 1", line)
	}
	return line, nil
}

// download gets a file of a recording by a signed link.
func (p *recordings) download(ctx context.Context, id string, file int) error {
	var link api.FileLink
	if err := p.site.Call(ctx, "GET", fmt.Sprintf("/v1/recordings/%s/download?file=%d", id, file), nil, &link); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.URL, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	size, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || size != link.Size {
		return fmt.Errorf("download of %s: %s, %d of %d bytes: %w", id, resp.Status, size, link.Size, err)
	}
	return nil
}
