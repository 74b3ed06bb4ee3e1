package whereby

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
)

// What is done where Whereby itself is behind this API. A meeting is where it was
// made: the ids of usher's begin with a word of its own, and all others are
// Whereby's.

// relay passes a request on as it is.
func (f *facade) relay(_ http.ResponseWriter, r *http.Request) (any, error) {
	body, err := api.ReadBody(r.Body)
	if err != nil {
		return nil, err
	}
	return asBody(f.Upstream.ask(r.Context(), callOf(r, body)))
}

// callOf returns a request to Whereby as the one that came here, with this body.
func callOf(r *http.Request, body []byte) call {
	path := strings.TrimPrefix(r.URL.Path, prefix+"/v1") // below the API's URL
	return call{r.Method, path, r.URL.Query(), r.Header.Get("Content-Type"), body}
}

// asBody keeps a nil answer from being a body.
func asBody(a *relayed, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a, nil
}

// peek reads what it can of a body, which is then there to be read again: whoever
// serves the request says what is wrong with it.
func peek(w http.ResponseWriter, r *http.Request, into any) (raw []byte, err error) {
	raw, err = api.ReadBody(http.MaxBytesReader(w, r.Body, api.MaxBody))
	_ = json.Unmarshal(raw, into)
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return raw, err
}

// byID serves what is about an id of usher's kind, such as mtg_, and passes on all
// else.
func (f *facade) byID(kind string, serve handler) handler {
	if f.Upstream == nil {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if strings.HasPrefix(r.PathValue("id"), kind) {
			return serve(w, r)
		}
		return f.relay(w, r)
	}
}

// bySide serves what is about usher's alone, and passes on all else; what is about
// both counts as Whereby's.
func (f *facade) bySide(serve handler) handler { return f.split(serve, f.relay) }

// split serves what is about usher's alone, passes on what is about Whereby's alone,
// and leaves the rest to both.
func (f *facade) split(serve, both handler) handler {
	if f.Upstream == nil {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		ours, theirs, err := f.sides(r)
		switch {
		case err != nil:
			return nil, err
		case ours:
			return serve(w, r)
		case theirs:
			return f.relay(w, r)
		}
		return both(w, r)
	}
}

// sides reports whether a request is about something here alone, or at Whereby
// alone: by the session or by the room that its query or its path names. A room
// that usher does not know is at Whereby.
func (f *facade) sides(r *http.Request) (ours, theirs bool, err error) {
	if f.MakesTokens() != nil {
		return false, true, nil // no meeting of this API was ever made here
	}
	if id := r.URL.Query().Get("roomSessionId"); id != "" {
		ours = strings.HasPrefix(id, "ses_")
		return ours, !ours, nil
	}
	room := roomOf(r)
	if name := r.PathValue("name"); name != "" {
		room = bareRoom(name)
	}
	if room == "" {
		return false, r.URL.Query().Get("externalId") != "", nil
	}
	list, _, err := f.List(r.Context(), meeting.Filter{Room: room}, "", 1)
	return len(list) > 0, len(list) == 0, err
}

// placeMeeting makes a meeting here or at Whereby. It decides where, once and for
// all.
func (f *facade) placeMeeting(w http.ResponseWriter, r *http.Request) (any, error) {
	u := f.Upstream
	var body struct {
		RoomNamePrefix string
		Recording      struct{ Type string }
	}
	raw, err := peek(w, r, &body)
	if err != nil {
		return nil, err
	}
	wanted := wish{
		prefix: body.RoomNamePrefix, records: body.Recording.Type == "cloud",
		site: u.State(r.Context()), down: u.breaker.down(time.Now()),
	}
	if u.rules.shared(wanted.prefix) { // others take no turn
		wanted.turn = turnOf(u.made.Add(1) - 1)
	}
	p := u.rules.place(wanted)
	if p.at == atWhereby {
		a, err := f.makeThere(r, raw)
		failed := err != nil || a.status == http.StatusTooManyRequests
		if !failed || p.instead == "" {
			if err == nil && a.ok() {
				u.placed(w, p)
			}
			return asBody(a, err)
		}
		p = placement{at: atUsher, reason: p.instead}
	}
	shown, err := f.createMeeting(w, r)
	if err == nil {
		u.placed(w, p)
	}
	return shown, err
}

// placed says where a meeting was made.
func (u *Upstream) placed(w http.ResponseWriter, p placement) {
	w.Header().Set(MadeAt, p.at+"; reason="+p.reason)
	u.metrics.made.WithLabelValues(p.at, p.reason).Inc()
}

// makeThere makes a meeting at Whereby, and notes that it is there.
func (f *facade) makeThere(r *http.Request, raw []byte) (*relayed, error) {
	u := f.Upstream
	a, err := u.ask(r.Context(), callOf(r, raw))
	if err != nil || !a.ok() {
		return a, err
	}
	var made struct {
		MeetingID, RoomName string
		EndDate             time.Time
	}
	if err := json.Unmarshal(a.body, &made); err != nil || made.MeetingID == "" {
		u.Log.Warn("Whereby's answer names no meeting")
		return a, nil
	}
	// The client may be gone, but the meeting is there. Without the note it can be
	// used all the same: what usher does not know is passed on.
	if err := u.Meetings.PutUpstream(context.WithoutCancel(r.Context()), made.MeetingID, bareRoom(made.RoomName), made.EndDate.Add(endGrace)); err != nil {
		u.Log.Warn("cannot note a meeting at Whereby", "meeting_id", made.MeetingID, "err", err)
	}
	return a, nil
}

// deleteBoth deletes recordings here and at Whereby.
func (f *facade) deleteBoth(w http.ResponseWriter, r *http.Request) (any, error) {
	var body bulkBody
	if _, err := peek(w, r, &body); err != nil {
		return nil, err
	}
	var here, there []string
	for _, id := range body.IDs {
		if strings.HasPrefix(id, "rec_") {
			here = append(here, id)
		} else {
			there = append(there, id)
		}
	}
	if len(here) == 0 {
		return f.relay(w, r)
	}
	if len(there) > 0 {
		text, _ := json.Marshal(bulkBody{there})
		a, err := f.Upstream.ask(r.Context(), callOf(r, text))
		if err != nil || !a.ok() {
			return asBody(a, err)
		}
	}
	return nil, f.removeRecordings(r.Context(), here)
}
