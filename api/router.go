package api

import (
	"net/http"
	"slices"
	"strings"
)

// Platform is an API that is compatible with another product's. It has its own
// paths and shapes; API keys, scopes and limits are those of the native one.
type Platform struct {
	Prefix string // of its paths, lower case, such as /whereby
	// Title and Description are of its OpenAPI document.
	Title, Description string
	Routes             []Route
	// Hooks are routes that find out by themselves who asks, and need no API key.
	// Their patterns have no wildcards, their Scope is unheeded.
	Hooks []Route
	// MaxBody is the largest request body in bytes.
	MaxBody int64
	// WriteProblem answers with an error, also where no route was reached.
	WriteProblem func(w http.ResponseWriter, r *http.Request, p *Problem)
	Failure      any // of the type of what that writes
}

// Route is one route of a [Platform].
type Route struct {
	Pattern string // of net/http, the path below the prefix, words in lower case
	Scope   Scope
	Status  int // of the usual answer
	Described
	// Serve answers, or returns an error before it has begun to.
	Serve func(w http.ResponseWriter, r *http.Request) error
}

// owns reports whether a path is the platform's, whatever its case.
func (p *Platform) owns(clean string) bool {
	n := len(p.Prefix)
	return len(clean) >= n && strings.EqualFold(clean[:n], p.Prefix) && (len(clean) == n || clean[n] == '/')
}

// isHook reports whether a path is that of a hook, after [Platform.tidy].
func (p *Platform) isHook(clean string) bool {
	return slices.ContainsFunc(p.Hooks, func(r Route) bool {
		_, path, _ := strings.Cut(r.Pattern, " ")
		return clean == p.Prefix+path
	})
}

// tidy returns the path with the words of the platform's routes in lower case:
// clients of other products are not strict about it.
func (p *Platform) tidy(clean string) string {
	words := strings.Split(clean, "/")
	for i, word := range words {
		lower := strings.ToLower(word)
		if lower == p.Prefix[1:] || slices.ContainsFunc(p.Routes, func(r Route) bool {
			_, path, _ := strings.Cut(r.Pattern, " ")
			return slices.Contains(strings.Split(path, "/"), lower)
		}) {
			words[i] = lower
		}
	}
	return strings.Join(words, "/")
}

// handler returns the handler that answers what serve returns as an error.
func (s *server) handler(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			writeProblem(w, r, problemOf(r.Context(), s.Log, err))
		}
	}
}

// handle adds a route; status is that of its usual answer.
func (s *server) handle(pattern string, status int, serve func(http.ResponseWriter, *http.Request) error) {
	method, path, _ := strings.Cut(pattern, " ")
	s.expect(path, method, status)
	s.mux.HandleFunc(pattern, s.handler(serve))
}

func (s *server) handlePlatform(p Platform) {
	s.handleDocument("GET "+p.documentPath(), func() ([]byte, error) { return p.document(s.Version) })
	for _, route := range p.Routes {
		method, path, _ := strings.Cut(route.Pattern, " ")
		s.handle(method+" "+p.Prefix+path, route.Status, func(w http.ResponseWriter, r *http.Request) error {
			if err := infoOf(r.Context()).caller.needs(route.Scope); err != nil {
				return err
			}
			return route.Serve(w, r)
		})
	}
	for _, hook := range p.Hooks {
		method, path, _ := strings.Cut(hook.Pattern, " ")
		s.handle(method+" "+p.Prefix+path, hook.Status, hook.Serve)
	}
}

// noRoute is the detail of a 404 where a path is not of the API at all.
const noRoute = "there is nothing at this path; /openapi.json lists what there is"

// route is the mux, with answers in the form of the API where the mux would answer
// in plain text that there is no route, or none for the method.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	refusal := &bufferedAnswer{Headers: w.Header()} // to have its status, and Allow
	h.ServeHTTP(refusal, r)
	p := NewProblem(refusal.Status, "")
	if info := infoOf(r.Context()); info.platform == nil && refusal.Status == http.StatusNotFound {
		p.Detail = noRoute
	} else if info.platform == nil {
		p.Detail = "this path takes " + w.Header().Get("Allow")
	}
	writeProblem(w, r, p)
}
