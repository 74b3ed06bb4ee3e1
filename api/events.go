package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"usher/meeting"
)

const (
	// scanPages is how many pages of the log one request looks through for the
	// events of one meeting.
	scanPages = 10
	// eventPage is the number of entries read from the log at a time.
	eventPage = 100

	// streamPath is the one route that has no end by itself.
	streamPath = "/v1/events/stream"
	// StreamHeartbeat is the time between two signs of life while nothing
	// happens: proxies commonly end what is silent for 60 s, some for 30.
	StreamHeartbeat = 15 * time.Second
	// streamWriteTimeout is how long a listener's connection may take nothing.
	streamWriteTimeout = 10 * time.Second
	// streamRetry is how long browsers wait before they come back.
	streamRetry = 2 * time.Second
	// listenTimeout bounds the wait for the reader of the log.
	listenTimeout = 5 * time.Second
)

// Event is an event as it was committed: byte for byte what webhooks carry.
type Event json.RawMessage

// MarshalJSON returns the event as it is.
func (e Event) MarshalJSON() ([]byte, error) { return e, nil }

// Schema gives huma the schema of an event.
func (Event) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[meeting.Event](), true, "")
}

// Events is a stretch of the event log.
type Events struct {
	Data       []Event `json:"data" nullable:"false"`
	NextCursor string  `json:"next_cursor" doc:"Where to go on, now or when there is more: give it as after"`
	HasMore    bool    `json:"has_more" doc:"There may be more already"`
}

// EventFilter is the part of an input that chooses events.
type EventFilter struct {
	After     string   `query:"after" maxLength:"40" pattern:"^([0-9]{1,19}(-[0-9]{1,19})?)?$" doc:"Place in the log: next_cursor, or the id of an event of the stream" example:"1795348803120-0"`
	MeetingID string   `query:"meeting_id" maxLength:"64" doc:"Only those of one meeting"`
	Type      []string `query:"type" nullable:"false" maxItems:"64" pattern:"^([a-z_]+(\\.[a-z_]+)*(\\.\\*)?|\\*)$" doc:"Only those of these types, or prefixes such as participant.*, with commas between them" example:"session.*,recording.available"`
}

// Resolve refuses what is no type of any event: nothing would ever come.
func (f *EventFilter) Resolve(huma.Context) []error {
	for _, pattern := range f.Type {
		if !slices.ContainsFunc(meeting.EventTypes, func(t meeting.EventType) bool { return t.IsOneOf([]string{pattern}) }) {
			return []error{&huma.ErrorDetail{Location: "query.type", Message: "no event has such a type"}}
		}
	}
	return nil
}

