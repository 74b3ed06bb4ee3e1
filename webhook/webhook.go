// Package webhook tells apps over HTTP what happened: each notice at least
// once, in order per meeting and endpoint, over crashes and dead receivers.
//
// [Book] knows the endpoints and says, before a commit, which of them are to
// get a notice. The commit puts it into a lane per endpoint and meeting. A
// [Deliverer] empties the lanes: it claims the heads of those that are due,
// posts them, and hands in what came of it. Any number of processes may do so
// on the same store.
//
// An endpoint's [Dialect] makes the request out of the notice alone: that of
// Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), or that of another
// system whose receivers then need no change. What notices say is the business
// of package meeting, how lanes are kept that of the store.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"usher/meeting"
)

// Errors that callers decide on, besides [InvalidError] and
// [meeting.ErrUnavailable].
var (
	ErrNotFound = errors.New("webhook: not found")
	// ErrConfigured refuses to change over the API what the configuration says.
	ErrConfigured = errors.New("webhook: endpoint comes from the configuration")
	// ErrFull refuses one endpoint more than [MaxEndpoints].
	ErrFull = errors.New("webhook: too many endpoints")
)

// Store keeps endpoints and lanes. Its methods are safe for concurrent use;
// those errors that may pass wrap [meeting.ErrUnavailable].
type Store interface {
	// Exchange settles claims of one endpoint and gives out new ones.
	Exchange(ctx context.Context, x meeting.Exchange) (meeting.Exchanged, error)
	// Requeue puts notices back into lanes, each into that of its meeting.
	Requeue(ctx context.Context, endpoint string, meetings []string, notices []json.RawMessage) error
	// Between calls f with the notices committed in the given time, in order,
	// until it returns an error, and returns that.
	Between(ctx context.Context, from, to time.Time, f func(notice json.RawMessage) error) error
	// Attempts returns a page of the delivery log or of the dead letters, newest
	// first, that follows the Place given.
	Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Attempted, error)
	// Backlog says what waits for an endpoint.
	Backlog(ctx context.Context, endpoint string) (meeting.Backlog, error)

	// Endpoints returns what is stored and its version, and only the version
	// when that is the one known.
	Endpoints(ctx context.Context, known string) (all []meeting.StoredEndpoint, version string, err error)
	// PutEndpoint replaces a document, nil for none, by another and reports
	// whether it was the one stored.
	PutEndpoint(ctx context.Context, id string, was, document json.RawMessage) (bool, error)
	// DisableEndpoint notes why an endpoint is disabled; nil enables it.
	DisableEndpoint(ctx context.Context, id string, why json.RawMessage) error
	// DeleteEndpoint removes an endpoint with its lanes, log and dead letters.
	DeleteEndpoint(ctx context.Context, id string) error
}
