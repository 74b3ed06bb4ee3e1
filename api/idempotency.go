package api

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
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

// idempotency answers a POST under /v1 that carries an Idempotency-Key, and is a
// repetition, as it answered the first (draft-ietf-httpapi-idempotency-key-header).
//
// What is kept is sealed with a key that only somebody who knows both the
// Idempotency-Key and the API key can make: answers hold tokens and secrets,
// and the store holds neither.
type idempotency struct {
	store AnswerStore
	next  http.Handler
	log   *slog.Logger
}

// reply is what the store holds of a request.
type reply struct {
	Request string `json:"request"`          // digest of what was asked
	Answer  []byte `json:"answer,omitempty"` // sealed; missing while it is worked on
}

// heldAnswer is an answer that is kept before it is sent: a client that has
// seen it must never see another.
type heldAnswer struct {
	http.ResponseWriter `json:"-"`
	Status              int         `json:"status"`
	Headers             http.Header `json:"headers"`
	Body                []byte      `json:"body"`
}

func (h *idempotency) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost || key == "" || !strings.HasPrefix(r.URL.Path, "/v1/") {
		h.next.ServeHTTP(w, r)
		return
	}
	if len(key) > maxIdempotencyKey {
		writeProblem(w, r, NewProblem(http.StatusBadRequest, "the Idempotency-Key is longer than 255 bytes"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		writeProblem(w, r, NewProblem(status, ""))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	name, seal := idempotencyNames(bearer(r), key)
	asked := digest(r.Method, r.URL.Path, string(body))

	claim, _ := json.Marshal(reply{Request: asked}) // a struct of text always encodes
	there, err := h.store.Claim(r.Context(), name, claim, claimLife)
	switch {
	case err != nil:
		writeProblem(w, r, NewProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again"))
	case there != nil:
		h.repeat(w, r, there, asked, seal)
	default:
		h.first(w, r, name, asked, seal)
	}
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

// first lets the request through, and keeps the answer unless trying again may
// have another outcome.
func (h *idempotency) first(w http.ResponseWriter, r *http.Request, name, asked string, seal cipher.AEAD) {
	held := &heldAnswer{ResponseWriter: w, Headers: http.Header{}}
	store := func(f func(context.Context) error) {
		// The client may be gone; its next try comes back for this.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), keepTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			h.log.Warn("cannot keep an answer for its repetition", "request_id", requestID(ctx), "err", err)
		}
	}
	done := false
	defer func() {
		if !done { // a panic
			store(func(ctx context.Context) error { return h.store.Release(ctx, name) })
		}
	}()
	h.next.ServeHTTP(held, r)
	if !final(held.Status) {
		store(func(ctx context.Context) error { return h.store.Release(ctx, name) })
	} else {
		plain, _ := json.Marshal(held)                      // text and bytes always encode
		sealed := seal.Seal(nil, nil, plain, []byte(asked)) //nolint:gosec // it draws the nonce itself
		value, _ := json.Marshal(reply{Request: asked, Answer: sealed})
		store(func(ctx context.Context) error { return h.store.Keep(ctx, name, value, IdempotencyLife) })
	}
	done = true
	held.send(w)
}

// repeat answers a request whose key was used before.
func (h *idempotency) repeat(w http.ResponseWriter, r *http.Request, there []byte, asked string, seal cipher.AEAD) {
	var kept reply
	var held heldAnswer
	if err := json.Unmarshal(there, &kept); err != nil {
		h.log.Error("a kept answer is unreadable", "request_id", requestID(r.Context()), "err", err)
		writeProblem(w, r, NewProblem(http.StatusInternalServerError, ""))
		return
	}
	if kept.Request != asked {
		p := NewProblem(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request")
		p.Code = "idempotency_key_reused"
		writeProblem(w, r, p)
		return
	}
	if kept.Answer == nil {
		p := NewProblem(http.StatusConflict, "the first request with this Idempotency-Key is being worked on")
		p.Code = "in_progress"
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		writeProblem(w, r, p)
		return
	}
	plain, err := seal.Open(nil, nil, kept.Answer, []byte(asked))
	if err == nil {
		err = json.Unmarshal(plain, &held)
	}
	if err != nil {
		h.log.Error("a kept answer is unreadable", "request_id", requestID(r.Context()), "err", err)
		writeProblem(w, r, NewProblem(http.StatusInternalServerError, ""))
		return
	}
	w.Header().Set("Idempotent-Replayed", "true")
	held.send(w)
}

// idempotencyNames returns the name under which the store keeps an answer, and
// what the answer is sealed with. Neither tells the key or the credential.
func idempotencyNames(credential, key string) (name string, seal cipher.AEAD) {
	secret := sha256.Sum256([]byte("seal\x00" + credential + "\x00" + key))
	block, err := aes.NewCipher(secret[:])
	if err == nil {
		seal, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	return digest("name", credential, key), seal
}

// digest returns the SHA-256 of the parts in hex. No part but the last may hold
// a zero byte, and nothing that HTTP lets into a path or header does.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// Header returns the headers of the answer; those that each answer has anyway
// are set on the real one.
func (w *heldAnswer) Header() http.Header { return w.Headers }

func (w *heldAnswer) WriteHeader(status int) {
	if w.Status == 0 {
		w.Status = status
	}
}

func (w *heldAnswer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.Body = append(w.Body, p...)
	return len(p), nil
}

// Unwrap lets http.ResponseController and huma reach the deadlines.
func (w *heldAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *heldAnswer) send(to http.ResponseWriter) {
	for name, values := range w.Headers {
		to.Header()[name] = values
	}
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