func (v *v1) registerEvents() {
	show(v, operation(ScopeEventsRead, http.StatusOK, "list-events", "GET /v1/events",
		"Read the event log, oldest first; it reaches back a week"), v.listEvents)
	stream := operation(ScopeEventsRead, http.StatusOK, "stream-events", "GET "+streamPath,
		"Follow the event log as server-sent events. The id of each is its place in the log; without one it begins now")
	stream.Responses = map[string]*huma.Response{"200": {
		Description: "The events, until either side ends it",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	handle(v, stream, v.streamEvents)
}

func (v *v1) listEvents(ctx context.Context, in *struct {
	EventFilter
	From  Instant `query:"from" doc:"Only those from then on"`
	To    Instant `query:"to" doc:"Only those until before then"`
	Limit int     `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most events to return"`
}) (Events, error) {
	// The place of what was just before.
	from := strconv.FormatInt(max(in.From.UnixMilli()-1, 0), 10) + "-0"
	if in.From.IsZero() || comparePlaces(in.After, from) > 0 {
		from = cmp.Or(in.After, "0-0")
	}
	found := Events{Data: []Event{}, NextCursor: from}
	for range scanPages {
		entries, err := v.Store.Events(ctx, found.NextCursor, eventPage)
		if err != nil {
			return Events{}, err
		}
		for _, e := range entries {
			if len(found.Data) == in.Limit {
				break
			}
			if !in.To.IsZero() && !placeTime(e.ID).Before(in.To.Time) {
				return found, nil
			}
			found.NextCursor = e.ID
			if ev := readEvent(v.Log, e); ev.isFor(in.EventFilter) && !placeTime(e.ID).Before(in.From.Truncate(time.Millisecond)) {
				found.Data = append(found.Data, Event(ev.text))
			}
		}
		found.HasMore = len(entries) > 0 && (entries[len(entries)-1].ID != found.NextCursor || len(entries) == eventPage)
		if !found.HasMore || len(found.Data) == in.Limit {
			break
		}
	}
	return found, nil
}

func (v *v1) streamEvents(ctx context.Context, in *struct {
	EventFilter
	LastEventID string `header:"Last-Event-ID" maxLength:"40" pattern:"^([0-9]{1,19}(-[0-9]{1,19})?)?$" doc:"Go on after this one; browsers send it by themselves"`
}) (*huma.StreamResponse, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, listenTimeout, errors.New("api: the event log is not followed"))
	defer cancel()
	l, err := v.Feed.listen(waiting)
	if err != nil {
		return nil, err
	}
	s := &stream{server: v.server, listener: l, filter: in.EventFilter, place: cmp.Or(in.LastEventID, in.After)}
	return &huma.StreamResponse{Body: s.run}, nil
}

// stream is one client that follows the log.
type stream struct {
	*server
	listener listener
	filter   EventFilter
	place    string // of the last event that was looked at

	w  http.ResponseWriter
	rc *http.ResponseController
}

// run sends events until the client goes, is too slow, or the feed ends.
func (s *stream) run(hc huma.Context) {
	defer s.Feed.letGo(s.listener)
	ctx := hc.Context()
	_, s.w = humago.Unwrap(hc)
	s.rc = http.NewResponseController(s.w)
	hc.SetHeader("Content-Type", "text/event-stream")
	hc.SetHeader("X-Accel-Buffering", "no") // nginx would hold events back
	hc.SetStatus(http.StatusOK)
	// The server's deadlines are for requests that end. Where there are none to
	// lift, as in tests, there is nothing to do.
	_ = s.rc.SetReadDeadline(time.Time{})
	if s.send("retry: %d\n\n", streamRetry.Milliseconds()) != nil || s.catchUp(ctx) != nil {
		return
	}
	heartbeat := time.NewTicker(StreamHeartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case ev, ok := <-s.listener:
			if !ok || s.sendEvent(ev) != nil {
				return
			}
		case <-heartbeat.C:
			if !s.keys.holds(ctx, infoOf(ctx).caller) || s.beat() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// catchUp sends what the client has missed. What joins the log meanwhile waits
// with the listener, some of it twice.
func (s *stream) catchUp(ctx context.Context) error {
	for s.place != "" {
		entries, err := s.Store.Events(ctx, s.place, eventPage)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := s.sendEvent(readEvent(s.Log, e)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendEvent sends an event unless it was sent before or is not asked for.
func (s *stream) sendEvent(ev event) error {
	if s.place != "" && comparePlaces(ev.place, s.place) <= 0 {
		return nil
	}
	s.place = ev.place
	if !ev.isFor(s.filter) {
		return nil
	}
	// JSON of encoding/json has no line breaks, which would end the data.
	return s.send("id: %s\nevent: %s\ndata: %s\n\n", ev.place, ev.about.Type, bytes.TrimSpace(ev.text))
}

// beat shows that the stream is alive. An id without data moves the place that
// the client comes back to over what was not for it.
func (s *stream) beat() error {
	if s.place == "" {
		return s.send(": alive\n\n")
	}
	return s.send(": alive\nid: %s\n\n", s.place)
}

func (s *stream) send(format string, args ...any) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil {
		return err
	}
	return s.rc.Flush()
}

// placeTime returns when an event joined the log, by its place there.
func placeTime(place string) time.Time {
	ms, _, _ := strings.Cut(place, "-")
	n, _ := strconv.ParseInt(ms, 10, 64) // the store has given it
	return time.UnixMilli(n)
}

// comparePlaces orders two places in the log by their two numbers, which have
// no leading zeros. The second may be missing: 0.
func comparePlaces(a, b string) int {
	number := func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	a1, a2, _ := strings.Cut(a, "-")
	b1, b2, _ := strings.Cut(b, "-")
	return cmp.Or(number(a1, b1), number(cmp.Or(a2, "0"), cmp.Or(b2, "0")))
}
