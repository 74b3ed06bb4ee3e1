package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// v1 has the operations of the meeting API.
type v1 struct {
	commands   Commands
	rooms      Rooms
	reads      Reads
	links      LinkStore
	recordings RecordingReads
	recorders  Recorders
	files      *files
	events     EventLog
	feed       *Feed // nil: nobody can follow the log
	keys       *keyring
	tickets    *tickets // nil: usher makes no tokens
	webhooks   Webhooks
	log        *slog.Logger

	publicURL string // without a slash at its end
}

// spec is what registering the operations has made known about them.
type spec struct {
	json   []byte // the OpenAPI 3.1 document
	routes []route
}

type route struct {
	path, method string
	status       int // of the usual answer
}

// registerV1 adds the operations to the adapter's mux.
func registerV1(adapter huma.Adapter, v *v1, version string) (spec, error) {
	cfg := huma.DefaultConfig("usher", version)
	cfg.Info.Description = "Meetings on Jitsi: make them, see who is in, end them. " +
		"Times are RFC 3339 in UTC with milliseconds."
	cfg.CreateHooks = nil // they would add a $schema field to every answer
	// The routes of our own for these would compute them unguarded while
	// serving; the docs page loads scripts from elsewhere.
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	jsonFormat := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: decodeJSON}
	cfg.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	// Answers may get more fields without breaking anybody; bodies that come in
	// say otherwise for themselves.
	cfg.AllowAdditionalPropertiesByDefault = true
	// A filter with a typing error must not list everything.
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{asProblem}
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[Problem]())
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		securityScheme: {Type: "http", Scheme: "bearer", Description: "An API key with the scope that is named"},
	}

	var s spec
	cfg.OnAddOperation = append(cfg.OnAddOperation, func(_ *huma.OpenAPI, op *huma.Operation) {
		s.routes = append(s.routes, route{op.Path, op.Method, op.DefaultStatus})
	})
	a := huma.NewAPI(cfg, adapter)
	a.UseMiddleware(checkScope)
	v.registerMeetings(a)
	v.registerSessions(a)
	v.registerInsights(a)
	v.registerRecordings(a)
	v.registerPeople(a)
	v.registerTokens(a)
	v.registerLinks(a)
	v.registerEvents(a)
	v.registerWebhooks(a)
	v.registerAPIKeys(a)
	describe(cfg.Components.Schemas)
	err := illustrate(a.OpenAPI())
	if err != nil {
		return spec{}, err
	}
	if s.json, err = json.Marshal(a.OpenAPI()); err != nil {
		return spec{}, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return s, nil
}

// operation returns what all operations have in common.
func operation(scope Scope, id, method, path, summary string, errs ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		DefaultStatus: http.StatusOK,
		Security:      needs(scope),
		MaxBodyBytes:  MaxBody,
		// The server's own limit: a shorter one would also end the handler.
		BodyReadTimeout: ReadTimeout,
		Errors: append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
			http.StatusTooManyRequests, http.StatusServiceUnavailable),
	}
	if method == http.MethodPost {
		op.Parameters = []*huma.Param{idempotencyKeyParam}
	}
	return op
}

// fail makes the error of a command or a read one for the outside.
func (v *v1) fail(ctx context.Context, err error) error {
	var exists *meeting.ExistsError
	var held *meeting.RoomHeldError
	var invalid *meeting.InvalidError
	var ready *Problem
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &exists):
		p := newProblem(http.StatusConflict, "a meeting with this room or external id exists")
		p.MeetingID = exists.ID
		return p
	case errors.As(err, &held):
		p := newProblem(http.StatusConflict, "tokens of the room's last meeting may open it until "+
			held.Until.UTC().Format(time.RFC3339)+": choose another room, or send reuse_room to have it all the same")
		p.Code = "room_held"
		return p
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, "")
		p.Errors = []FieldError{{Pointer: "/" + invalid.Field, Detail: invalid.Detail}}
		return p
	case errors.Is(err, meeting.ErrNotFound):
		return newProblem(http.StatusNotFound, "")
	case errors.Is(err, meeting.ErrEnded):
		p := newProblem(http.StatusConflict, "the meeting is over")
		p.Code = "ended"
		return p
	case errors.Is(err, meeting.ErrVersion):
		return newProblem(http.StatusPreconditionFailed, "the meeting has changed since: read it again")
	case errors.Is(err, meeting.ErrBusy):
		p := newProblem(http.StatusServiceUnavailable, "too much waits for this meeting already, try again")
		p.Code = "busy"
		return p
	case errors.Is(err, meeting.ErrUnavailable), errors.Is(err, meeting.ErrFenced), ctx.Err() != nil:
		return newProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again")
	}
	v.log.Error("request failed", "request_id", requestID(ctx), "err", err)
	return newProblem(http.StatusInternalServerError, "")
}

// page is a part of a list. It is an output of huma's.
type page[T any] struct{ Body Page[T] }

// Page is a part of a list, newest first.
type Page[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Of the next page; null on the last one"`
}

// newPage shows the elements with info.
func newPage[E, T any](list []E, next string, info func(E) T) *page[T] {
	p := &page[T]{Body: Page[T]{Data: make([]T, 0, len(list))}}
	for _, e := range list {
		p.Body.Data = append(p.Body.Data, info(e))
	}
	if next != "" {
		p.Body.NextCursor = &next
	}
	return p
}

// Paging is the part of an input that walks through a list. Exported, as ByID
// is, because huma sees embedded fields of exported types only.
type Paging struct {
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most elements on a page"`
	// The pattern keeps nonsense from the store; what fits it is the store's.
	Cursor string `query:"cursor" maxLength:"200" pattern:"^[A-Za-z0-9_=.:-]+$" doc:"next_cursor of the page before"`
}

// ByID is the input of operations on one thing.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

// schemaName calls MeetingInfo Meeting: that it is the outside's view of one
// goes without saying outside.
func schemaName(t reflect.Type, hint string) string {
	return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Info")
}

// describe completes what huma does not see by itself: that [meeting.Time] is
// a time, and that a pointer to a struct may be null.
func describe(schemas huma.Registry) {
	for name, s := range schemas.Map() {
		t := schemas.TypeFromRef("#/components/schemas/" + name)
		for i := range t.NumField() {
			f := t.Field(i)
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			p := s.Properties[field]
			switch {
			case p == nil:
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
