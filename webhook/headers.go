package webhook

import (
	"maps"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"usher/config"
)

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
