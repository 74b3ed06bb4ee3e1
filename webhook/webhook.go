// Package webhook delivers events to apps over HTTP: each at least once, in order
// per meeting and endpoint, over crashes and dead receivers.
//
// [Registry] knows the endpoints and says, before a commit, which of them are to get
// an event. The commit puts it into a list per endpoint and meeting. The
// [Deliverer] of the process that leads is handed what was committed, posts it,
// and acknowledges it, which removes it from the list; what was there before it
// led, and what memory has no room for, it reads from the lists. What is sent
// next is decided by a queue that does no I/O and knows no clock.
//
// An endpoint's [Dialect] makes the request out of the event alone: that of
// Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), or that of another
// system whose receivers then need no change. What events say is the business
// of package meeting, how lists are kept that of the store.
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

// Store keeps endpoints, and lists of events for them. Its methods are safe for
// concurrent use; those errors that may pass wrap [meeting.ErrUnavailable].
type Store interface {
	// LoadQueue returns the meetings that have a list for an endpoint, and what
	// is known of retries. From then on the endpoint is one of QueuedEndpoints,
	// until it is deleted. LoadQueue, Ack and Requeue return [meeting.ErrFenced]
	// when another process leads.
	LoadQueue(ctx context.Context, endpoint string) (meetings []string, retries map[string]meeting.Retry, h meeting.Health, err error)
	QueuedEndpoints(ctx context.Context) ([]string, error)
	// ReadQueues returns the first events of lists, limit at most of each.
	ReadQueues(ctx context.Context, endpoint string, meetings []string, limit int) ([][]json.RawMessage, error)
	// Ack stores what came of deliveries; it may be repeated.
	Ack(ctx context.Context, a meeting.Acks) error
	// Requeue puts events into lists, by meeting and in order: at the end, where
	// one that is the first already stays where it is, or in front, after the
	// store was emptied, which may be repeated.
	Requeue(ctx context.Context, endpoint string, lists map[string][]json.RawMessage, inFront bool) error
	// Forward puts an event at the end of the endpoints' lists of a meeting, all or
	// none of them, and reports false if one with this id was put there before.
	// Errors: [meeting.ErrFenced].
	Forward(ctx context.Context, id, meetingID string, event json.RawMessage, endpoints []string) (fresh bool, err error)
	// Over returns those of the meetings that can have no further events.
	Over(ctx context.Context, meetings []string) (map[string]bool, error)
	// Between calls f with the events committed in the given time, in order and
	// page by page, until it returns an error, and returns that.
	Between(ctx context.Context, from, to time.Time, f func(events []json.RawMessage) error) error
	// Attempts returns a page of the delivery log or of the dead letters, newest
	// first, that follows the Place given.
	Attempts(ctx context.Context, endpoint string, dead bool, cursor string, limit int) ([]meeting.Tried, error)
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
	// DeleteEndpoint removes an endpoint with its lists, log and dead letters.
	DeleteEndpoint(ctx context.Context, id string) error
}
