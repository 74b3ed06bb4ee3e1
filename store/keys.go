package store

import (
	"strings"
	"time"

	"usher/meeting"
)

// Everything usher keeps in Redis. Each key starts with usher:{SITE}:, and
// because of the braces all keys of a site are in one slot of a cluster, so
// that one script may touch any of them. Scripts get every key they touch
// passed in, or what several of them begin with: this file alone knows
// names.
//
//	key                    type    holds                                              expires
//	fence                  string  the highest fencing number given out               never
//	epoch                  string  names the state, see epoch.go                      never
//	schema                 string  version of the form of all this, see schema        never
//	redis                  hash    run_id: of the Redis that the leader began with, see loss.go never
//	leader                 string  holder and nonce of the process that leads         LeaseTTL, renewed
//	meeting:<id>           hash    json (without people), version, op, state,         Retention after closing
//	                               link:<SHA-256 of its code> for each join link
//	session:<id>           string  JSON                                               Retention after its end
//	people:<session>       hash    participant id to JSON                             with its session
//	sessions:<meeting>     zset    session ids by end in ms, +inf while open          with its meeting; trimmed
//	external:<external id> string  meeting id                                         with its meeting
//	rooms                  hash    room to id of its open meeting                     at closing
//	held:<room>            string  until when tokens of ended meetings open it, in ms  then
//	open                   zset    meetings that are not both ended and closed        at closing
//	room:<room>            zset    its meetings by closing in ms, +inf while open     with the last one; trimmed
//	meetings               zset    all meetings; equal scores, ids sort by creation   trimmed with :ended
//	meetings:created       zset    those in this state, likewise                      on change of state
//	meetings:live          zset    those in this state, likewise                      on change of state
//	meetings:ended         zset    those in this state by end in ms                   trimmed
//	events                 stream  event: JSON of every event                       LogRetention
//	queue:<ep>:<meeting>   list    JSON of the events an endpoint still has to get    when empty
//	queued:<ep>            set     meetings with such a list                          when empty
//	retry:<ep>             hash    meeting to what retries of its first event need,   with the next success
//	                               health: likewise of the endpoint; see meeting.Retry
//	queues                 set     endpoints that may have such lists                 with the endpoint
//	attempts:<ep>          stream  record of a try, and event: the event             AttemptLog entries
//	dead:<ep>              stream  likewise, events that were given up                Retention
//	endpoints              hash    endpoint id to its document, secrets included      never
//	endpoints:disabled     hash    endpoint id to why and since when                  when enabled
//	endpoints:version      string  number of changes of these two and of apikeys      never
//	apikeys                hash    slot of an app to JSON: scopes, SHA-256 of the key never
//	links:changed          set     meetings whose links the leader has yet to read    when read
//	idempotency:<SHA-256>  string  sealed answer to a request that may be repeated    as the API says
//	recording:<id>         string  JSON                                               Retention after it is settled
//	recordings             zset    recording ids by request in ms                     trimmed
//	recordings:<meeting>   zset    its recordings likewise                            with its meeting
//	jibri:<session id>     string  Jibri's own session id to recording id             Retention after its last change
//	upstream               zset    meetings at another server by end in ms            trimmed
//	upstream:<room>        string  id of the room's meeting there                     Retention after its end
//	forwarded:<event id>   string  nothing: that it was put into lists                ForwardedRetention
//
// Until November 2026 webhooks had lane:<ep>:<meeting>, due:<ep>, tries:<ep>,
// gaps:<ep> and health:<ep>; moveold.lua moves them.
//
// "Trimmed" indexes lose what is past Retention whenever an entry joins them.
// A meeting is closed when it has ended and its room was seen to be gone.

// How long things are kept.
const (
	// Retention is how long a meeting is kept after it was closed, and a
	// session with its people after it ended: apps that bill by the month
	// read the past one, and personal data should not stay longer.
	Retention = 30 * 24 * time.Hour
	// LogRetention is how far back the event log reaches: longer than the
	// 75 h for which webhooks are retried and than a long weekend. Redis drops
	// whole blocks of about a hundred entries, so some stay a little longer.
	LogRetention = 7 * 24 * time.Hour
	// AttemptLog is how many tries the log of an endpoint holds: hours of a
	// small site, and enough of a large one to see what an endpoint answers, in
	// about a megabyte. Redis drops whole blocks, so it may be some more.
	AttemptLog = 1000
)

