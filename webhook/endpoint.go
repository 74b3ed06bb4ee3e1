package webhook

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"maps"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/config"
	"usher/meeting"
)

const (
	// maxURL is the longest URL taken, in bytes: what servers and proxies
	// commonly accept.
	maxURL = 2048
	// maxName is the longest name of an endpoint, in bytes: one line in a list.
	maxName = 128
	// maxEvents is how many patterns one endpoint may have: more than there are
	// types.
	maxEvents = 64
	// RotationOverlap is how long the secret before the last one still signs:
	// a day to roll out the new one everywhere.
	RotationOverlap = 24 * time.Hour
)

// Endpoint is where events are posted to. Treat it as a value; in logs it
// shows neither its secrets nor the path of its URL. Its JSON is how it is stored;
// see encode.
type Endpoint struct {
	ID   string `json:"-"`    // whk_ and a ULID, or whk_ and the name for one from the configuration
	Name string `json:"name"` // for people
	URL  string `json:"url"`  // https, or http to an address that the site allows
	// Secrets sign each delivery, newest first; at most two are live.
	Secrets []Secret `json:"secrets"`
	// Events are types such as "session.started", prefixes such as
	// "participant.*", or "*".
	Events    []string `json:"events"`
	MeetingID string   `json:"meeting_id,omitempty"` // only events of this meeting; empty: of all
	Dialect   string   `json:"dialect"`              // shape of what is sent; "standard" when empty
	// Headers are added to each request, by their name in canonical form. They
	// may be credentials, so nobody is shown their values.
	Headers   map[string]config.Secret `json:"headers,omitempty"`
	CreatedAt time.Time                `json:"created_at"`
	// Configured says that it comes from the configuration: it can be disabled
	// and enabled but not changed.
	Configured bool      `json:"-"`
	Disabled   *Disabled `json:"-"` // nil while enabled

	target   *url.URL        // URL, parsed
	dialect  *Dialect        // nil for the standard one
	signing  [][]byte        // what the secrets sign with, in their order
	document json.RawMessage // as stored; nil for a configured one
}

// Secret is a signing key as receivers have it, whsec_ and base64.
type Secret struct {
	Key       config.Secret `json:"key"`
	ExpiresAt time.Time     `json:"expires_at,omitzero"` // zero: never
}

// Disabled says why nothing is sent to an endpoint, and since when.
type Disabled struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// LogValue names the endpoint without its secrets.
func (e Endpoint) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", e.ID), slog.String("name", e.Name), slog.String("url", e.Origin()))
}

// Origin returns scheme and host of the URL: the rest may hold a secret.
func (e Endpoint) Origin() string {
	if e.target == nil {
		return ""
	}
	return e.target.Scheme + "://" + e.target.Host
}

// Wants reports whether the endpoint is to get events of this type about this
// meeting. Types that its dialect has no renderer for it never gets.
func (e Endpoint) Wants(t meeting.EventType, meetingID string) bool {
	return (e.MeetingID == "" || e.MeetingID == meetingID) && (e.dialect == nil || e.dialect.Render[t] != nil) &&
		t.IsOneOf(e.Events)
}

// InvalidError says which field of an endpoint cannot be taken, and why.
type InvalidError struct {
	Field   string // url, name, events, secret, dialect, headers
	Problem string
}

func (e *InvalidError) Error() string { return "webhook: " + e.Field + " " + e.Problem }

// eventPattern is a type, a prefix up to a dot and a star, or a star.
var eventPattern = regexp.MustCompile(`^(\*|[a-z_]+(\.[a-z_]+)*(\.\*)?)$`)

// prepare fills in defaults and checks everything, or returns [InvalidError].
func (e *Endpoint) prepare(g *guard, dialects map[string]Dialect) error {
	var badURL error
	e.target, badURL = parseTarget(e.URL, g)
	// In this order: what is checked of secrets depends on the dialect.
	return cmp.Or(e.findDialect(dialects), e.checkTexts(), e.checkSecrets(), e.prepareHeaders(), badURL)
}

func (e *Endpoint) checkTexts() error {
	if len(e.Events) == 0 {
		e.Events = []string{"*"}
	}
	if len(e.Events) > maxEvents {
		return &InvalidError{"events", "has more than " + strconv.Itoa(maxEvents) + " entries"}
	}
	for _, pattern := range e.Events {
		if !eventPattern.MatchString(pattern) {
			return &InvalidError{"events", "holds " + strconv.Quote(pattern) + `, which is no type, no prefix such as "participant.*" and not "*"`}
		}
	}
	if len(e.Name) > maxName {
		return &InvalidError{"name", "is longer than " + strconv.Itoa(maxName) + " bytes"}
	}
	return nil
}

// findDialect sets how the endpoint's events are rendered.
func (e *Endpoint) findDialect(dialects map[string]Dialect) error {
	e.Dialect, e.dialect = cmp.Or(e.Dialect, Standard), nil
	if d, ok := dialects[e.Dialect]; ok {
		e.dialect = &d
	} else if e.Dialect != Standard {
		names := append(slices.Collect(maps.Keys(dialects)), Standard)
		slices.Sort(names)
		return &InvalidError{"dialect", "is none of " + strings.Join(names, ", ")}
	}
	return nil
}

