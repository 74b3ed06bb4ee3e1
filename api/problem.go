package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// maxFieldErrors keeps a body of a thousand wrong fields from being
	// answered with more than it sent.
	maxFieldErrors = 20
	// maxFieldName, in bytes, is how much of a field's name is said back.
	maxFieldName = 200
	// retryAfter is long enough for a restarted store, and short against the
	// lease after which another process takes over.
	retryAfter = 5 * time.Second
)

// Problem is every error of the API (RFC 9457), sent as
// application/problem+json. It never repeats a value that was sent.
type Problem struct {
	Title     string       `json:"title" doc:"The status in words"`
	Status    int          `json:"status"`
	Code      string       `json:"code" doc:"What programs decide on" example:"not_found"`
	Detail    string       `json:"detail,omitempty" doc:"What people read"`
	RequestID string       `json:"request_id" doc:"Also in the X-Request-Id header, and in usher's log"`
	MeetingID string       `json:"meeting_id,omitempty" doc:"With code exists: the meeting that is there already"`
	Errors    []FieldError `json:"errors,omitempty" nullable:"false" doc:"What is wrong with which field"`
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty" doc:"A field of the body (RFC 6901)" example:"/end_at"`
	Parameter string `json:"parameter,omitempty" doc:"A parameter of the path or query" example:"limit"`
	Detail    string `json:"detail"`
}

// codes are the words for statuses that say enough by themselves.
var codes = map[int]string{
	http.StatusBadRequest:            "bad_request",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not_found",
	http.StatusMethodNotAllowed:      "method_not_allowed",
	http.StatusNotAcceptable:         "not_acceptable",
	http.StatusRequestTimeout:        "timeout",
	http.StatusConflict:              "exists",
	http.StatusPreconditionFailed:    "changed",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported_media_type",
	http.StatusUnprocessableEntity:   "invalid",
	http.StatusTooManyRequests:       "rate_limited",
	http.StatusServiceUnavailable:    "unavailable",
	http.StatusInternalServerError:   "internal",
	http.StatusNotImplemented:        "not_configured",
}

func newProblem(status int, detail string) *Problem {
	code, known := codes[status]
	if !known {
		code = "error"
	}
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Error returns the detail, or else the title.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// GetStatus tells huma the status to answer with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type to answer with (RFC 9457 §6.1).
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// GetHeaders tells huma the headers to answer with.
func (p *Problem) GetHeaders() http.Header {
	if p.Status != http.StatusServiceUnavailable {
		return nil
	}
	return http.Header{"Retry-After": {strconv.Itoa(int(retryAfter / time.Second))}}
}

// writeProblem answers a request that no operation of the API handles.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = requestID(r.Context())
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client's loss
}

// asProblem makes whatever huma is about to send as an error a [Problem].
func asProblem(ctx huma.Context, _ string, body any) (any, error) {
	switch e := body.(type) {
	case *huma.ErrorModel:
		p := newProblem(e.Status, e.Detail)
		if e.Status < http.StatusInternalServerError {
			p.Errors = fieldErrors(e.Errors)
		}
		p.RequestID = requestID(ctx.Context())
		return p, nil
	case *Problem:
		e.RequestID = requestID(ctx.Context())
	}
	return body, nil
}

// fieldErrors returns the first of what is wrong with each field: what follows
// is mostly a consequence.
func fieldErrors(details []*huma.ErrorDetail) []FieldError {
	var list []FieldError
	for _, d := range details {
		f := fieldError(d)
		if len(list) == maxFieldErrors {
			break
		}
		if !slices.ContainsFunc(list, func(g FieldError) bool { return g.Pointer == f.Pointer && g.Parameter == f.Parameter }) {
			list = append(list, f)
		}
	}
	return list
}

// pointerEscapes turns huma's body.list[0].name into a JSON pointer's tail.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "")

func fieldError(d *huma.ErrorDetail) FieldError {
	f := FieldError{Detail: d.Message}
	where, name, named := strings.Cut(d.Location, ".")
	if len(name) > maxFieldName {
		name = strings.ToValidUTF8(name[:maxFieldName], "") + "…"
	}
	switch {
	case where == "body" && named:
		f.Pointer = "/" + pointerEscapes.Replace(name)
	case where != "body":
		f.Parameter = name
	}
	return f
}

// decodeJSON is json.Unmarshal with errors fit for the outside: without names
// of Go types, and without what was sent.
func decodeJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return errors.New("not JSON from byte " + strconv.FormatInt(syntax.Offset, 10) + " on")
	case errors.As(err, &wrongType):
		return errors.New("a value has the wrong type, at byte " + strconv.FormatInt(wrongType.Offset, 10))
	}
	return errors.New("a value cannot be read")
}
