package webhook

import (
	"errors"
	"io"
	"net/http"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxInboxBody is the largest delivery that an Inbox reads, in bytes; far more
// than usher sends.
const maxInboxBody = 1 << 20

// NewInbox returns a webhook receiver for the endpoint with this secret: it
// verifies deliveries (Standard Webhooks 1.0.0) and hands them over. It answers
// 204 once a delivery is handed over, and 401 to what does not verify. Its
// functions are called from many goroutines.
func NewInbox(secret string, got func(body []byte, at time.Time), refused func(reason error)) (http.Handler, error) {
	hook, err := standard.NewWebhook(secret)
	if err != nil {
		return nil, errors.New("the secret is not whsec_ followed by base64") // without quoting it
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInboxBody))
		if err == nil {
			err = hook.Verify(body, r.Header)
		}
		if err != nil {
			refused(err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		got(body, at)
		w.WriteHeader(http.StatusNoContent)
	}), nil
}
