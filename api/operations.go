package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"usher/meeting"
)

// v1 has the operations of the native API.
type v1 struct {
	*server

	api huma.API // while they are registered
	tag string   // of those that are being registered
}

// register adds the operations to the mux, and the OpenAPI 3.1 document of them.
func (v *v1) register() error {
	cfg := huma.DefaultConfig("usher", v.Version)
	cfg.Info.Description = "Meetings on Jitsi: make them, see who is in, end them. " +
		"Times are RFC 3339 in UTC with milliseconds."
	cfg.Info.Contact, cfg.Info.License, cfg.Servers = contact, license, servers
	cfg.CreateHooks = nil // they would add a $schema field to every answer
	// The routes of our own for these would compute them without a key while
	// serving; the docs page loads scripts from elsewhere.
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	jsonFormat := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: DecodeJSON}
	cfg.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	// Answers may get more fields without breaking anybody; bodies that come in
	// say otherwise for themselves.
	cfg.AllowAdditionalPropertiesByDefault = true
	// A filter with a typing error must not list everything.
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{asProblem}
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[Problem]())
	cfg.Components.SecuritySchemes = securitySchemes
	cfg.OnAddOperation = append(cfg.OnAddOperation, func(_ *huma.OpenAPI, op *huma.Operation) {
		v.expect(op.Path, op.Method, op.DefaultStatus)
	})
	v.api = huma.NewAPI(cfg, humago.NewAdapter(v.mux, ""))
	v.api.UseMiddleware(checkScope, checkQuery)
	for _, part := range []struct {
		tag, about string
		register   func()
	}{
		{"meetings", "Meetings: made, changed, ended", v.registerMeetings},
		{"people", "Who is in, and who was", v.registerPeople},
		{"insights", "What meetings and sessions came to", v.registerInsights},
		{"recordings", "Recordings, their files, and the recorders", v.registerRecordings},
		{"speakers", "Who spoke when", v.registerSpeakers},
		{"ways in", "Tokens and links for people", v.registerTokens},
		{"events", "The event log, read and followed", v.registerEvents},
		{"webhooks", "Endpoints that are sent events, and what came of that", v.registerWebhooks},
		{"keys", "API keys", v.registerAPIKeys},
	} {
		v.tag = part.tag
		v.api.OpenAPI().Tags = append(v.api.OpenAPI().Tags, &huma.Tag{Name: part.tag, Description: part.about})
		part.register()
	}
	describe(cfg.Components.Schemas)
	describeEvents(v.api.OpenAPI())
	if err := addExamples(v.api.OpenAPI()); err != nil {
		return err
	}
	v.handleDocument("GET /openapi.json", func() ([]byte, error) { return json.Marshal(v.api.OpenAPI()) })
	return nil
}

// handleDocument serves an OpenAPI document, which is written when it is first
// asked for: usher starts sooner, and most processes are never asked.
func (s *server) handleDocument(pattern string, write func() ([]byte, error)) {
	document := sync.OnceValues(write)
	s.handle(pattern, http.StatusOK, func(w http.ResponseWriter, _ *http.Request) error {
		text, err := document()
		if err != nil {
			return fmt.Errorf("write the OpenAPI document: %w", err)
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the client is gone
		return nil
	})
}

// What all our documents say of themselves.
var (
	contact         = &huma.Contact{Name: "Whoever runs this usher"}
	license         = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	servers         = []*huma.Server{{URL: "/", Description: "Where this document is"}}
	securitySchemes = map[string]*huma.SecurityScheme{
		securityScheme: {Type: "http", Scheme: "bearer", Description: "An API key with the scope that is named"},
	}
)

// securityScheme names the API key in the OpenAPI document.
const securityScheme = "key"

// operation returns what all operations have in common. status is that of the
// usual answer, errs are those that do not follow from the rest.
func operation(scope Scope, status int, id, route, summary string, errs ...int) huma.Operation {
	method, path, _ := strings.Cut(route, " ")
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status,
		MaxBodyBytes: MaxBody,
		// The server's own limit: a shorter one would also end the handler.
		BodyReadTimeout: ReadTimeout,
		Errors: append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
			http.StatusTooManyRequests, http.StatusServiceUnavailable),
	}
	op.Security = []map[string][]string{{securityScheme: {}}}
	if scope != anyScope {
		op.Security[0][securityScheme] = []string{string(scope)}
	}
	if strings.Contains(path, "{id}") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	if method == http.MethodPost {
		op.Parameters = []*huma.Param{idempotencyKeyParam}
	}
	return op
}

// handle adds an operation. I and O are huma's inputs and outputs.
func handle[I, O any](v *v1, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	if _, hasBody := reflect.TypeFor[I]().FieldByName("Body"); hasBody {
		op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	}
	slices.Sort(op.Errors)
	op.Tags = []string{v.tag}
	summary := op.Summary
	op.Summary, _, _ = strings.Cut(summary, ". ")
	op.Description = summary + ". It takes an API key."
	for _, scope := range op.Security[0][securityScheme] {
		op.Description = summary + ". The API key needs the scope " + scope + "."
	}
	missing := missingIn(op.Path)
	huma.Register(v.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			p := problemOf(ctx, v.Log, err)
			if p.Status == http.StatusNotFound {
				p.Detail = cmp.Or(p.Detail, missing)
			}
			return nil, p
		}
		return out, nil
	})
}

// missingIn says what a 404 of a path means: /v1/meetings/{id}/links/{link} has no
// such meeting, or no such link.
func missingIn(route string) string {
	var things []string
	words := strings.Split(route, "/")
	for i, word := range words {
		if strings.HasPrefix(word, "{") {
			thing := strings.ReplaceAll(strings.TrimSuffix(words[i-1], "s"), "-", " ")
			things = append(things, strings.Replace(thing, "deliverie", "delivery", 1))
		}
	}
	return "there is no such " + strings.Join(things, ", or no such ") + ", or it is not kept any more"
}

