package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	// phaseCheck is a phase that there is not: usher checks the signature first
	// and refuses the phase then.
	phaseCheck meeting.HandOverPhase = "check"
)

// refusedError is usher's answer that it does not want the files, now or ever.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return "usher does not want it: " + e.text }

// caller tells usher.
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

// tell makes one signed call. The answer is empty but for the phase closed. An
// error is a [refusedError] when another try would not help.
func (c caller) tell(ctx context.Context, what meeting.HandOver) (meeting.HandOverAnswer, error) {
	var answer meeting.HandOverAnswer
	status, text, err := c.post(ctx, what)
	switch {
	case err != nil:
		return answer, err
	case status == http.StatusOK:
		if len(bytes.TrimSpace(text)) == 0 {
			return answer, nil
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return answer, fmt.Errorf("usher's answer is not what it should be: %w", err)
		}
		return answer, nil
	case status == http.StatusNoContent:
		return answer, nil
	}
	said := fmt.Sprintf("status %d %s", status, excerpt(text))
	switch status {
	case http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		return answer, &refusedError{said}
	case http.StatusUnauthorized, http.StatusForbidden:
		return answer, errors.New("usher does not accept the recorder's name, secret or clock: " + said)
	}
	return answer, errors.New("usher answers with " + said)
}

// Check asks usher whether it accepts the settings' name and secret, and
// returns what it said if not.
func Check(ctx context.Context, s Settings) error {
	status, text, err := newCaller(s, nil).post(ctx, meeting.HandOver{Phase: phaseCheck})
	switch {
	case err != nil:
		return err
	case status >= 200 && status < 300, status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return nil
	}
	return fmt.Errorf("usher answers with status %d %s", status, excerpt(text))
}

func (c caller) post(ctx context.Context, what meeting.HandOver) (status int, text []byte, err error) {
	body, err := json.Marshal(what)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+callbackPath, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	timestamp, signature := token.SignCallback(string(c.RecorderSecret), c.Recorder, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(token.CallbackRecorder, c.Recorder)
	req.Header.Set(token.CallbackTimestamp, timestamp)
	req.Header.Set(token.CallbackSignature, signature)
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("call usher: %w", err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read usher's answer: %w", err)
	}
	return resp.StatusCode, text, nil
}

// excerpt is the part of an answer that a log line has room for.
func excerpt(text []byte) string {
	const shown = 200 // bytes
	return fmt.Sprintf("%q", bytes.TrimSpace(text[:min(len(text), shown)]))
}
