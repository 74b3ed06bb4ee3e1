package whereby

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher/api"
	"usher/meeting"
)

// What is done where Whereby itself is behind this API. A meeting is where it was
// made: the ids of usher's begin with a word of its own, and all others are
// Whereby's.

// isOurs reports whether an id is one of usher's kind, such as mtg_.
func isOurs(id, kind string) bool { return strings.HasPrefix(id, kind) }

// relay passes a request on as it is.
func (f *facade) relay(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := api.ReadBody(http.MaxBytesReader(w, r.Body, MaxImage))
	if err != nil {
		return nil, err
	}
	return f.relayBody(r, body)
}

func (f *facade) relayBody(r *http.Request, body []byte) (any, error) {
	return asBody(f.upstream.ask(r.Context(), call{r.Method, below(r), r.URL.Query(), r.Header.Get("Content-Type"), body}))
}

// asBody keeps a nil answer from being a body.
func asBody(a *relayed, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a, nil
}

// below returns a request's path below the API's URL.
func below(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, prefix+"/v1") }

// byID serves what is about an id of usher's, and passes on all else.
func (f *facade) byID(kind string, serve handler) handler {
	if f.upstream == nil {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if isOurs(r.PathValue("id"), kind) {
			return serve(w, r)
		}
		return f.relay(w, r)
	}
}

// bySide serves what is about usher's alone, and passes on all else; what is about
// both counts as Whereby's.
func (f *facade) bySide(serve handler) handler {
	if f.upstream == nil {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		ours, _, err := f.sides(r)
		switch {
		case err != nil:
			return nil, err
		case ours:
			return serve(w, r)
		}
		return f.relay(w, r)
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
		ours = isOurs(id, "ses_")
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
	u := f.upstream
	raw, err := api.ReadBody(http.MaxBytesReader(w, r.Body, api.MaxBody))
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	var body struct {
		RoomNamePrefix string
		Recording      struct{ Type string }
	}
	_ = json.Unmarshal(raw, &body) // whoever makes the meeting says what is wrong with it
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
	u := f.upstream
	a, err := u.ask(r.Context(), call{r.Method, below(r), r.URL.Query(), r.Header.Get("Content-Type"), raw})
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
	raw, err := api.ReadBody(http.MaxBytesReader(w, r.Body, api.MaxBody))
	if err != nil {
		return nil, err
	}
	var body struct {
		IDs []string `json:"recordingIds"`
	}
	_ = json.Unmarshal(raw, &body) // Whereby says what is wrong
	ours := func(id string) bool { return isOurs(id, "rec_") }
	if !slices.ContainsFunc(body.IDs, ours) {
		return f.relayBody(r, raw)
	}
	here, there := body.IDs, slices.DeleteFunc(slices.Clone(body.IDs), ours)
	if len(there) > 0 {
		text, _ := json.Marshal(map[string][]string{"recordingIds": there})
		a, err := f.upstream.ask(r.Context(), call{r.Method, below(r), nil, "application/json", text})
		if err != nil || !a.ok() {
			return asBody(a, err)
		}
		here = slices.DeleteFunc(here, func(id string) bool { return !ours(id) })
	}
	raw, _ = json.Marshal(map[string][]string{"recordingIds": here})
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return f.deleteRecordings(w, r)
}