type body[T any] struct{ Body T }

// show adds an operation that answers with a body and nothing else.
func show[I, T any](v *v1, op huma.Operation, f func(context.Context, *I) (T, error)) {
	handle(v, op, func(ctx context.Context, in *I) (*body[T], error) {
		t, err := f(ctx, in)
		return &body[T]{t}, err
	})
}

// done adds an operation that answers with 204.
func done[I any](v *v1, op huma.Operation, f func(context.Context, *I) error) {
	handle(v, op, func(ctx context.Context, in *I) (*struct{}, error) { return nil, f(ctx, in) })
}

// checkScope lets only keys with the operation's scope through. An operation
// that names none is for admin: forgetting it opens nothing.
func checkScope(ctx huma.Context, next func(huma.Context)) {
	needed := ScopeAdmin
	for _, scheme := range ctx.Operation().Security {
		if scopes, named := scheme[securityScheme]; named {
			needed = Scope(strings.Join(scopes, "")) // one, or none: [anyScope]
		}
	}
	if err := infoOf(ctx.Context()).caller.needs(needed); err != nil {
		r, w := humago.Unwrap(ctx)
		writeProblem(w, r, problemOf(ctx.Context(), nil, err))
		return
	}
	next(ctx)
}

// checkQuery refuses what would read as if a parameter was not given: an app that
// filters by something which it does not have must not see everything. Without a
// value may be those whose pattern says so, such as the cursor of the first page.
func checkQuery(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	query, err := url.ParseQuery(r.URL.RawQuery)
	mayBeEmpty := func(name string) bool {
		return slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool {
			fits, _ := regexp.MatchString(p.Schema.Pattern, "") // huma has compiled it
			return p.Name == name && p.Schema.Pattern != "" && fits
		})
	}
	p := NewProblem(http.StatusUnprocessableEntity, "")
	if err != nil {
		p.Detail = "the query cannot be read"
	}
	for name, values := range query {
		if slices.Contains(values, "") && !mayBeEmpty(name) || !utf8.ValidString(strings.Join(values, "")) {
			p.Errors = append(p.Errors, fieldError(&huma.ErrorDetail{Location: "query." + name, Message: "has no value, or one that is not UTF-8"}))
		}
	}
	if err != nil || len(p.Errors) > 0 {
		p.Errors = p.Errors[:min(len(p.Errors), maxFieldErrors)]
		writeProblem(w, r, p)
		return
	}
	next(ctx)
}

// Page is a part of a list, newest first.
type Page[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Of the next page; null on the last one"`
}

// pageOf returns a page that shows the elements with info, and err.
func pageOf[E, T any](list []E, next string, err error, info func(E) T) (Page[T], error) {
	p := Page[T]{Data: make([]T, 0, len(list))}
	for _, e := range list {
		p.Data = append(p.Data, info(e))
	}
	if next != "" {
		p.NextCursor = &next
	}
	return p, err
}

// same shows what is as apps see it already.
func same[T any](t T) T { return t }

// newestOf returns a page of a list that is at hand, by descending id.
func newestOf[T any](list []T, p Paging, id func(T) string) (page []T, next string) {
	page = slices.DeleteFunc(list, func(e T) bool { return p.Cursor != "" && id(e) >= p.Cursor })
	slices.SortFunc(page, func(a, b T) int { return strings.Compare(id(b), id(a)) })
	if len(page) > p.Limit {
		page = page[:p.Limit]
		next = id(page[p.Limit-1])
	}
	return page, next
}

// Paging is the part of an input that walks through a list. Exported, as ByID
// is, because huma sees embedded fields of exported types only.
type Paging struct {
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most elements on a page"`
	// The pattern keeps nonsense from the store; what fits it is the store's.
	Cursor string `query:"cursor" maxLength:"200" pattern:"^[A-Za-z0-9_=.:-]*$" doc:"next_cursor of the page before; empty: the first page"`
}

// ByID is the input of operations on one thing.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

// pageByID is the input of operations on one thing and a page of what it has.
type pageByID struct {
	ByID
	Paging
}

// timeOf returns a time as answers have it.
func timeOf(t time.Time) meeting.Time { return meeting.Time{Time: t} }

// schemaName calls MeetingInfo Meeting, because the document shows nothing else of
// one, and webhook.Attempt Delivery.
func schemaName(t reflect.Type, hint string) string {
	return strings.Replace(strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Info"), "Attempt", "Delivery", 1)
}

// describe completes what huma does not see by itself: that [meeting.Time] is
// a time, that a pointer to a struct may be null, and that so may be what need
// not be in a body that comes in. Of a struct there its own tag says so.
func describe(schemas huma.Registry) {
	for name, s := range schemas.Map() {
		t := schemas.TypeFromRef("#/components/schemas/" + name)
		for _, f := range reflect.VisibleFields(t) {
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			p := s.Properties[field]
			switch {
			case p == nil:
			case s.AdditionalProperties == false && !slices.Contains(s.Required, field) && p.Ref == "":
				p.Nullable = true
				if p.Enum != nil {
					p.Enum = append(p.Enum, nil)
				}
			case f.Type == reflect.TypeFor[meeting.Time](), f.Type == reflect.TypeFor[*meeting.Time]():
				p.Format = "date-time"
			case p.Ref != "" && f.Type.Kind() == reflect.Pointer && options == "":
				s.Properties[field] = &huma.Schema{
					AnyOf:       []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
					Description: p.Description,
				}
			}
		}
	}
}
