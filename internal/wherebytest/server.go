// Package wherebytest is a stand-in for Whereby, which tests cannot run: a server
// with the part of its REST API and of its webhooks that docs.whereby.com
// describes, by the rules that are published there. It knows its meetings by
// numbers, begins sessions with the second person, answers 401, 403 and 404
// without a body, pages its lists, signs webhooks, and repeats those that are
// answered 5xx twice.
package wherebytest

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Keys of the stand-in.
const (
	Key           = "whereby-key-0123456789"
	WebhookSecret = "whereby-webhook-secret"
)

// Trouble is what a server does in place of answering.
type Trouble string

// Troubles.
const (
	None    Trouble = ""
	Down    Trouble = "down"    // it breaks the connection
	Failing Trouble = "failing" // 500
	Page    Trouble = "page"    // HTML with 200, as of a proxy
	Moved   Trouble = "moved"   // a redirect
	Limited Trouble = "limited" // 429
	Slow    Trouble = "slow"    // it answers when the client has given up, or Whereby does
)

// Server is a stand-in for Whereby. Safe for concurrent use.
type Server struct {
	URL string // of its API

	// Delay is how long each answer takes; set it before the first request.
	Delay time.Duration

	http     *httptest.Server
	hook     string // where webhooks go
	sending  sync.WaitGroup
	queue    chan Event // to be sent
	mu       sync.Mutex
	trouble  Trouble
	key      string
	calls    []string // "GET /meetings"
	meetings []*Meeting
	deleted  map[string]bool
	recorded []Recording
	events   int
	closed   chan struct{}
}

// Meeting is a meeting at the stand-in, as it shows it.
type Meeting struct {
	MeetingID   string    `json:"meetingId"`
	RoomName    string    `json:"roomName"`
	RoomURL     string    `json:"roomUrl"`
	StartDate   string    `json:"startDate"`
	EndDate     string    `json:"endDate"`
	HostRoomURL string    `json:"hostRoomUrl,omitempty"`
	Body        []byte    `json:"-"` // that it was made with
	Sessions    []Session `json:"-"`
	in          []string  // names
}

// Session is a session, as it shows it.
type Session struct {
	RoomSessionID string  `json:"roomSessionId"`
	RoomName      string  `json:"roomName"`
	StartedAt     string  `json:"startedAt"`
	EndedAt       *string `json:"endedAt"`
	Minutes       int     `json:"totalParticipantMinutes"`
}

// Recording is a recording, as it shows it.
type Recording struct {
	RecordingID   string `json:"recordingId"`
	RoomSessionID string `json:"roomSessionId"`
	RoomName      string `json:"roomName"`
	Filename      string `json:"filename"`
	StartDate     string `json:"startDate"`
	EndDate       string `json:"endDate"`
	Size          int    `json:"sizeInMegaBytes"`
}

