package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
	"usher/meeting/service"
	"usher/webhook"
)

const (
	// maxFieldErrors keeps a body of a thousand wrong fields from being
	// answered with more than it sent.
	maxFieldErrors = 20
	// maxFieldName, in bytes, is how much of a field's name is repeated in an answer.
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

// FieldError is what is wrong with one field of a request.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty" doc:"A field of the body (RFC 6901)" example:"/end_at"`
	Parameter string `json:"parameter,omitempty" doc:"A parameter of the path or query" example:"limit"`
	Detail    string `json:"detail"`
}

// codes are the codes of problems that need none of their own, by status.
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

// NewProblem returns the error of a status, with the code that is usual for it.
func NewProblem(status int, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: cmp.Or(codes[status], "error"), Detail: detail}
}

// Error returns the detail, or else the title.
func (p *Problem) Error() string { return cmp.Or(p.Detail, p.Title) }

// GetStatus gives huma the status to answer with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType gives huma the media type to answer with (RFC 9457 §6.1).
func (p *Problem) ContentType(string) string { return problemType }

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// GetHeaders gives huma the headers to answer with.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {strconv.Itoa(int(retryAfter / time.Second))}}
	case http.StatusUnsupportedMediaType: // RFC 9110 section 15.5.16
		return http.Header{"Accept": {jsonType}}
	}
	return nil
}

// tryAgain is the detail where nothing better can be said.
const tryAgain = "this cannot be done right now, try again"

// refusals are the problems that errors stand for. Without a code it is that of
// the status, without a detail the error's own text.
var refusals = []struct {
	err          error
	status       int
	code, detail string
}{
	{meeting.ErrEnded, http.StatusConflict, "ended", "the meeting is over"},
	{meeting.ErrNotLive, http.StatusConflict, "not_live", "nobody is in the meeting"},
	{meeting.ErrNoBridges, http.StatusNotImplemented, "", "this usher records nothing from the video bridges: see tracks-listen in docs/tracks.md"},
	{meeting.ErrNoNotice, http.StatusConflict, "no_notice", "nothing informs people that their voices are recorded: record a file at the same time, of which Jitsi informs them, or have the operator set tracks-notice=app once the app does"},
	{meeting.ErrNotSettled, http.StatusConflict, "not_settled", "the recording is not over, or its file is still awaited"},
	{meeting.ErrVersion, http.StatusPreconditionFailed, "", "the meeting has changed since: read it again"},
	{meeting.ErrBusy, http.StatusServiceUnavailable, "busy", "too much waits for this meeting already, try again"},
	{meeting.ErrUnavailable, http.StatusServiceUnavailable, "", tryAgain},
	{meeting.ErrFenced, http.StatusServiceUnavailable, "", tryAgain},
	{service.ErrNoTokens, http.StatusNotImplemented, "", ""},
	{service.ErrNoFiles, http.StatusNotImplemented, "", ""},
	{service.ErrOwnBucket, http.StatusNotImplemented, "", ""},
	{service.ErrTooManyLinks, http.StatusConflict, "too_many_links", ""},
	{service.ErrNotPresent, http.StatusConflict, "not_present", ""},
	{service.ErrInBreakout, http.StatusConflict, "in_breakout_room", ""},
	{service.ErrFileMissing, http.StatusGone, "file_missing", ""},
	{service.ErrExpired, http.StatusGone, "expired", ""},
	{service.ErrBadLink, http.StatusNotFound, "", ""},
	{service.ErrFileGone, http.StatusNotFound, "", ""},
	{service.ErrStorage, http.StatusServiceUnavailable, "", ""},
	{errTooManyListeners, http.StatusServiceUnavailable, "busy", ""},
	{webhook.ErrConfigured, http.StatusConflict, "configured", "the endpoint comes from usher's configuration"},
	{webhook.ErrFull, http.StatusConflict, "too_many_webhooks", "the site has as many webhook endpoints as it may: delete one"},
}

