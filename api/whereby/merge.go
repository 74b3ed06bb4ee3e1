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

// fields says where an element of a list has what names it and its time, by which
// lists are merged. A room may be there twice, with two times.
type fields struct{ name, time string }

// maxBothCursor, in bytes, is more than two cursors and two ids need.
const maxBothCursor = 4 << 10

// place is how far somebody has read one of two lists. Its page is read anew as
// long as a part of it is left: an element that joins the list meanwhile may have
// one come twice, and none be left out.
type place struct {
	Cursor string `json:"c,omitempty"` // of the page
	After  string `json:"a,omitempty"` // key of the last element of it that was shown
	Done   bool   `json:"d,omitempty"`
}

// places is a cursor of two lists.
type places struct {
	Here  place `json:"h"`
	There place `json:"t"`
}

// encode returns the cursor, empty where nothing is left of either list.
func (p places) encode() string {
	if p.Here.Done && p.There.Done {
		return ""
	}
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
	key string // tells it from all others
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
	var list listBody[json.RawMessage]
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
		name, _ := values[f.name].(string)
		text, _ := values[f.time].(string)
		one := element{raw: raw, key: name + " " + text}
		one.at, _ = time.Parse(time.RFC3339, text) // what has none comes last
		p.elements = append(p.elements, one)
	}
	return p, nil
}

// from returns the page without what was shown of it.
func (p page) from(after string) page {
	if after != "" {
		p.elements = p.elements[1+slices.IndexFunc(p.elements, func(e element) bool { return e.key == after }):]
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
		merged, at.After = append(merged, from.elements[0].raw), from.elements[0].key
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
	return f.split(local, func(w http.ResponseWriter, r *http.Request) (any, error) {
		return f.merge(w, r, usual, by, local)
	})
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
		theirs := callOf(r, nil)
		theirs.query = query
		if query.Set("cursor", at.There.Cursor); at.There.Cursor == "" {
			query.Del("cursor")
		}
		a, err := f.Upstream.ask(r.Context(), theirs)
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
	return listOf(merged, next.encode()), nil
}
