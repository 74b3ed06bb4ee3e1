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

// Inbox is a webhook receiver: it verifies deliveries (Standard Webhooks 1.0.0)
// and hands them over. Its functions are called from many goroutines.
type Inbox struct {
	hook    *standard.Webhook
	got     func(body []byte, at time.Time)
	refused func(reason error)
}

// NewInbox returns an inbox for the endpoint with this secret.
func NewInbox(secret string, got func(body []byte, at time.Time), refused func(reason error)) (*Inbox, error) {
	hook, err := standard.NewWebhook(secret)
	if err != nil {
		return nil, errors.New("the secret is not whsec_ followed by base64") // without quoting it
	}
	return &Inbox{hook, got, refused}, nil
}

// ServeHTTP answers 204 once a delivery is handed over, and 401 to what does
// not verify.
func (b *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInboxBody))
	if err == nil {
		err = b.hook.Verify(body, r.Header)
	}
	if err != nil {
		b.refused(err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.got(body, at)
	w.WriteHeader(http.StatusNoContent)
}
