package bridge

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxTracks bounds the open files of a part.
	maxTracks = 1000
	// shareTime is how long a microphone must be quiet before another one of the
	// same person goes on in its file.
	shareTime = second
	// shareOverlap is what the two may overlap by: their clocks are not that exact.
	shareOverlap = 200 * millisecond
	// unknownPerson begins the key of an endpoint of which it is not known who it
	// is; no id of a participant has it.
	unknownPerson = "?"
	trackExt      = ".ogg"
)

// Person is who an endpoint of a bridge belongs to.
type Person struct {
	ID     string // of the participant; empty while it is not known
	UserID string
	Name   string
	// Encrypted says that this endpoint encrypts from end to end.
	Encrypted bool
}

// speaker is a person, or an endpoint of which it is not known who it is.
type speaker struct {
	Person
	endpoints []string
	tracks    []*track
	encrypted bool // sound was left out, because it was
	speech    speech
}

// name is what the timeline calls the speaker.
func (s *speaker) name() string {
	if s.ID != "" {
		return s.ID
	}
	return s.endpoints[0]
}

// identify asks who a source is and sets its speaker. That may become known
// late, and be somebody who is known already.
func (p *Part) identify(s *source) {
	who, before := p.cfg.Person(s.endpoint), s.speaker
	s.encrypted = who.Encrypted
	if before != nil && (who.ID == "" || who.ID == before.ID) {
		return
	}
	unknown := unknownPerson + s.endpoint
	key := cmp.Or(who.ID, unknown)
	if before != nil && before.ID == "" {
		before.Person = who // what is recorded of the unknown one is theirs
		delete(p.people, unknown)
		if p.people[key] == nil {
			p.people[key] = before
		}
	}
	now := p.people[key]
	if now == nil {
		now = &speaker{Person: who}
		p.people[key] = now
		p.speakers = append(p.speakers, now)
	}
	if !slices.Contains(now.endpoints, s.endpoint) {
		now.endpoints = append(now.endpoints, s.endpoint)
	}
	if now != before {
		s.speaker, s.track = now, nil
	}
	p.changed = true
}

// track is the file into which a source's packet at the given position goes.
func (p *Part) track(s *source, position samples) (*track, error) {
	if s.track != nil && s.track.source == s {
		return s.track, nil
	}
	for _, t := range s.speaker.tracks {
		if p.now-t.source.heard >= shareTime && t.end-position <= shareOverlap {
			t.source, s.track = s, t
			return t, nil
		}
	}
	if len(p.tracks) == maxTracks {
		return nil, fmt.Errorf("more than %d files in one part", maxTracks)
	}
	t := p.newTrack(s)
	t.source, s.track = s, t
	s.speaker.tracks = append(s.speaker.tracks, t)
	p.tracks = append(p.tracks, t)
	p.changed, p.due = true, p.now
	return t, nil
}

// newTrack begins a file, which says by itself whose it is, should the manifest
// be lost.
func (p *Part) newTrack(s *source) *track {
	name := fmt.Sprintf("%03d%s", len(p.tracks)+1, trackExt)
	path := filepath.Join(p.cfg.Dir, name)
	serial := fnv.New32a() // files that are put together keep apart
	fmt.Fprint(serial, p.cfg.ID, "/", name)
	return newTrack(name, serial.Sum32(), func() (file, error) { return p.cfg.create(path) }, oggComments(
		"MEETING", p.cfg.Meeting, "PART", p.cfg.ID, "START", p.t0.UTC().Format(time.RFC3339Nano),
		"PARTICIPANT", s.speaker.ID, "USER", s.speaker.UserID, "ARTIST", s.speaker.Name, "ENDPOINT", s.endpoint))
}
