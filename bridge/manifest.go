package bridge

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	manifestName = "manifest.json"
	// manifestInterval is the time between two copies of the manifest on disk, but
	// for new tracks: a crash costs who spoke since, but not whose the files are.
	manifestInterval = 10 * second
	// maxGaps bounds the times without a bridge that are listed: one a minute for a
	// day.
	maxGaps = 1440
)

// Manifest says what is in a part. Positions are milliseconds from Start.
type Manifest struct {
	Version int       `json:"version"` // 1
	Meeting string    `json:"meeting"` // Jitsi's id
	Part    string    `json:"part"`
	Start   time.Time `json:"start"`
	End     int64     `json:"end_ms"`
	Bridge  string    `json:"bridge,omitempty"`
	// Complete is false in the copies that are written while the part is recorded.
	Complete bool `json:"complete"`
	// Problem is the last reason why sound was lost, if it was.
	Problem string          `json:"problem,omitempty"`
	Tracks  []ManifestTrack `json:"tracks"`
	NoSound []ManifestTrack `json:"no_sound,omitempty"` // people of whom none was kept
	Gaps    []Gap           `json:"gaps,omitempty"`
	Speech  []Spoken        `json:"speech"`
}

// ManifestTrack is one file, or, without one, a person of whom no sound was
// kept.
type ManifestTrack struct {
	File        string   `json:"file,omitempty"`
	Participant string   `json:"participant,omitempty"`
	UserID      string   `json:"user_id,omitempty"`
	Name        string   `json:"name,omitempty"`
	Endpoints   []string `json:"endpoints"`           // nicks in the MUC, of all their connections
	First       int64    `json:"first_ms"`            // where the sound begins
	Last        int64    `json:"last_ms"`             // and ends
	Late        int      `json:"late,omitempty"`      // packets left out: too late for their place
	Lost        int64    `json:"lost_ms,omitempty"`   // sound that the disk did not take
	Encrypted   bool     `json:"encrypted,omitempty"` // some or all of it was, and is left out
}

// Gap is a time in which no bridge was connected: what was said is lost.
type Gap struct {
	Start int64 `json:"start_ms"`
	End   int64 `json:"end_ms"`
}

// Spoken is a Segment as the manifest has it.
type Spoken struct {
	Speaker string `json:"speaker"` // participant, or endpoint where it is not known
	Start   int64  `json:"start_ms"`
	End     int64  `json:"end_ms"`
}

// at is when a position was.
func (m Manifest) at(ms int64) time.Time { return m.Start.Add(time.Duration(ms) * time.Millisecond) }

func milliseconds(s samples) int64 { return int64(s / millisecond) }

// Speech is who spoke when until now, by participant or, where it is not known,
// by endpoint.
func (p *Part) Speech() (segments []Segment) {
	p.ask(func() { segments = p.segments() })
	return segments
}

func (p *Part) segments() (segments []Segment) {
	for _, s := range p.speakers {
		segments = append(segments, s.speech.segments(s.name())...)
	}
	return inOrder(segments)
}

// describe makes the manifest. The part's goroutine calls it, or whoever has
// seen it end.
func (p *Part) describe(complete bool) Manifest {
	m := Manifest{
		Version: 1, Complete: complete, Meeting: p.cfg.Meeting, Part: p.cfg.ID, Start: p.t0, End: milliseconds(p.now),
		Bridge: p.version, Tracks: []ManifestTrack{}, Gaps: p.gaps, Speech: []Spoken{},
	}
	if p.problem != nil {
		m.Problem = p.problem.Error()
	}
	for _, s := range p.speakers {
		who := ManifestTrack{Participant: s.ID, UserID: s.UserID, Name: s.Name, Endpoints: s.endpoints, Encrypted: s.encrypted}
		if len(s.tracks) == 0 {
			m.NoSound = append(m.NoSound, who)
		}
		for _, t := range s.tracks {
			who.File, who.First, who.Last = t.name, milliseconds(t.first), milliseconds(t.end)
			who.Late, who.Lost = t.late, milliseconds(t.lost)
			m.Tracks = append(m.Tracks, who)
		}
	}
	for _, s := range p.segments() {
		m.Speech = append(m.Speech, Spoken{s.Speaker, s.Start.Milliseconds(), s.End.Milliseconds()})
	}
	return m
}

// saveManifest writes the manifest as it is now into the part's folder, in one
// step.
func (p *Part) saveManifest(complete bool) error {
	p.due = p.now + manifestInterval
	if p.cfg.Dir == "" {
		return nil
	}
	text, err := json.Marshal(p.describe(complete))
	if err != nil {
		return err
	}
	path := filepath.Join(p.cfg.Dir, manifestName)
	temporary := path + ".tmp"
	if err := writeFile(temporary, text, complete); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	p.changed = false
	return nil
}

// writeFile writes a file that, synced, survives the loss of power.
func writeFile(path string, text []byte, synced bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640) //nolint:gosec // the group may read recordings
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if synced {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}
