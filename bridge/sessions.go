package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"usher/meeting"
)

// maxParts bounds the parts of a session that are looked at, by mode: a day of an usher that
// is restarted every few minutes.
const maxParts = 300

// pageOf is how many recordings of a meeting are read at a time.
const pageOf = 100

// Sessions says who spoke when in sessions, by the manifests of their recordings.
// Its methods are safe for concurrent use.
type Sessions struct {
	// Recordings and Open read what is stored; see service.Store and service.Files.
	Recordings func(ctx context.Context, f meeting.RecordingFilter, cursor string, limit int) ([]meeting.Recording, string, error)
	Open       func(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error)
}

// Formats of [Sessions.Timeline].
const (
	FormatJSONLines = "jsonl"
	FormatWebVTT    = "vtt"
	FormatRTTM      = "rttm"
)

// conversation is what was said in a session: segments by time since start.
type conversation struct {
	start    time.Time
	segments []Segment
	people   map[string]Person // by speaker
}

// Speakers returns who spoke how much in a session, whoever spoke most first. A part
// counts once it is handed over. Errors: [meeting.ErrNotFound] when nothing of the
// session was recorded from bridges, and those of Open.
func (s Sessions) Speakers(ctx context.Context, of meeting.SessionInfo) ([]meeting.SpeakerInfo, error) {
	t, err := s.talk(ctx, of)
	return t.speakers(), err
}

// speakers sums up the talk.
func (t conversation) speakers() []meeting.SpeakerInfo {
	list := []meeting.SpeakerInfo{}
	for _, total := range Totals(t.segments) {
		who := t.people[total.Speaker]
		info := meeting.SpeakerInfo{
			ParticipantID: who.ID, UserID: who.UserID, Name: who.Name,
			SpeakingS: total.Speaking.Seconds(), Turns: total.Turns, Share: total.Share,
			FirstAt: meeting.Time{Time: t.start.Add(total.First)}, LastAt: meeting.Time{Time: t.start.Add(total.Last)},
		}
		if who.ID == "" {
			info.EndpointID = total.Speaker
		}
		list = append(list, info)
	}
	return list
}

// Timeline writes who had the floor when in a session, in one of the formats: a JSON
// object a line, WebVTT or RTTM. Times count from the beginning of the first part,
// where all its files begin. Errors: as for Speakers, and those of w.
func (s Sessions) Timeline(ctx context.Context, of meeting.SessionInfo, format string, w io.Writer) error {
	t, err := s.talk(ctx, of)
	if err != nil {
		return err
	}
	turns := Turns(t.segments)
	switch format {
	case FormatWebVTT:
		return WriteWebVTT(w, turns, 0, func(speaker string) string { return t.people[speaker].Name })
	case FormatRTTM:
		return WriteRTTM(w, of.ID, turns, 0)
	}
	out := json.NewEncoder(w)
	for _, turn := range turns {
		who := t.people[turn.Speaker]
		line := struct {
			Speaker string       `json:"speaker"`
			UserID  string       `json:"user_id,omitempty"`
			Name    string       `json:"name,omitempty"`
			Start   float64      `json:"start_s"`
			End     float64      `json:"end_s"`
			At      meeting.Time `json:"at"`
		}{turn.Speaker, who.UserID, who.Name, turn.Start.Seconds(), turn.End.Seconds(), meeting.Time{Time: t.start.Add(turn.Start)}}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// talk reads what was said in a session.
func (s Sessions) talk(ctx context.Context, of meeting.SessionInfo) (conversation, error) {
	files, err := s.manifests(ctx, of)
	if err != nil {
		return conversation{}, err
	}
	tracks, err := s.readAll(ctx, files[meeting.ModeTracks])
	if err != nil {
		return conversation{}, err
	}
	levels, err := s.readAll(ctx, files[meeting.ModeLevels])
	if err != nil {
		return conversation{}, err
	}
	if len(tracks)+len(levels) == 0 {
		return conversation{}, meeting.ErrNotFound
	}
	return talkOf(tracks, levels), nil
}

// talkOf puts parts one after the other. Tracks and levels of the same time say the
// same, so of levels only the other times count.
func talkOf(tracks, levels []Manifest) conversation {
	t := conversation{people: map[string]Person{}}
	t.start = slices.MinFunc(slices.Concat(tracks, levels), func(a, b Manifest) int { return a.Start.Compare(b.Start) }).Start
	var covered []Segment
	for _, m := range tracks {
		t.add(m, nil)
		covered = append(covered, Segment{Start: m.Start.Sub(t.start), End: m.at(m.End).Sub(t.start)})
	}
	for _, m := range levels {
		t.add(m, covered)
	}
	return t
}

// add adds what was said in a part, but for the times that are covered.
func (t *conversation) add(m Manifest, covered []Segment) {
	for _, who := range slices.Concat(m.Tracks, m.NoSound) {
		if who.Participant != "" {
			t.people[who.Participant] = Person{ID: who.Participant, UserID: who.UserID, Name: who.Name}
		}
	}
	for _, s := range m.Speech {
		said := Segment{Speaker: s.Speaker, Start: m.at(s.Start).Sub(t.start), End: m.at(s.End).Sub(t.start)}
		t.segments = append(t.segments, said.outside(covered)...)
	}
}

// manifests returns those of a session, by mode.
func (s Sessions) manifests(ctx context.Context, of meeting.SessionInfo) (byMode map[meeting.RecordingMode][]meeting.RecordingFile, err error) {
	byMode = map[meeting.RecordingMode][]meeting.RecordingFile{}
	for cursor := ""; ; {
		list, next, err := s.Recordings(ctx, meeting.RecordingFilter{MeetingID: of.MeetingID}, cursor, pageOf)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			for _, f := range r.Files {
				if r.SessionID == of.ID && r.Mode.FromBridge() && f.Track == nil && r.Deleted.IsZero() {
					byMode[r.Mode] = append(byMode[r.Mode], f)
				}
			}
		}
		if next == "" {
			return byMode, nil
		}
		cursor = next
	}
}

// readAll reads manifests, maxParts at most.
func (s Sessions) readAll(ctx context.Context, files []meeting.RecordingFile) (list []Manifest, err error) {
	for _, f := range files[:min(len(files), maxParts)] {
		m, err := s.read(ctx, f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody has tidied up
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func (s Sessions) read(ctx context.Context, f meeting.RecordingFile) (m Manifest, err error) {
	file, err := s.Open(ctx, f)
	if err != nil {
		return m, err
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxManifest)).Decode(&m); err != nil {
		return m, fmt.Errorf("read %s: %w", cmp.Or(f.Path, f.Name), err)
	}
	return m, nil
}