// Start returns a server that sends its webhooks to a URL; empty: to nobody.
func Start(hook string) *Server {
	s := &Server{hook: hook, key: Key, deleted: map[string]bool{}, closed: make(chan struct{}), queue: make(chan Event, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/meetings", s.create)
	mux.HandleFunc("GET /v1/meetings", func(w http.ResponseWriter, r *http.Request) { list(w, r, 50, s.all()) })
	mux.HandleFunc("GET /v1/meetings/{id}", func(w http.ResponseWriter, r *http.Request) { one(w, s.find(r.PathValue("id"))) })
	mux.HandleFunc("DELETE /v1/meetings/{id}", s.delete)
	mux.HandleFunc("GET /v1/insights/room-sessions", func(w http.ResponseWriter, r *http.Request) { list(w, r, 10, s.sessions(r)) })
	mux.HandleFunc("GET /v1/recordings", func(w http.ResponseWriter, r *http.Request) { list(w, r, 50, s.recordings()) })
	mux.HandleFunc("POST /v1/recordings/bulk-delete", s.done)
	mux.HandleFunc("GET /v1/transcriptions", func(w http.ResponseWriter, r *http.Request) { list(w, r, 50, []struct{}{{}}) })
	mux.HandleFunc("PUT /v1/rooms/{name}/theme/{part}", s.done)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	s.http = httptest.NewServer(s.front(mux))
	s.URL = s.http.URL + "/v1"
	s.sending.Go(s.deliver)
	return s
}

// Close ends the server and the webhooks that are on their way.
func (s *Server) Close() {
	close(s.closed)
	s.http.CloseClientConnections()
	s.http.Close()
	s.sending.Wait()
}

// SetTrouble has the server be in trouble from now on, or no longer.
func (s *Server) SetTrouble(t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = t
}

// SetHook has webhooks sent to another URL from now on.
func (s *Server) SetHook(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = url
}

// SetKey changes the key that the server takes.
func (s *Server) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Calls returns the requests that have come since it was called last, in order.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// front is what stands before the API.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls = append(s.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1"))
		trouble, key := s.trouble, s.key
		s.mu.Unlock()
		if s.Delay > 0 {
			time.Sleep(s.Delay)
		}
		switch trouble {
		case Down:
			panic(http.ErrAbortHandler)
		case Slow:
			select {
			case <-r.Context().Done():
			case <-s.closed:
			}
			panic(http.ErrAbortHandler)
		case Failing:
			w.WriteHeader(http.StatusInternalServerError)
		case Page:
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>We are down for maintenance.</html>"))
		case Moved:
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusMovedPermanently)
		case Limited:
			w.Header().Set("Retry-After", "39")
			w.Header().Set("X-RateLimit-Limit", "1000")
			answer(w, http.StatusTooManyRequests, json.RawMessage(`{"error":"Rate limit active for throttle key: organization:1","data":{"msLeft":38689}}`))
		case None:
			if r.Header.Get("Authorization") != "Bearer "+key {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body)
}

func (s *Server) done(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// one answers with what there is.
func one[T any](w http.ResponseWriter, v *T) {
	if v == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, v)
}

// list answers with a page; the cursor is the number of the next element in hex.
func list[T any](w http.ResponseWriter, r *http.Request, usual int, all []T) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	limit = cmp.Or(limit, usual)
	first, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("cursor"), "0"), 16, 32)
	if err != nil || limit > 100 {
		answer(w, http.StatusBadRequest, map[string]string{"error": "Bad Request"})
		return
	}
	first = min(first, int64(len(all)))
	last := min(int(first)+limit, len(all))
	body := map[string]any{"cursor": nil, "results": all[first:last]}
	if last < len(all) {
		body["cursor"] = strconv.FormatInt(int64(last), 16)
	}
	answer(w, http.StatusOK, body)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		EndDate, RoomNamePrefix string
		Fields                  []string
	}
	raw := json.RawMessage{}
	if json.NewDecoder(r.Body).Decode(&raw) != nil || json.Unmarshal(raw, &body) != nil || body.EndDate == "" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "Bad Request", "message": "endDate is required"})
		return
	}
	end, err := time.Parse(time.RFC3339, body.EndDate)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "Bad Request", "message": "endDate"})
		return
	}
	s.mu.Lock()
	name := "/" + strings.ToLower(body.RoomNamePrefix) + strings.ToLower(rand.Text())
	m := &Meeting{
		MeetingID: strconv.Itoa(134 + len(s.meetings)), RoomName: name, RoomURL: "https://acme.whereby.com" + name,
		StartDate: stamp(time.Now()), EndDate: stamp(end), Body: raw,
	}
	s.meetings = append(s.meetings, m)
	s.mu.Unlock()
	shown := *m
	if slices.Contains(body.Fields, "hostRoomUrl") {
		shown.HostRoomURL = m.RoomURL + "?roomKey=" + rand.Text()
	}
	answer(w, http.StatusCreated, shown)
}

// all returns the meetings, the newest first.
func (s *Server) all() []*Meeting {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(s.meetings), func(m *Meeting) bool { return s.deleted[m.MeetingID] })
	slices.Reverse(all)
	return all
}

func (s *Server) find(id string) *Meeting {
	for _, m := range s.all() {
		if m.MeetingID == id {
			return m
		}
	}
	return nil
}

// Meeting returns a meeting; it fails for one that there never was.
func (s *Server) Meeting(id string) Meeting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.meetings[s.index(id)]
}

// index returns where a meeting is; s.mu is held.
func (s *Server) index(id string) int {
	return slices.IndexFunc(s.meetings, func(m *Meeting) bool { return m.MeetingID == id })
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.deleted[r.PathValue("id")] = true
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// sessions returns those that the query asks for, the newest first.
func (s *Server) sessions(r *http.Request) (all []Session) {
	room := r.URL.Query().Get("roomName")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.meetings {
		if room == "" || strings.Trim(room, "/") == strings.Trim(m.RoomName, "/") {
			all = append(all, m.Sessions...)
		}
	}
	slices.SortStableFunc(all, func(a, b Session) int { return strings.Compare(b.StartedAt, a.StartedAt) })
	return append([]Session{}, all...)
}

func (s *Server) recordings() []Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]Recording{}, s.recorded...)
	slices.Reverse(all)
	return all
}

// newID returns an id as Whereby makes them.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
