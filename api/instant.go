package api

import (
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Instant is a time as it comes in, in a body or in a query: RFC 3339, whose letters
// may be in either case (section 5.6). The zero one is none.
type Instant struct {
	time.Time
	wrong bool // what was given is no time
}

// UnmarshalText takes whatever is given: what is wrong with it is for Resolve to
// say, which knows the field.
func (t *Instant) UnmarshalText(text []byte) error {
	var err error
	t.Time, err = time.Parse(time.RFC3339, strings.ToUpper(string(text)))
	t.wrong = err != nil
	return nil
}

// UnmarshalJSON does the same; the schema has seen that it is text or null.
func (t *Instant) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	return t.UnmarshalText([]byte(strings.Trim(string(data), `"`)))
}

// Resolve refuses what is no time.
func (t *Instant) Resolve(_ huma.Context, path *huma.PathBuffer) []error {
	if !t.wrong {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: path.String(), Message: "expected a time such as 2026-11-22T18:00:00Z (RFC 3339)"}}
}

// Schema gives huma the schema. The format is for the document: huma itself takes
// capital letters only.
func (Instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Extensions: map[string]any{"format": "date-time"}}
}

var _ huma.ResolverWithPath = (*Instant)(nil)

// instant returns the time as a meeting holds it, zero for none.
func instant(t *Instant) time.Time {
	if t == nil || t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