// problemOf returns what the outside is shown of an error. What it does not know
// is logged.
func problemOf(ctx context.Context, log *slog.Logger, err error) *Problem {
	var ready *Problem
	var exists *meeting.ExistsError
	var held *meeting.RoomHeldError
	var invalid *meeting.InvalidError
	var endpoint *webhook.InvalidError
	switch {
	case errors.As(err, &ready):
		p := *ready // it may be everybody's, and gets the id of this request
		return &p
	case errors.As(err, &exists):
		p := NewProblem(http.StatusConflict, "a meeting with this room or external id exists")
		p.MeetingID = exists.ID
		return p
	case errors.As(err, &held):
		return NewProblem(http.StatusConflict, "tokens of the room's last meeting may open it until "+
			held.Until.UTC().Format(time.RFC3339)+": choose another room, or send reuse_room to have it all the same").coded("room_held")
	case errors.As(err, &invalid) && invalid.Field == "":
		return NewProblem(http.StatusUnprocessableEntity, invalid.Detail)
	case errors.As(err, &invalid):
		p := NewProblem(http.StatusUnprocessableEntity, "")
		p.Errors = []FieldError{{Pointer: "/" + invalid.Field, Detail: invalid.Detail}}
		return p
	case errors.As(err, &endpoint):
		return problemOf(ctx, log, &meeting.InvalidError{Field: endpoint.Field, Detail: endpoint.Problem})
	case errors.Is(err, meeting.ErrNotFound), errors.Is(err, webhook.ErrNotFound):
		return NewProblem(http.StatusNotFound, "")
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			p := NewProblem(r.status, cmp.Or(r.detail, err.Error()))
			p.Code = cmp.Or(r.code, p.Code)
			return p
		}
	}
	if ctx.Err() != nil {
		return NewProblem(http.StatusServiceUnavailable, tryAgain)
	}
	log.Error("request failed", "request_id", requestID(ctx), "err", err)
	return NewProblem(http.StatusInternalServerError, "")
}

// coded returns the problem with another code than that of its status.
func (p *Problem) coded(code string) *Problem {
	p.Code = code
	return p
}

// writeProblem answers with an error, in the shape of the platform whose path was
// asked for.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	info := infoOf(r.Context())
	p.RequestID = info.id
	maps.Copy(w.Header(), p.GetHeaders())
	if info.platform != nil {
		info.platform.WriteProblem(w, r, p)
		return
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone
}

// ReadBody reads a request's body. Its error is a [Problem].
func ReadBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(r)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, NewProblem(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	} else if err != nil {
		return nil, NewProblem(http.StatusBadRequest, "the body could not be read")
	}
	return body, nil
}

// writeJSON answers with a body.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}

// asProblem makes whatever huma is about to send as an error a [Problem].
func asProblem(ctx huma.Context, _ string, body any) (any, error) {
	if e, ok := body.(*huma.ErrorModel); ok {
		p := NewProblem(e.Status, e.Detail)
		if e.Status == http.StatusUnsupportedMediaType {
			p.Detail = "send the body as JSON, with the header Content-Type: " + jsonType
		}
		if e.Status < http.StatusInternalServerError {
			p.Errors = fieldErrors(e.Errors)
		}
		body = p
	}
	if p, ok := body.(*Problem); ok {
		p.RequestID = requestID(ctx.Context())
		for name, values := range p.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
	}
	return body, nil
}

// fieldErrors returns the first of what is wrong with each field: what follows
// is mostly a consequence.
func fieldErrors(details []*huma.ErrorDetail) []FieldError {
	var list []FieldError
	for _, d := range details {
		f := fieldError(d)
		if len(list) < maxFieldErrors && !slices.ContainsFunc(list, func(g FieldError) bool { return g.Pointer == f.Pointer && g.Parameter == f.Parameter }) {
			list = append(list, f)
		}
	}
	return list
}

// pointerEscapes turns huma's body.list[0].name into a JSON pointer's tail.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "")

// plainText is the pattern of texts in one line, as tags have it.
const plainText = `^[^\x00-\x1f\x7f-\x9f]*$`

func fieldError(d *huma.ErrorDetail) FieldError {
	f := FieldError{Detail: strings.Replace(d.Message, "match pattern "+plainText, "have no control characters", 1)}
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

// DecodeJSON is json.Unmarshal with errors fit for the outside: without names
// of Go types, and without what was sent.
//
// Text that is not UTF-8 is an error (RFC 8259 section 8): encoding/json would
// make one text of several.
func DecodeJSON(data []byte, v any) error {
	if at := badText(data); at >= 0 {
		return errors.New("not UTF-8 at byte " + strconv.Itoa(at+1))
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && strings.HasPrefix(wrongType.Value, "number ") {
		// 50.0 and 5e1 are integers too (JSON Schema 6.1.1), and Go writes them as 50.
		var plain any
		if json.Unmarshal(data, &plain) == nil {
			whole, _ := json.Marshal(plain)
			err = json.Unmarshal(whole, v)
		}
	}
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

// Escaped backslashes and pairs of surrogates, and, as a group, halves of pairs.
var surrogates = regexp.MustCompile(`\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F])`)

// badText returns where JSON first has text that cannot be UTF-8, -1 for nowhere.
func badText(data []byte) int {
	if !utf8.Valid(data) {
		at := 0
		for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(data[at:]) {
			at += n
		}
		return at
	}
	for _, found := range surrogates.FindAllSubmatchIndex(data, -1) {
		if found[2] >= 0 {
			return found[2]
		}
	}
	return -1
}
