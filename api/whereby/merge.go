package whereby

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields says where an element of a list has its id and its time, by which lists
// are merged.
type fields struct{ id, time string }

// maxBothCursor, in bytes, is more than two cursors and two ids need.
const maxBothCursor = 4 << 10

// place is how far somebody has read one of two lists. Its page is read anew as
// long as a part of it is left: an element that joins the list meanwhile may have
// one come twice, and none be left out.
type place struct {
	Cursor string `json:"c,omitempty"` // of the page
	After  string `json:"a,omitempty"` // id of the last element of it that was shown
	Done   bool   `json:"d,omitempty"`
}

// places is a cursor of two lists.
type places struct {
	Here  place `json:"h"`
	There place `json:"t"`
}

func (p places) encode() string {
	text, _ := json.Marshal(p) // always encodes
	return base64.RawURLEncoding.EncodeToString(text)
}

func readPlaces(cursor string) (p places, err error) {
	if cursor == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(cursor) <= maxBothCursor {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || len(cursor) > maxBothCursor {
		return p, refuse("cursor must be the one of the page before")
	}
	return p, nil
}

// element is one of either list, as it is shown.
type element struct {
	raw json.RawMessage
	id  string
	at  time.Time
}

// page is a part of a list.
type page struct {
	elements []element
	next     string // cursor of the next one, empty on the last
}

// errPage says that a text is no page of a list.
var errPage = errors.New("whereby: no page of a list")

// read returns what the text of a list says.
func (f fields) read(text []byte) (p page, err error) {
	var list struct {
		Cursor  *string
		Results []json.RawMessage
	}
	if err := json.Unmarshal(text, &list); err != nil || list.Results == nil {
		return p, errPage
	}
	if list.Cursor != nil {
		p.next = *list.Cursor
	}
	for _, raw := range list.Results {
		var values map[string]any
		if json.Unmarshal(raw, &values) != nil {
			return p, errPage
		}
		one := element{raw: raw}
		one.id, _ = values[f.id].(string)
		text, _ := values[f.time].(string)
		one.at, _ = time.Parse(time.RFC3339, text) // what has none comes last
		p.elements = append(p.elements, one)
	}
	return p, nil
}

// from returns the page without what was shown of it.
func (p page) from(after string) page {
	if after != "" {
		p.elements = p.elements[1+slices.IndexFunc(p.elements, func(e element) bool { return e.id == after }):]
	}
	return p
}

// mergePages makes one page of at most limit elements out of one of each list, and
// says how far that is in both. Where the rest of a list is not at hand it ends
// early, because what follows there may come first.
func mergePages(here, there page, p places, limit int, before func(a, b element) bool) (merged []json.RawMessage, next places) {
	for len(merged) < limit {
		h, t := len(here.elements) > 0, len(there.elements) > 0
		if !h && !t || !h && here.next != "" || !t && there.next != "" {
			break
		}
		from, at := &here, &p.Here
		if !h || t && before(there.elements[0], here.elements[0]) {
			from, at = &there, &p.There
		}
		merged, at.After = append(merged, from.elements[0].raw), from.elements[0].id
		from.elements = from.elements[1:]
	}
	for _, side := range []struct {
		rest page
		at   *place
	}{{here, &p.Here}, {there, &p.There}} {
		if len(side.rest.elements) == 0 {
			*side.at = place{Cursor: side.rest.next, Done: side.rest.next == ""}
		}
	}
	return merged, p
}

// both serves a list of what is here and at Whereby. Where the query is about one
// of them nobody waits for the other.
func (f *facade) both(usual int, by fields, local handler) handler {
	if f.upstream == nil {
		return local
	}
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		ours, theirs, err := f.sides(r)
		switch {
		case err != nil:
			return nil, err
		case ours:
			return local(w, r)
		case theirs:
			return f.relay(w, r)
		}
		return f.merge(w, r, usual, by, local)
	}
}

func (f *facade) merge(w http.ResponseWriter, r *http.Request, usual int, by fields, local handler) (any, error) {
	query := r.URL.Query()
	limit, err := number(r, "limit", usual, maxPage)
	if err != nil {
		return nil, err
	}
	at, err := readPlaces(query.Get("cursor"))
	if err != nil {
		return nil, err
	}
	query.Set("limit", strconv.Itoa(limit))
	var here, there page
	if !at.Here.Done {
		mine := r.Clone(r.Context())
		query.Set("cursor", at.Here.Cursor)
		mine.URL.RawQuery = query.Encode()
		list, err := local(w, mine)
		if err != nil {
			return nil, err
		}
		text, _ := json.Marshal(list) // a list of ours
		if here, err = by.read(text); err != nil {
			return nil, err
		}
		here = here.from(at.Here.After)
	}
	if !at.There.Done {
		query.Del("cursor")
		if at.There.Cursor != "" {
			query.Set("cursor", at.There.Cursor)
		}
		a, err := f.upstream.ask(r.Context(), call{r.Method, below(r), query, "", nil})
		if err != nil || !a.ok() {
			return asBody(a, err)
		}
		if there, err = by.read(a.body); err != nil {
			return nil, errStrange
		}
		there = there.from(at.There.After)
	}
	before := func(a, b element) bool { return a.at.After(b.at) }
	if strings.HasSuffix(strings.ToLower(query.Get("sortBy")), ":asc") {
		before = func(a, b element) bool { return a.at.Before(b.at) }
	}
	merged, next := mergePages(here, there, at, limit, before)
	answer := struct {
		Cursor  *string           `json:"cursor"`
		Results []json.RawMessage `json:"results"`
	}{Results: append([]json.RawMessage{}, merged...)}
	if !next.Here.Done || !next.There.Done {
		cursor := next.encode()
		answer.Cursor = &cursor
	}
	return answer, nil
}
