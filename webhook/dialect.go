package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"usher/meeting"
)

// dialects make requests out of notices, by name. A new one is a file with a
// value of this type, and a line here.
var dialects = map[string]dialect{
	Standard:  standardDialect,
	Whereby:   wherebyDialect,
	Jitsi:     jitsiDialect,
	EventSync: eventSyncDialect,
}

// Dialects returns the names of the dialects that endpoints may have.
func Dialects() []string { return slices.Sorted(maps.Keys(dialects)) }

// dialect is one shape of what is sent.
type dialect struct {
	// events has what is told of each type of notice. Of types that are missing
	// nothing is. nil: the notice itself is sent, whatever it is about.
	events map[meeting.NoticeType]telling
	// key returns what a secret signs with, or why it cannot; nil: nothing is
	// signed, and secrets are not needed.
	key func(Secret) ([]byte, error)
	// sign adds the signature of a body to the headers. keys are those that are
	// live, the newest first, and at least one.
	sign func(h http.Header, keys [][]byte, m message, at time.Time, body []byte)
}

// telling makes a body, and the path to post it to, below the endpoint's URL.
// No body: there is nothing to tell. It fails only when the store does not
// answer.
type telling func(ctx context.Context, a about) (path string, body Object, err error)

// about is what a dialect knows when it tells of a notice.
type about struct {
	notice  meeting.Notice
	meeting meeting.Meeting // as it is now; at most its room when it is forgotten
	muc     string          // domain of the rooms
	site    string
	people  func(ctx context.Context, sessionID string) ([]meeting.Participant, error)
}

// Of what a notice is about, the zero value when it does not say.

func (a about) participant() meeting.ParticipantInfo { return orZero(a.notice.Data.Participant) }
func (a about) session() meeting.SessionInfo         { return orZero(a.notice.Data.Session) }
func (a about) recording() meeting.RecordingInfo     { return orZero(a.notice.Data.Recording) }
func (a about) occupancy() meeting.Occupancy         { return orZero(a.notice.Data.Occupancy) }

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// speaks reports whether there may be something to tell of such notices.
func (d dialect) speaks(t meeting.NoticeType) bool {
	return d.events == nil || d.events[t] != nil
}

// message is a notice on its way to an endpoint.
type message struct {
	envelope
	notice   json.RawMessage
	gap      bool // the one before it was given up
	refusals int  // tries so far that were refused
}

// envelope is what delivering wants to know of a notice.
type envelope struct {
	ID        string             `json:"id"`
	Type      meeting.NoticeType `json:"type"`
	MeetingID string             `json:"meeting_id"`
	Timestamp time.Time          `json:"timestamp"`
}

var errNotice = errors.New("webhook: notice is unreadable")

func newMessage(notice json.RawMessage, gap bool) (message, error) {
	m := message{notice: notice, gap: gap}
	if err := json.Unmarshal(notice, &m.envelope); err != nil || m.ID == "" {
		return m, errNotice
	}
	return m, nil
}

// parcel is what one try posts.
type parcel struct {
	path   string // below the endpoint's URL
	body   []byte
	header http.Header
}

// errNothing means that a dialect has nothing to say of a notice.
var errNothing = errors.New("webhook: nothing to tell")

// lookUp is how long the store may take to say what a notice does not: less
// than the lease of a claim allows for besides a try.
const lookUp = 4 * time.Second

// render makes the request of one try, anew for each: a dialect may tell how
// things are by then. It blocks for lookUp at most, where the dialect needs the
// store. Errors: errNothing; one that wraps [meeting.ErrUnavailable] may pass;
// after others no try can succeed.
func (b *Book) render(ctx context.Context, e Endpoint, m message, now time.Time) (parcel, error) {
	d := dialects[e.Dialect]
	p := parcel{header: http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {m.ID}}}
	if d.events == nil {
		p.body = m.standard()
	} else {
		ctx, cancel := context.WithTimeout(ctx, lookUp)
		defer cancel()
		var err error
		if p.path, p.body, err = b.tell(ctx, d, m); err != nil {
			return parcel{}, err
		}
	}
	if d.sign == nil {
		return p, nil
	}
	var keys [][]byte
	for _, s := range e.live(now) {
		key, err := d.key(s)
		if err != nil {
			return parcel{}, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return parcel{}, errSecret
	}
	d.sign(p.header, keys, m, now, p.body)
	return p, nil
}

// tell makes path and body of a notice.
func (b *Book) tell(ctx context.Context, d dialect, m message) (path string, body []byte, err error) {
	tell := d.events[m.Type]
	if tell == nil {
		return "", nil, errNothing
	}
	a := about{muc: b.muc, site: b.site, people: b.people}
	if err := json.Unmarshal(m.notice, &a.notice); err != nil {
		return "", nil, errNotice
	}
	if m.MeetingID != "" {
		a.meeting, err = b.store.Load(ctx, m.MeetingID)
		switch {
		case err == nil:
			b.rooms.learn(m.MeetingID, a.meeting.Room)
		case errors.Is(err, meeting.ErrUnavailable):
			return "", nil, err
		case !errors.Is(err, meeting.ErrNotFound):
			b.log.Warn("cannot read the meeting that a webhook notice is about", "meeting_id", m.MeetingID, "err", err)
		}
		if err != nil {
			a.meeting.Room = b.rooms.recall(m.MeetingID)
		}
	}
	path, told, err := tell(ctx, a)
	if err == nil && told == nil {
		err = errNothing
	}
	if err != nil {
		return "", nil, err
	}
	return path, AppendPython(nil, told), nil
}

// maxRooms is how many rooms are remembered, in less than a megabyte: the
// meetings of a large site's day.
const maxRooms = 10_000

// rooms remembers the rooms of meetings that something was told of. An app that
// has a meeting forgotten gets its last notices when the store may know it no
// more, and some receivers go by the room. Safe for concurrent use.
type rooms struct {
	mu        sync.Mutex
	byMeeting map[string]string
}

func (r *rooms) learn(meetingID, room string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byMeeting) >= maxRooms {
		clear(r.byMeeting)
	}
	put(&r.byMeeting, meetingID, room)
}

func (r *rooms) recall(meetingID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byMeeting[meetingID]
}

// people returns everybody who was in a session, in the order in which they
// came; of one that is not kept any more, nobody.
func (b *Book) people(ctx context.Context, sessionID string) ([]meeting.Participant, error) {
	list, err := b.store.Participants(ctx, sessionID)
	if errors.Is(err, meeting.ErrUnavailable) {
		return nil, err
	}
	return list, nil
}

// onlyKey returns the key where a request can carry one signature: the newest,
// and while the secret changes the one before it at every second try that
// follows a refusal.
func onlyKey(keys [][]byte, m message) []byte { return keys[m.refusals%len(keys)] }

const (
	// minText and maxText bound a secret that signs as it is, in bytes: shorter
	// ones are guessed, and longer ones were pasted by mistake.
	minText = 16
	maxText = 256
)

// textKey is dialect.key where receivers sign with the secret's text.
func textKey(s Secret) ([]byte, error) {
	if len(s.Key) < minText || len(s.Key) > maxText {
		return nil, fmt.Errorf("does not have %d to %d characters", minText, maxText)
	}
	return []byte(s.Key), nil
}

// stamp is a time as JSON has it: RFC 3339, UTC, three decimals.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