// keys makes the names of keys; its value is the prefix they share.
type keys string

func keysOf(site string) keys { return keys("usher:{" + site + "}:") }

func (k keys) fence() string                     { return string(k) + "fence" }
func (k keys) epoch() string                     { return string(k) + "epoch" }
func (k keys) redis() string                     { return string(k) + "redis" }
func (k keys) leader() string                    { return string(k) + "leader" }
func (k keys) meeting(id string) string          { return string(k) + "meeting:" + id }
func (k keys) session(id string) string          { return string(k) + "session:" + id }
func (k keys) people(session string) string      { return string(k) + "people:" + session }
func (k keys) sessions(mtg string) string        { return string(k) + "sessions:" + mtg }
func (k keys) external(id string) string         { return string(k) + "external:" + id }
func (k keys) schema() string                    { return string(k) + "schema" }
func (k keys) rooms() string                     { return string(k) + "rooms" }
func (k keys) held(room string) string           { return string(k) + "held:" + room }
func (k keys) open() string                      { return string(k) + "open" }
func (k keys) room(room string) string           { return string(k) + "room:" + room }
func (k keys) meetings() string                  { return string(k) + "meetings" }
func (k keys) inState(s meeting.State) string    { return string(k) + "meetings:" + string(s) }
func (k keys) recording(id string) string        { return string(k) + "recording:" + id }
func (k keys) recordings() string                { return string(k) + "recordings" }
func (k keys) recordingsOf(mtg string) string    { return string(k) + "recordings:" + mtg }
func (k keys) jibri(session string) string       { return string(k) + "jibri:" + session }
func (k keys) events() string                    { return string(k) + "events" }
func (k keys) queue(endpoint, mtg string) string { return string(k) + "queue:" + endpoint + ":" + mtg }
func (k keys) queued(endpoint string) string     { return string(k) + "queued:" + endpoint }
func (k keys) retry(endpoint string) string      { return string(k) + "retry:" + endpoint }
func (k keys) queues() string                    { return string(k) + "queues" }
func (k keys) attempts(endpoint string) string   { return string(k) + "attempts:" + endpoint }
func (k keys) dead(endpoint string) string       { return string(k) + "dead:" + endpoint }
func (k keys) endpoints() string                 { return string(k) + "endpoints" }
func (k keys) endpointsDisabled() string         { return string(k) + "endpoints:disabled" }
func (k keys) endpointsVersion() string          { return string(k) + "endpoints:version" }
func (k keys) idempotency(name string) string    { return string(k) + "idempotency:" + name }
func (k keys) apiKeys() string                   { return string(k) + "apikeys" }
func (k keys) upstream() string                  { return string(k) + "upstream" }
func (k keys) upstreamRoom(room string) string   { return string(k) + "upstream:" + room }
func (k keys) forwarded(event string) string     { return string(k) + "forwarded:" + event }
func (k keys) linksChanged() string              { return string(k) + "links:changed" }

// settings are the hashes whose changes endpointsVersion counts.
func (k keys) settings() []string { return []string{k.endpoints(), k.endpointsDisabled(), k.apiKeys()} }

// isMeeting reports whether a key is that of a meeting.
func (k keys) isMeeting(key string) bool { return strings.HasPrefix(key, k.meeting("")) }

// Of versions until November 2026.

func (k keys) oldLane(endpoint string) string   { return string(k) + "lane:" + endpoint + ":" } // what its lists begin with
func (k keys) oldDue(endpoint string) string    { return string(k) + "due:" + endpoint }
func (k keys) oldTries(endpoint string) string  { return string(k) + "tries:" + endpoint }
func (k keys) oldGaps(endpoint string) string   { return string(k) + "gaps:" + endpoint }
func (k keys) oldHealth(endpoint string) string { return string(k) + "health:" + endpoint }
