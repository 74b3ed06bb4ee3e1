package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"usher/token"
)

const (
	// IdempotencyLife is how long the answer to a request with an
	// Idempotency-Key is kept: apps repeat over a night, not over a week.
	IdempotencyLife = 24 * time.Hour
	// claimLife is how long a key stays claimed by a request whose process
	// died: longer than any request may take.
	claimLife = WriteTimeout
	// keepTimeout bounds the storing of an answer that somebody waits for.
	keepTimeout = time.Second
	// maxIdempotencyKey, in bytes, is that of the services which made the
	// header common.
	maxIdempotencyKey = 255
)

// AnswerStore keeps answers for requests that are repeated. Errors as in
// [service.Store].
type AnswerStore interface {
	// Claim stores the value under the name for the given life and returns nil,
	// or returns what is there already.
	Claim(ctx context.Context, name string, value []byte, life time.Duration) (there []byte, err error)
	// Keep stores the value whatever is there.
	Keep(ctx context.Context, name string, value []byte, life time.Duration) error
	// Release deletes what is there.
	Release(ctx context.Context, name string) error
}

// bufferedAnswer is an answer that is kept before it is sent: a client that has
// seen it must never see another.
type bufferedAnswer struct {
	http.ResponseWriter `json:"-"`
	Request             string      `json:"request"` // digest of what was asked
	Status              int         `json:"status"`  // 0 while it is worked on
	Headers             http.Header `json:"headers"`
	Body                []byte      `json:"body"`
}

// idempotent is the middleware that answers a POST under /v1 that carries an
// Idempotency-Key, and is a repetition, as it answered the first
// (draft-ietf-httpapi-idempotency-key-header).
//
// What is kept is sealed with a secret that only somebody who knows both the
// Idempotency-Key and the API key can make: answers hold tokens and secrets,
// and the store holds neither.
func (s *server) idempotent(next http.Handler) http.Handler {
	return s.handler(func(w http.ResponseWriter, r *http.Request) error {
		key := r.Header.Get("Idempotency-Key")
		if r.Method != http.MethodPost || key == "" || !strings.HasPrefix(r.URL.Path, "/v1/") {
			next.ServeHTTP(w, r)
			return nil
		}
		if len(key) > maxIdempotencyKey {
			return NewProblem(http.StatusBadRequest, "the Idempotency-Key is longer than 255 bytes")
		}
		body, err := ReadBody(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		secret := bearer(r) + "\x00" + key
		name := digest("name", secret)
		answer := &bufferedAnswer{ResponseWriter: w, Request: digest(r.Method, r.URL.Path, string(body)), Headers: http.Header{}}
		there, err := s.Store.Claim(r.Context(), name, answer.seal(secret), claimLife)
		switch {
		case err != nil:
			return err
		case there != nil:
			return replay(w, there, answer.Request, secret)
		}
		done := false // or there was a panic
		defer func() {
			// The client may be gone by now; its next try comes back for this.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keepTimeout)
			defer cancel()
			// Trying again may have another outcome.
			if !done || !final(answer.Status) {
				err = s.Store.Release(ctx, name)
			} else {
				err = s.Store.Keep(ctx, name, answer.seal(secret), IdempotencyLife)
			}
			if err != nil {
				s.Log.Warn("cannot keep an answer for its repetition", "request_id", requestID(ctx), "err", err)
			}
			if done {
				answer.send(w)
			}
		}()
		next.ServeHTTP(answer, r)
		done = true
		return nil
	})
}

// final reports whether an answer would be the same for the same request later:
// not when usher had trouble, nor when the credential was not good enough yet
// or asked too often.
func final(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

// replay answers a request whose key was used before.
func replay(w http.ResponseWriter, there []byte, asked, secret string) error {
	var first bufferedAnswer
	plain, err := token.Unseal(secret, "answer", string(there))
	if err == nil {
		err = json.Unmarshal(plain, &first)
	}
	switch {
	case err != nil:
		return fmt.Errorf("a kept answer is unreadable: %w", err)
	case first.Request != asked:
		return NewProblem(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request").coded("idempotency_key_reused")
	case first.Status == 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		return NewProblem(http.StatusConflict, "the first request with this Idempotency-Key is being worked on").coded("in_progress")
	}
	w.Header().Set("Idempotent-Replayed", "true")
	first.send(w)
	return nil
}

// digest returns the SHA-256 of the parts in hex. No part but the last may hold
// a zero byte, and nothing that HTTP lets into a path or header does.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// seal returns the answer as the store keeps it.
func (w *bufferedAnswer) seal(secret string) []byte {
	plain, _ := json.Marshal(w) // text and bytes always encode
	return []byte(token.Seal(secret, "answer", plain))
}

// Header returns the headers of the answer; those that each answer has anyway
// are set on the real one.
func (w *bufferedAnswer) Header() http.Header { return w.Headers }

func (w *bufferedAnswer) WriteHeader(status int) {
	if w.Status == 0 {
		w.Status = status
	}
}

func (w *bufferedAnswer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.Body = append(w.Body, p...)
	return len(p), nil
}

// Unwrap lets http.ResponseController and huma reach the deadlines.
func (w *bufferedAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *bufferedAnswer) send(to http.ResponseWriter) {
	maps.Copy(to.Header(), w.Headers)
	to.WriteHeader(w.Status)
	_, _ = to.Write(w.Body) // the client is gone
}

var idempotencyKeyParam = &huma.Param{
	Name: "Idempotency-Key", In: "header",
	Description: "Makes repeating the request safe: for 24 hours the same key with the same body gets the first answer again, " +
		"with Idempotent-Replayed: true",
	Schema:  &huma.Schema{Type: huma.TypeString, MaxLength: new(maxIdempotencyKey)},
	Example: "5b1d4f3a-standup",
}
