package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"usher/internal/sim"
	"usher/internal/sleep"
	"usher/internal/stack"
	"usher/meeting"
)

const (
	// chaosRecorded of the meetings record themselves as long as people are in,
	// one more than there are recorders, so that one waits.
	chaosRecorded = 4
	chaosJibris   = chaosRecorded - 1
)

// startJibri starts a recorder, anew after its end, and blocks until it waits in
// the brewery. It has no hook, so files are awaited until the run is over.
func (c *chaosSite) startJibri(ctx context.Context, i int) (err error) {
	c.jibris[i], err = sim.StartJibri(ctx, sim.JibriConfig{
		Site: c.site, Name: fmt.Sprintf("jibri-%d", i+1), Brewery: stack.Brewery, Dir: filepath.Join(c.dir, "jibri"),
		Password: stack.Jibri.Password, RecorderPassword: stack.Recorder.Password,
	})
	return err
}

// killJibri ends a recorder like a killed host, and starts it after a while.
func (c *chaosSite) killJibri(ctx context.Context, f occurrence) error {
	i := f.random.IntN(chaosJibris)
	c.say("  jibri-%d", i+1)
	c.jibris[i].Die()
	sleep.For(ctx, f.lasts)
	return c.startJibri(ctx, i)
}

// endRecorded ends the meetings that are recorded and blocks until none is any
// more and all recorders are idle.
func (c *chaosSite) endRecorded(ctx context.Context) error {
	u := c.leader(ctx)
	if u == nil {
		return errors.New("no usher leads")
	}
	for _, id := range c.recorded {
		if _, err := u.post(ctx, "/v1/meetings/"+id+"/end", "application/json", benchKey, "{}"); err != nil {
			return err
		}
	}
	c.ended = len(c.recorded)
	return c.wait(ctx, "done recording", func() string {
		recordings, err := c.recordings(ctx)
		if err != nil {
			return err.Error()
		}
		for id, state := range recordings {
			if !state.Settled() && state != meeting.RecordingProcessing {
				return fmt.Sprintf("%s is %s", id, state)
			}
		}
		for i, j := range c.jibris {
			if session := j.Session(); session != "" {
				return fmt.Sprintf("jibri-%d records %s", i+1, session)
			}
		}
		return ""
	})
}

// recordings returns the states of all recordings by their ids: the API's word.
func (c *chaosSite) recordings(ctx context.Context) (map[string]meeting.RecordingState, error) {
	u := c.leader(ctx)
	if u == nil {
		return nil, errors.New("no usher leads")
	}
	states := map[string]meeting.RecordingState{}
	for _, id := range c.recorded {
		for cursor := ""; ; {
			var list struct {
				Data []meeting.RecordingInfo `json:"data"`
				Next string                  `json:"next_cursor"`
			}
			if err := u.getJSON(ctx, "/v1/meetings/"+id+"/recordings?limit=100"+cursor, &list); err != nil {
				return nil, err
			}
			for _, r := range list.Data {
				states[r.ID] = r.State
			}
			if list.Next == "" {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(list.Next)
		}
	}
	return states, nil
}

// getJSON reads an answer of the API.
func (u *measuredUsher) getJSON(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	var text []byte
	if err := u.do(req, &text); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// checkRecordings looks for recordings that a receiver was told of in an order
// that makes no sense, and compares its last word on each with the API's. What
// a gap may hide is no fault.
func (l *ledger) checkRecordings(v *verdict, name string) {
	seen, hidden := map[string]bool{}, map[string]bool{} // events; meetings with a gap
	started, state := map[string]bool{}, map[string]meeting.RecordingState{}
	of := map[string]string{} // meetings by recording
	for _, a := range l.arrived[name] {
		hidden[a.MeetingID] = hidden[a.MeetingID] || a.gap
		r := a.Data.Recording
		if seen[a.ID] || r.ID == "" {
			continue
		}
		seen[a.ID] = true
		of[r.ID] = a.MeetingID
		word := strings.TrimPrefix(a.Type, "recording.")
		switch {
		case hidden[a.MeetingID]:
		case word == "started" && started[r.ID]:
			v.phantom++
			v.example("%s was told twice that %s has started", name, r.ID)
		case state[r.ID].Settled() && r.State != state[r.ID]:
			v.phantom++
			v.example("%s got %s of %s after %s", name, a.Type, r.ID, state[r.ID])
		}
		started[r.ID] = started[r.ID] || word == "started"
		state[r.ID] = r.State
	}
	for id, known := range l.recordings {
		if known != state[id] && !hidden[of[id]] {
			v.lost++
			v.example("%s is %s, and %s was told last that it is %s", id, known, name, state[id])
		}
	}
}