// parseTarget reads a URL. Its error quotes nothing of it.
func parseTarget(raw string, g *guard) (*url.URL, error) {
	refuse := func(problem string) (*url.URL, error) { return nil, &InvalidError{"url", problem} }
	u, err := url.Parse(raw)
	switch {
	case len(raw) > maxURL:
		return refuse("is longer than " + strconv.Itoa(maxURL) + " bytes")
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return refuse("is not an absolute URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("is neither https nor http")
	case u.User != nil:
		return refuse("holds a user name; deliveries are signed instead")
	case u.Fragment != "":
		return refuse("has a fragment, which is never sent")
	case u.Scheme == "http" && len(g.allowed) == 0:
		return refuse("is not https; http is for addresses that this site allows, and it allows none")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		port, _ := strconv.ParseUint(cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]), 10, 16)
		if err := g.check(netip.AddrPortFrom(addr, uint16(port)), u.Scheme == "http"); err != nil {
			return refuse("leads to an " + err.Error())
		}
	}
	return u, nil
}

// encode returns the document of an endpoint, secrets and headers in the clear.
func (e Endpoint) encode() json.RawMessage {
	type secret struct {
		Key       string    `json:"key"`
		ExpiresAt time.Time `json:"expires_at,omitzero"`
	}
	document := struct {
		Endpoint
		Secrets []secret          `json:"secrets"`
		Headers map[string]string `json:"headers,omitempty"`
	}{Endpoint: e, Headers: map[string]string{}}
	for _, s := range e.Secrets {
		document.Secrets = append(document.Secrets, secret{string(s.Key), s.ExpiresAt})
	}
	for name, value := range e.Headers {
		document.Headers[name] = string(value)
	}
	text, _ := json.Marshal(document) // strings and times always encode
	return text
}

// decode reads what encode wrote. The address of its URL is not judged again:
// that is done whenever it is dialled.
func decode(stored meeting.StoredEndpoint, dialects map[string]Dialect) (e Endpoint, err error) {
	if err := json.Unmarshal(stored.Document, &e); err != nil {
		return e, err
	}
	e.ID, e.document = stored.ID, stored.Document
	if e.target, err = url.Parse(e.URL); err != nil {
		err = &InvalidError{"url", "is not a URL"} // without quoting it
	}
	err = cmp.Or(e.findDialect(dialects), e.checkSecrets(), err)
	return e, err
}

const (
	// maxHeaders is how many headers an endpoint may add: a credential, and what
	// a gateway in front of a receiver wants besides.
	maxHeaders = 16
	// maxHeaderText bounds name and value of one together, in bytes: less than
	// the 8 KiB that common servers take for one line.
	maxHeaderText = 4096
)

// ourHeaders are those that usher or the way to the receiver sets, and what
// begins with one of ourPrefixes. Signatures must not be written over.
var (
	ourHeaders = []string{
		"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Idempotency-Key",
		"Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "X-Idempotency-Key",
	}
	ourPrefixes = []string{"Proxy-", "Webhook-", "Whereby-", "X-Jitsi-"}
)

// Names of headers (RFC 9110 §5.6.2), and values that need no care: printable
// ASCII without a space at either end.
var (
	headerName  = regexp.MustCompile("^[0-9A-Za-z!#$%&'*+.^_`|~-]+$")
	headerValue = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
)

// prepareHeaders makes the names canonical and checks everything, or returns
// [InvalidError], which quotes no value.
func (e *Endpoint) prepareHeaders() error {
	if len(e.Headers) > maxHeaders {
		return &InvalidError{"headers", "are more than " + strconv.Itoa(maxHeaders)}
	}
	headers := map[string]config.Secret{}
	for name, value := range e.Headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if !headerName.MatchString(name) {
			return &InvalidError{"headers", "hold " + strconv.Quote(name) + ", which is no name of a header"}
		}
		refuse := func(problem string) error {
			return &InvalidError{"headers", "hold " + canonical + ", " + problem}
		}
		switch {
		case slices.Contains(ourHeaders, canonical), slices.ContainsFunc(ourPrefixes, func(p string) bool { return strings.HasPrefix(canonical, p) }):
			return refuse("which is usher's own to set")
		case headers[canonical] != "":
			return refuse("twice")
		case !headerValue.MatchString(string(value)):
			return refuse("whose value is empty, begins or ends with a space, or is not printable ASCII")
		case len(name)+len(value) > maxHeaderText:
			return refuse("which is longer than " + strconv.Itoa(maxHeaderText) + " bytes")
		}
		headers[canonical] = value
	}
	e.Headers = headers
	return nil
}

// HeaderNames returns the names of the headers that are added, in order.
func (e Endpoint) HeaderNames() []string {
	return append([]string{}, slices.Sorted(maps.Keys(e.Headers))...)
}
