package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"usher/meeting"
	"usher/token"
)

const (
	// callTimeout bounds one call to usher, which answers once it has stored
	// what it was told: milliseconds, or seconds while it takes over from
	// another.
	callTimeout = 10 * time.Second
	// maxAnswer is the most of an answer that is read, in bytes; usher's has a
	// few hundred.
	maxAnswer = 64 << 10
	// callbackPath is where usher listens, below its URL.
	callbackPath = "/internal/jibri/recordings"
	// maxDetail is the most of an error that usher takes, in bytes.
	maxDetail = 2000
)

// refusedError is usher's answer that it does not want the files, now or ever.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return "usher does not want it: " + e.text }

// caller makes calls to usher with the settings of one moment.
type caller struct {
	Settings
	client *http.Client
}

func newCaller(s Settings, transport http.RoundTripper) caller {
	return caller{s, &http.Client{
		Transport: transport,
		Timeout:   callTimeout,
		// The signature is for usher alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what came back from a call.
type answer struct {
	status int
	header http.Header
	text   []byte
}

// String is what a log line has room for.
func (a answer) String() string {
	const shown = 200 // bytes
	return fmt.Sprintf("status %d %s %q", a.status, a.header.Get("Content-Type"), bytes.TrimSpace(a.text[:min(len(a.text), shown)]))
}

// problemCode returns the code of an error of usher's (RFC 9457), "" when it is
// somebody else's: a proxy's while usher restarts, or another service's.
func (a answer) problemCode() string {
	var problem struct{ Code string }
	if a.mediaType() != "application/problem+json" || json.Unmarshal(a.text, &problem) != nil {
		return ""
	}
	return problem.Code
}

func (a answer) mediaType() string {
	t, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return t
}

// report makes one signed call. The result is empty but for the phase closed.
// An error is a [refusedError] when another try would not help.
func (c caller) report(ctx context.Context, what meeting.HandOver) (result meeting.HandOverAnswer, err error) {
	what.Detail = strings.ToValidUTF8(what.Detail[:min(len(what.Detail), maxDetail)], "")
	a, err := c.post(ctx, what)
	if err != nil {
		return result, err
	}
	switch {
	case a.status == http.StatusNoContent && what.Phase != meeting.HandOverClosed:
		return result, nil
	case a.status == http.StatusOK && what.Phase == meeting.HandOverClosed:
		if err := json.Unmarshal(a.text, &result); err == nil && result.RecordingID != "" {
			return result, nil
		}
	case a.problemCode() == "":
	case a.status == http.StatusNotFound, a.status == http.StatusConflict, a.status == http.StatusGone, a.status == http.StatusUnprocessableEntity:
		return result, &refusedError{a.String()}
	case a.status == http.StatusUnauthorized:
		return result, fmt.Errorf("usher does not accept the recorder's name, secret or clock: %v", a)
	default:
		return result, fmt.Errorf("usher answers with %v", a)
	}
	return result, fmt.Errorf("what answers at %s is not usher: %v", c.URL, a)
}

func (c caller) post(ctx context.Context, what meeting.HandOver) (answer, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+callbackPath, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	timestamp, signature := token.SignCallback(string(c.RecorderSecret), c.Recorder, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(token.CallbackRecorder, c.Recorder)
	req.Header.Set(token.CallbackTimestamp, timestamp)
	req.Header.Set(token.CallbackSignature, signature)
	resp, err := c.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("call usher: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read usher's answer: %w", err)
	}
	return answer{resp.StatusCode, resp.Header, text}, nil
}
