package handover

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"usher/storage"
	"usher/token"
)

const (
	// callTimeout bounds one call to usher, which answers once it has stored
	// the report: milliseconds, or seconds while it takes over from
	// another.
	callTimeout = 10 * time.Second
	// maxAnswer is the most of an answer that is read, in bytes; usher's has a
	// few hundred besides the attendance.
	maxAnswer = storage.MaxAttendance + 64<<10
	// maxShown is the most of an answer that an error shows, in bytes.
	maxShown = 200
	// callbackPath is where usher listens, below its URL.
	callbackPath = "/internal/jibri/recordings"
)

// errRefused is usher's answer that it does not want the files, now or ever.
var errRefused = errors.New("usher does not want it")

// call makes one signed call to usher. An error names the setting that may be
// wrong; it is errRefused when another try would not help. transport is nil
// outside tests.
func call(ctx context.Context, s Settings, transport http.RoundTripper, what storage.Report) (a storage.Answer, err error) {
	what.Detail = strings.ToValidUTF8(what.Detail[:min(len(what.Detail), storage.MaxDetail)], "")
	body, err := json.Marshal(what)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.URL, "/")+callbackPath, bytes.NewReader(body))
	if err != nil {
		return a, setting("url", err)
	}
	timestamp, signature := token.SignCallback(string(s.RecorderSecret), s.Recorder, time.Now(), body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(token.CallbackRecorder, s.Recorder)
	req.Header.Set(token.CallbackTimestamp, timestamp)
	req.Header.Set(token.CallbackSignature, signature)
	client := http.Client{
		Transport: transport,
		Timeout:   callTimeout,
		// The signature is for usher alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		err = fmt.Errorf("%w; the name in url must be that in the server's certificate, and its issuer be among the system's or in the file that SSL_CERT_FILE names", err)
	}
	if err != nil {
		return a, setting("url", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return a, setting("url", fmt.Errorf("read usher's answer: %w", err))
	}
	return judge(s, what.Phase, resp, text)
}

// judge reads usher's answer to a phase, and says what is wrong with anything else.
func judge(s Settings, phase storage.Phase, resp *http.Response, text []byte) (a storage.Answer, err error) {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var problem struct{ Code string } // of usher's errors (RFC 9457)
	if mediaType == "application/problem+json" {
		_ = json.Unmarshal(text, &problem) // else it is somebody else's
	}
	_ = json.Unmarshal(text, &a) // what it lacks is looked for below
	shown := fmt.Sprintf("status %d %s %q", resp.StatusCode, resp.Header.Get("Content-Type"), bytes.TrimSpace(text[:min(len(text), maxShown)]))
	switch status := resp.StatusCode; {
	case answers(phase, status, a):
		return a, nil
	case status >= 300 && status < 400:
		err = fmt.Errorf("url: %s leads to %q; name usher's own address", s.URL, resp.Header.Get("Location"))
	case problem.Code == "": // a proxy's while usher restarts, or another service's
		err = fmt.Errorf("url: what answers at %s is not usher, or a proxy that does not pass POST %s on: %s", s.URL, callbackPath, shown)
	case problem.Code == "recorder_signature":
		err = fmt.Errorf("recorder or recorder-secret: usher at %s has another secret for recorder %s, or none (USHER_RECORDER_KEY there)", s.URL, s.Recorder)
	case problem.Code == "recorder_clock":
		err = fmt.Errorf("the clocks of this host and of usher's differ by more than five minutes; usher's says %s", resp.Header.Get("Date"))
	case phase == storage.PhaseCheck && status == http.StatusUnprocessableEntity:
		err = fmt.Errorf("url: usher at %s is too old to be asked; it needs the version of this program", s.URL)
	case slices.Contains(refusals, status):
		err = fmt.Errorf("%w: %s", errRefused, shown)
	default:
		err = fmt.Errorf("url: usher at %s cannot say now: %s", s.URL, shown)
	}
	return storage.Answer{}, err
}

// refusals are the statuses of usher's that another try would not change.
var refusals = []int{http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity}

// answers reports whether usher takes a phase with that.
func answers(phase storage.Phase, status int, a storage.Answer) bool {
	switch phase {
	case storage.PhaseClosed:
		return status == http.StatusOK && a.RecordingID != ""
	case storage.PhaseCheck:
		return status == http.StatusOK && a.Usher != ""
	}
	return status == http.StatusNoContent
}
