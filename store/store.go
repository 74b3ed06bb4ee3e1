// Package store keeps meetings in Redis. It does what tracker.Store asks, and
// answers what the HTTP API wants to know.
//
// A change of a meeting, its events in the log and in the lists of webhook
// endpoints are stored together or not at all. What the changes are is the
// business of package meeting; delivering what is in the lists is that of package
// webhook.
package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"usher/meeting"
)

// MaxPage is the most that one call lists. A page of live meetings brings
// their people along, so at fifty people each it is five thousand of them.
const MaxPage = 100

// ErrCursor refuses a place in the event log that cannot be one.
var ErrCursor = errors.New("store: not a place in the event log")

// errUnreadable says that a stored value is not what this program writes.
var errUnreadable = errors.New("stored value is unreadable")

// streamID is a place in a log; the part after the dash may be missing.
var streamID = regexp.MustCompile(`^[0-9]{1,19}(-[0-9]{1,19})?$`)

// pageSize returns limit within 1 and MaxPage.
func pageSize(limit int) int { return min(max(limit, 1), MaxPage) }

// sortByJoining puts people in the order in which they first came in; ids
// decide within a millisecond.
func sortByJoining(people []meeting.Participant) {
	slices.SortFunc(people, func(a, b meeting.Participant) int {
		return cmp.Or(a.JoinedAt.Compare(b.JoinedAt.Time), cmp.Compare(a.ID, b.ID))
	})
}

// encode returns v as JSON. The types of package meeting always encode.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: encode %T: %v", v, err))
	}
	return b
}

// decode reads what encode wrote; what names it in the error.
func decode[T any](data, what string) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		return v, fmt.Errorf("store: %s: %w: %w", what, errUnreadable, err)
	}
	return v, nil
}
